"""``python -m benchmarks.open_question``: learning curves by start, from 50 to all rows; see docs/results."""

import argparse
import sys
from pathlib import Path

import pandas
import torch
from threadpoolctl import threadpool_limits

from benchmarks.few_shot.data import REPOSITORY, DataNotFound, find_folder
from benchmarks.open_question.contestants import METHODS
from benchmarks.open_question.design import Design
from benchmarks.open_question.report import write_report
from benchmarks.open_question.run import run_world
from benchmarks.open_question.worlds import WORLDS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_question", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the parquet files; else THETAPRIME_DATA")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(Design.sizes), help="rows, beside all of them")
    parser.add_argument("--seed", type=int, default=0, help="of judged rows, samples and thetas")
    parser.add_argument("--seeds", type=int, default=Design.n_seeds, help="samples of each size, and fits")
    parser.add_argument(
        "--kept", action="store_true", help="run nothing: report the seeds that an earlier run finished"
    )
    parser.add_argument("--folder", type=Path, help="results so far, to resume from; var/open_question/... by default")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    design = Design(args.seed, tuple(sorted(args.sizes)), args.seeds)
    folder = args.folder or REPOSITORY / "var" / "open_question" / f"seed{args.seed}"
    torch.set_num_threads(1)
    found = []
    with threadpool_limits(1):
        for name in args.worlds:
            try:
                world = WORLDS[name].read(find_folder(args.data), args.seed)
            except DataNotFound as fault:
                print(f"{name}: left out. {fault}", file=sys.stderr)
                continue
            found.append(run_world(world, design, folder, args.methods, kept_only=args.kept))
    cells = pandas.concat(found, ignore_index=True) if found else pandas.DataFrame()
    if not len(cells):
        return 2
    print(write_report(cells, args.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
