"""Run the methods over the cells of a design; each (world, split, method) is a file, so that a run can be resumed."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
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

from benchmarks.few_shot.data import DATASETS, Rows, count_rows, load
from benchmarks.few_shot.design import Design, Draw, Posted, Setting, held_out_markets, make_draws, source_of
from benchmarks.few_shot.metrics import measure_all
from benchmarks.few_shot.optional import Skipped
from benchmarks.few_shot.rival import Rival, SourceMarkets, is_run_on
from benchmarks.few_shot.rivals import make_learners, make_rivals

FloatArray = NDArray[np.float64]


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
        return self.folder / f"{self.world}.{self.split}.{method}.parquet"

    def chosen(self, method: str) -> dict[str, Any]:
        """What the method chose on the source markets, how long it took, or why it was skipped."""
        file = self.file(method).with_suffix(".json")
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found


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
    run_each(run_job, jobs, n_processes)
    files = [job.file(method) for job in jobs for method in job.methods]
    return pandas.concat([pandas.read_parquet(file) for file in files if file.exists()], ignore_index=True)


def run_each(run_one: Callable[[Job], None], jobs: Sequence[Job], n_processes: int) -> None:
    """Run every job by a function of a module's top, in processes of one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes started below
    if min(n_processes, len(jobs)) == 1:
        for job in jobs:
            run_one(job)
    else:
        with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(run_one, jobs))


def facts_of(world: str, data: Path) -> dict[str, int]:
    """Rows of a world, rows of no market of it, and markets: what the report tells of the data."""
    rows = load(DATASETS[world], data)
    n_dropped = count_rows(DATASETS[world], data) - len(rows)
    return {"n_rows": len(rows), "n_dropped": n_dropped, "n_markets": len(np.unique(rows.market))}


def run_job(job: Job) -> None:
    """Run the methods of one job that have no result file yet."""
    torch.set_num_threads(1)
    missing = [method for method in job.methods if not job.file(method).exists()]
    if not missing:
        return
    rows = load(DATASETS[job.world], job.data)
    held_out = held_out_markets(rows, job.design)[job.split]
    source = SourceMarkets(source_of(rows, held_out), job.design)
    rivals = {**make_rivals(), **make_learners()}
    with threadpool_limits(1):
        for method in missing:
            _run_method(job, method, rivals[method], source, [rows.of([name]) for name in held_out])


def _run_method(job: Job, method: str, rival: Rival, source: SourceMarkets, markets: Sequence[Rows]) -> None:
    started = time.monotonic()
    record = job.file(method).with_suffix(".json")
    try:
        chosen = dict(rival.learn(source))
    except Skipped as reason:
        record.write_text(json.dumps({"skipped": str(reason), "names": rival.names}))
        print(f"{job.world}, split {job.split + 1}, {method}: skipped, {reason}", flush=True)
        return
    learnt = time.monotonic()
    frame = pandas.concat(_results(job, rival, markets), ignore_index=True)
    took = {"learnt_s": round(learnt - started, 1), "scored_s": round(time.monotonic() - learnt, 1)}
    record.write_text(json.dumps(chosen | took))
    unfinished = job.file(method).with_suffix(".part")
    frame.to_parquet(unfinished, index=False)
    unfinished.replace(job.file(method))
    told = f"learnt in {took['learnt_s']:.0f} s, adapted and scored in {took['scored_s']:.0f} s"
    print(f"{job.world}, split {job.split + 1}, {method}: {told}", flush=True)


def _results(job: Job, rival: Rival, markets: Sequence[Rows]) -> Iterator[pandas.DataFrame]:
    n_draws = min(job.design.n_draws, rival.n_draws or job.design.n_draws)
    for market in markets:
        rival.meet(market.features)
        for draw in make_draws(str(market.market[0]), market.y, job.design, n_draws):
            frame = _of_draw(rival, market.y, draw)
            yield frame.assign(world=job.world, split=job.split, market=draw.market, draw=draw.number)


def _of_draw(rival: Rival, y: FloatArray, draw: Draw) -> pandas.DataFrame:
    """One row a cell and name; all PDs of a draw are measured at once, for they are of the same query."""
    if know := getattr(rival, "know", None):  # the ceiling alone
        know(Posted(draw.pool, y[draw.pool]), draw.query)
    asked = y[draw.query]
    rows, vectors = [], []
    for setting, posted in draw.cells:
        if not is_run_on(rival, setting):
            continue
        found = rival.pds(posted, draw.query)
        ranges = rival.mean_pd_ranges(draw.query) if hasattr(rival, "mean_pd_ranges") else {}
        for name, pd in found.items():
            vectors.append(pd)
            rows.append(_labels(setting, posted, name) | _covered(ranges.get(name), float(asked.mean())))
    return pandas.DataFrame(rows).assign(**measure_all(asked, np.stack(vectors)))


def _labels(setting: Setting, posted: Posted, name: str) -> dict[str, Any]:
    n_defaults = int(posted.y.sum())
    return {"method": name, **asdict(setting), "n_support": setting.n_support, "n_defaults": n_defaults}


def _covered(found: tuple[float, float] | None, rate: float) -> dict[str, float]:
    """Whether the 90 % range of the market's mean PD holds the query's default rate, and how wide it is."""
    low, high = found or (np.nan, np.nan)
    if np.isnan(low):
        return {"covered": np.nan, "range_width": np.nan}
    return {"covered": float(low <= rate <= high), "range_width": high - low}
