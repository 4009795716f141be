"""``python -m benchmarks.few_shot``: Thetaprime and its rivals on few accounts; writes docs/results/few_shot.md."""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.few_shot.data import DATASETS, REPOSITORY, DataNotFound, find_folder
from benchmarks.few_shot.design import Design, TooFewMarkets
from benchmarks.few_shot.report import write_report
from benchmarks.few_shot.rivals import make_learners, make_rivals
from benchmarks.few_shot.run import plan, run

QUICK_METHODS = ("thetaprime", "trees", "logistic", "logistic_hierarchical", "tabpfn")
LEARNERS = [name.removeprefix("learner_") for name in make_learners()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_shot", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the parquet files; else THETAPRIME_DATA")
    parser.add_argument("--worlds", nargs="+", choices=sorted(DATASETS), default=list(DATASETS))
    parser.add_argument("--methods", nargs="+", choices=sorted(make_rivals()), help="all, or with --quick some")
    parser.add_argument("--learners", nargs="+", choices=LEARNERS, default=[], help="also, each with its own theta")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=20, help="draws in each market")
    parser.add_argument("--processes", type=int, default=2, help="one thread each")
    parser.add_argument("--folder", type=Path, help="results so far, to resume from; var/few_shot/... by default")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    parser.add_argument("--quick", action="store_true", help="one split of one world, four draws, nothing in docs")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    design = Design(seed=args.seed, n_draws=4 if args.quick else args.draws)
    worlds = args.worlds[:1] if args.quick else args.worlds
    methods = [*(args.methods or (QUICK_METHODS if args.quick else make_rivals()))]
    methods += [f"learner_{name}" for name in args.learners]
    folder = args.folder or REPOSITORY / "var" / "few_shot" / f"seed{design.seed}-draws{design.n_draws}"
    started = time.monotonic()
    try:
        jobs = plan(worlds, methods, design, find_folder(args.data), folder)
    except ValueError as fault:
        print(fault, file=sys.stderr)
        return 2
    jobs = jobs[:1] if args.quick else jobs
    try:
        cells = run(jobs, args.processes)
    except (DataNotFound, TooFewMarkets) as fault:
        print(fault, file=sys.stderr)
        return 2
    output = folder if args.quick else args.output
    print(write_report(cells, design, jobs, output))
    print(f"{time.monotonic() - started:.0f} s; written to {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
