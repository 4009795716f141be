"""``python -m benchmarks.papers``: our learners on the papers' own problems, beside the papers' figures."""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.few_shot.data import REPOSITORY
from benchmarks.papers.report import write_report
from benchmarks.papers.run import PROBLEMS, Choice, measure_one, tables_of, unfinished

SETTINGS = {
    "OMP_NUM_THREADS": "1",
    # A meta-batch's fast weights of the first layer are 26 MB: kept by the process, not given back after every product,
    # they cost half as much.
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.papers", description=__doc__)
    parser.add_argument(
        "problems",
        nargs="*",
        metavar="problem",
        choices=[*PROBLEMS, []],
        help=f"some of {', '.join(PROBLEMS)}; all, if none",
    )
    parser.add_argument("--learners", nargs="+", default=[], help="names as in the tables; all, if none")
    parser.add_argument(
        "--omniglot", type=Path, help="the folder of Omniglot's two archives; generated glyphs without it"
    )
    parser.add_argument("--steps", type=int, help="outer steps of every learner on every problem, for a look")
    parser.add_argument("--image-steps", type=int, help="outer steps of every learner on images, half at 5 shots")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--var", type=Path, default=REPOSITORY / "var" / "papers")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    os.environ.update(SETTINGS)  # read by the processes started below
    problems = tuple(name for name in PROBLEMS if name in (args.problems or PROBLEMS))
    choice = Choice(
        problems, tuple(args.learners), args.omniglot, args.steps, args.image_steps or args.steps, args.seed, args.var
    )
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(measure_one, choice, place, name) for place, name in unfinished(choice)]
        for one in as_completed(running):
            print(one.result(), flush=True)
    print(write_report(tables_of(choice), choice.said, args.output))


if __name__ == "__main__":
    main()
