"""``python -m benchmarks.trust``: gain, harm, intervals, guard and reasons in a world whose truth is known."""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.few_shot.data import REPOSITORY
from benchmarks.trust.measure import Setting, measure
from benchmarks.trust.report import write_report

SPREADS = (0.1, 0.25, 0.4)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--spreads", nargs="+", type=float, default=list(SPREADS))
    parser.add_argument("--markets", type=int, default=Setting.n_markets)
    parser.add_argument("--draws", type=int, default=Setting.n_draws)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1)))
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes started below
    settings = [Setting(spread, args.markets, args.draws, args.seed) for spread in args.spreads]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        tables = list(pool.map(measure, settings))
    said = "" if args.seed == 0 else f" --seed {args.seed}"
    print(write_report(dict(zip(args.spreads, tables, strict=True)), said, args.output))


if __name__ == "__main__":
    main()
