"""``python -m benchmarks.trust``: gain, harm, intervals, guard and reasons in a world whose truth is known."""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.few_shot.data import DATASETS, REPOSITORY, find_folder
from benchmarks.trust.measure import Setting, measure
from benchmarks.trust.portfolios import Portfolio, judge_portfolio
from benchmarks.trust.report import write_report

SPREADS = (0.1, 0.25, 0.4)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--spreads", nargs="+", type=float, default=list(SPREADS))
    parser.add_argument("--markets", type=int, default=Setting.n_markets)
    parser.add_argument("--draws", type=int, default=Setting.n_draws)
    parser.add_argument("--worlds", nargs="*", choices=sorted(DATASETS), default=list(DATASETS), help="of the guard")
    parser.add_argument("--data", type=Path, help="folder of the parquet files; else THETAPRIME_DATA")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1)))
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes started below
    settings = [Setting(spread, args.markets, args.draws, args.seed) for spread in args.spreads]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        judged = [pool.submit(judge_portfolio, portfolio) for portfolio in _portfolios(args)]
        tables = list(pool.map(measure, settings))
        portfolios = [one.result() for one in judged]
    said = "" if args.seed == 0 else f" --seed {args.seed}"
    print(write_report(dict(zip(args.spreads, tables, strict=True)), portfolios, said, args.output))


def _portfolios(args: argparse.Namespace) -> list[Portfolio]:
    """Real worlds whose files are there."""
    folder = find_folder(args.data)
    found = [world for world in args.worlds if (folder / DATASETS[world].file).is_file()]
    return [Portfolio(world, folder, seed=args.seed) for world in found]


if __name__ == "__main__":
    main()
