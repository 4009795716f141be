"""``python -m benchmarks.engine``: times our learners and their peers; writes docs/results/engine.md and a plot."""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from app.domain.recipes import LEARNERS
from benchmarks.engine.agreement import Agreement, largest_difference
from benchmarks.engine.environment import make_environment
from benchmarks.engine.process import REPOSITORY, RowFailed, Worker
from benchmarks.engine.race import Patience, Timings, race
from benchmarks.engine.report import LEARNERS_TITLE, TITLE, Results, write_report
from benchmarks.engine.rows import BY_NAME, OURS_EAGER, REFERENCE, ROWS, Row, learner_row
from benchmarks.engine.task import Array


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=list(BY_NAME), metavar="ROW", help="of the table; all by default")
    parser.add_argument("--learners", action="store_true", help="every learner of the registry; engine_learners.md")
    parser.add_argument("--max-rounds", type=int, default=Patience.max_rounds)
    parser.add_argument("--precision", type=float, default=Patience.precision, help="of a ratio, as a share of it")
    parser.add_argument("--peers", type=Path, default=REPOSITORY / "var" / "engine-peers", help="their environment")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "results")
    parser.add_argument("--verbose", action="store_true", help="show what the workers print")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    python = make_environment(args.peers)
    log = sys.stderr.fileno() if args.verbose else subprocess.DEVNULL
    every_learner = (REFERENCE, OURS_EAGER, *map(learner_row, LEARNERS))
    table, title, name = (
        (every_learner, LEARNERS_TITLE, "engine_learners") if args.learners else (ROWS, TITLE, "engine")
    )
    wanted = {row.name for row in table} if args.rows is None else {*args.rows, REFERENCE.name, OURS_EAGER.name}
    rows = [row for row in table if row.name in wanted]
    expected = {dtype: _our_gradient(python, dtype) for dtype in ("float32", "float64")}
    results = Results({}, {}, {})
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for row in rows:
            print(f"preparing {row.name}", file=sys.stderr)
            try:
                workers[row.name] = _prepared(row, python, log, expected, results, stack)
            except RowFailed as fault:
                results.failures[row.name] = str(fault)
        if REFERENCE.name not in workers:
            print(f"{REFERENCE.name}: {results.failures[REFERENCE.name]}", file=sys.stderr)
            return 2
        patience = Patience(max_rounds=args.max_rounds, precision=args.precision)
        timings = race(workers, REFERENCE.name, patience, _announce)
    print(write_report(title, rows, timings, results, args.output / f"{name}.md"))
    return 0 if all(agreement.is_close for agreement in results.agreements.values()) else 1


def _our_gradient(python: Path, dtype: str) -> Mapping[str, Array]:
    with Worker(OURS_EAGER, python, dtype) as worker:
        return worker.meta_gradient()


def _prepared(
    row: Row, python: Path, log: int, expected: Mapping[str, Mapping[str, Array]], results: Results, stack: ExitStack
) -> Worker:
    """Start the row's worker, and note its versions and how far its meta-gradient is from ours."""
    worker = stack.enter_context(Worker(row, python, log=log))
    results.versions[row.name] = worker.describe()
    if row.is_same_method:
        with Worker(row, python, "float64", log) as exact:
            gaps = {
                dtype: largest_difference(process.meta_gradient(), expected[dtype])
                for dtype, process in (("float32", worker), ("float64", exact))
            }
        results.agreements[row.name] = Agreement(**gaps)
    return worker


def _announce(timings: Timings) -> None:
    if timings.n_rounds >= 2:
        print(f"round {timings.n_rounds}: ratios known to {timings.widest():.1%}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
