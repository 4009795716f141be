"""Run the methods over the cells of a design; each (world, split, method) is a file, so that a run can be resumed."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.few_shot.data import DATASETS, Rows, load
from benchmarks.few_shot.design import Design, draw_cells, held_out_markets
from benchmarks.few_shot.rival import Rival, SourceMarkets
from benchmarks.few_shot.rivals import make_rivals
from meta.metrics import auc, best_level, brier, ece, ks, log_loss

FloatArray = NDArray[np.float64]
METRICS = ("log_loss", "auc", "brier", "ece", "ks", "log_loss_at_own_level")


@dataclass(frozen=True)
class Job:
    """One world and split, the methods to run on it, and where its results go."""

    world: str
    split: int
    methods: tuple[str, ...]
    design: Design
    data: Path
    folder: Path

    def file(self, method: str) -> Path:
        return self.folder / f"{self.world}.{self.split}.{method}.csv"


def plan(worlds: Sequence[str], methods: Sequence[str], design: Design, data: Path, folder: Path) -> list[Job]:
    """List the jobs; a folder holds results of one design only. Raises ValueError where another's are there."""
    folder.mkdir(parents=True, exist_ok=True)
    settings, wanted = folder / "design.json", json.dumps(asdict(design), indent=1)
    if settings.exists() and settings.read_text() != wanted:
        raise ValueError(f"{folder} holds the results of another design; name another --folder or remove it")
    settings.write_text(wanted)
    return [Job(w, split, tuple(methods), design, data, folder) for w in worlds for split in range(design.n_splits)]


def run(jobs: Sequence[Job], n_processes: int) -> pandas.DataFrame:
    """Run what has not been run and gather everything: one row a method and cell, with the metrics of its query."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes started below
    if min(n_processes, len(jobs)) == 1:
        for job in jobs:
            run_job(job)
    else:
        with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(run_job, jobs))
    files = [job.file(method) for job in jobs for method in job.methods]
    return pandas.concat([pandas.read_csv(file) for file in files], ignore_index=True)


def run_job(job: Job) -> None:
    """Run the methods of one job that have no result file yet."""
    torch.set_num_threads(1)
    rows = load(DATASETS[job.world], job.data)
    held_out = held_out_markets(rows, job.design)[job.split]
    source = SourceMarkets(rows.at(~np.isin(rows.market, held_out)), job.design)
    rivals = make_rivals()
    with threadpool_limits(1):
        for method in job.methods:
            if not job.file(method).exists():
                _run_method(job, method, rivals[method], source, [rows.of([name]) for name in held_out])


def _run_method(job: Job, method: str, rival: Rival, source: SourceMarkets, markets: Sequence[Rows]) -> None:
    started = time.monotonic()
    chosen = rival.learn(source)
    learnt = time.monotonic()
    frame = pandas.DataFrame(list(_results(job, rival, markets)))
    took = f"learnt in {learnt - started:.0f} s, adapted and scored in {time.monotonic() - learnt:.0f} s"
    job.file(method).with_suffix(".json").write_text(json.dumps(chosen, indent=1))
    unfinished = job.file(method).with_suffix(".part")
    frame.to_csv(unfinished, index=False)
    unfinished.replace(job.file(method))
    print(f"{job.world}, split {job.split + 1}, {method}: {took}", flush=True)


def _results(job: Job, rival: Rival, markets: Sequence[Rows]) -> Iterator[dict[str, Any]]:
    n_draws = min(job.design.n_draws, rival.n_draws or job.design.n_draws)
    for market in markets:
        rival.meet(market.features)
        for cell in draw_cells(str(market.market[0]), len(market), job.design, n_draws):
            pds = rival.pds(cell.support, market.y[cell.support], cell.query)
            where = {"world": job.world, "split": job.split, "market": cell.market}
            where |= {"n_support": cell.n_support, "draw": cell.draw}
            for name in rival.names:
                yield where | {"method": name} | measure(market.y[cell.query], pds[name])


def measure(y: FloatArray, pd: FloatArray) -> dict[str, float]:
    """All metrics of one cell. ``log_loss_at_own_level``: once the market's best intercept is known, what is left."""
    clipped = np.clip(pd, 1e-15, 1 - 1e-15)
    logits = np.log(clipped) - np.log1p(-clipped) + best_level(y, pd)
    values = (log_loss(y, pd), auc(y, pd), brier(y, pd), ece(y, pd), ks(y, pd), log_loss(y, 1 / (1 + np.exp(-logits))))
    return dict(zip(METRICS, values, strict=True))
