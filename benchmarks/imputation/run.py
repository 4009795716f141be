"""Run the cells; each (table, mechanism, rate, seed, method) is a file, so that a run can be resumed."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.imputation.gaps import make_gaps
from benchmarks.imputation.methods import METHODS
from benchmarks.imputation.metrics import covered, crps, rmse, two_sample_auc
from benchmarks.imputation.tables import TABLES, Table
from meta.errors import MetaError
from meta.imputers.collapse import collapsed_columns

N_DRAWS = 20
DRAWN_ROWS = 3000  # of which draws are judged
MAIN = ("MCAR", 0.2)
OTHERS = (("MCAR", 0.3), ("MCAR", 0.5), ("MAR", 0.2), ("MNAR", 0.2))
OTHER_TABLES = ("credit",)
MANY_COLUMNS = ("credit_one_hot", "spam")
OTHER_METHODS = ("mean", "ridge", "lightgbm", "gain_reference", "conditional")


@dataclass(frozen=True)
class Job:
    """One cell, and where its result goes."""

    table: str
    mechanism: str
    rate: float
    seed: int
    method: str
    data: Path
    folder: Path

    @property
    def file(self) -> Path:
        cell = f"{self.table}.{self.mechanism}{round(100 * self.rate)}.{self.seed}.{self.method}"
        return self.folder / f"{cell}.json"


def plan(tables: Sequence[str], methods: Sequence[str], n_seeds: int, data: Path, folder: Path) -> list[Job]:
    """List the cells, those that say most first: the paper's protocol once, then its other seeds, then other gaps."""
    folder.mkdir(parents=True, exist_ok=True)

    def cells() -> Iterator[tuple[str, str, float, int, str]]:
        for seed in range(n_seeds):
            for table in tables:
                able = [name for name in methods if not (METHODS[name].is_slow and table in MANY_COLUMNS)]
                yield from ((table, *MAIN, seed, name) for name in able if seed < METHODS[name].n_seeds)
            if seed == 0:
                for table in (name for name in tables if name in OTHER_TABLES):
                    for mechanism, rate in OTHERS:
                        yield from ((table, mechanism, rate, 0, name) for name in methods if name in OTHER_METHODS)

    return [Job(*cell, data, folder) for cell in cells()]


def run_job(job: Job) -> None:
    """Run one cell unless it has been; a fit that fails is a result, too."""
    if job.file.exists():
        return
    torch.set_num_threads(1)
    table = TABLES[job.table](job.data)
    with threadpool_limits(1):
        found = _measure(table, job)
    told = {name: value for name, value in asdict(job).items() if name not in ("data", "folder")}
    unfinished = job.file.with_suffix(".part")
    unfinished.write_text(json.dumps(told | found))
    unfinished.replace(job.file)
    print(f"{job.file.stem}: {found.get('failed') or round(found['rmse'], 4)}", flush=True)


def _measure(table: Table, job: Job) -> dict[str, Any]:
    rng = np.random.default_rng([job.seed, round(1000 * job.rate), len(job.mechanism)])
    gaps = make_gaps(table.values, job.mechanism, job.rate, rng)
    known = np.where(gaps, np.nan, table.values)
    started = time.process_time()
    try:
        fitted = METHODS[job.method].fit(table.layout, known, job.seed)
    except MetaError as fault:
        return {"failed": f"{type(fault).__name__}: {fault}"}
    fitted_at = time.process_time()
    expected = table.scaled(fitted.expected(known))
    filled_at = time.process_time()
    truth, asked = table.scaled(table.layout.one_hot(table.values)), gaps[:, table.owners]
    return {
        "rmse": rmse(expected, truth, asked),
        "fit_s": fitted_at - started,
        "fill_s_per_100k": (filled_at - fitted_at) / len(known) * 100_000,
        **({"collapsed": sorted(collapsed_columns(fitted, known))} if METHODS[job.method].group == "gan" else {}),
        "report": dict(getattr(fitted, "report", {})),
        **_judge_draws(table, fitted, known, gaps, rng),
    }


def _judge_draws(table: Table, fitted: Any, known: Any, gaps: Any, rng: np.random.Generator) -> dict[str, float]:
    """Draws of the first rows; the two-sample test sets one draw of them against other, real rows."""
    few = slice(0, min(DRAWN_ROWS, len(known) // 2))
    drawn = fitted.draw(known[few], rng.random((N_DRAWS, len(known[few]), known.shape[1])))
    coded = table.scaled(np.stack([table.layout.one_hot(draw) for draw in drawn]))
    truth = table.scaled(table.layout.one_hot(table.values[few]))
    asked = gaps[few][:, table.owners]
    numeric = asked & table.layout.is_numeric[table.owners]
    return {
        "crps": float(crps(coded, truth)[asked].mean()),
        "coverage": float(covered(coded, truth, rng)[numeric].mean()),
        "told_apart": two_sample_auc(table.values[few.stop :], drawn[0], 0),
    }


def gather(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Read what has been run of these cells."""
    return [json.loads(job.file.read_text()) for job in jobs if job.file.exists()]
