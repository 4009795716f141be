"""``python -m benchmarks.families``: every learner on the credit benchmark; writes docs/results/families.md."""

import argparse
import sys
from pathlib import Path

from benchmarks.families.report import write_report
from benchmarks.families.run import gather, run_job
from benchmarks.few_shot.data import DATASETS, REPOSITORY, DataNotFound, find_folder
from benchmarks.few_shot.design import Design, TooFewMarkets
from benchmarks.few_shot.run import Job, run_each
from meta.learners import REGISTRY


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.families", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the parquet files; else THETAPRIME_DATA")
    parser.add_argument("--worlds", nargs="+", choices=sorted(DATASETS), default=list(DATASETS))
    parser.add_argument("--learners", nargs="+", choices=sorted(REGISTRY), default=sorted(REGISTRY))
    parser.add_argument("--splits", nargs="+", type=int, choices=range(3), default=[0])
    parser.add_argument("--draws", type=int, default=20, help="draws in each market")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="one thread each")
    parser.add_argument("--folder", type=Path, help="results so far, to resume from; var/families/... by default")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    design = Design(seed=args.seed, n_draws=args.draws, rate_factors=(1.0,))
    folder = args.folder or REPOSITORY / "var" / "families" / f"seed{args.seed}-draws{args.draws}"
    folder.mkdir(parents=True, exist_ok=True)
    data, learners = find_folder(args.data), tuple(args.learners)
    jobs = [Job(world, split, learners, design, data, folder) for world in args.worlds for split in args.splits]
    try:
        run_each(run_job, jobs, args.processes)
    except (DataNotFound, TooFewMarkets) as fault:
        print(fault, file=sys.stderr)
        return 2
    cells, costs = gather(jobs)
    print(write_report(cells, costs, design, args.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
