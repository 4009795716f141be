"""Jobs of the comparison: a world and split each, with learners for methods; a learner's cells and costs are files."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

import pandas
import torch
from threadpoolctl import threadpool_limits

from app.domain.recipes import ThetaRecipe
from benchmarks.families.measure import NO_EPISODES, THETA_LEVEL, World, measure, measure_at_rest, measure_costs
from benchmarks.few_shot.data import DATASETS, Rows, load
from benchmarks.few_shot.design import held_out_markets, source_of
from benchmarks.few_shot.run import Job


def run_job(job: Job) -> None:
    """Learn and measure what has no result file yet."""
    torch.set_num_threads(1)
    missing = [name for name in job.methods if not job.file(name).exists()]
    if not missing and job.file(NO_EPISODES).exists():
        return
    rows = load(DATASETS[job.world], job.data)
    held_out = held_out_markets(rows, job.design)[job.split]
    markets = [rows.of([name]) for name in held_out]
    with threadpool_limits(1):
        world = World.of(source_of(rows, held_out), job.design.seed)
        _run_without_episodes(job, world, markets)  # also when it is there: it fills the world's pooled stages
        for name in missing:
            _run_learner(job, name, world, markets)


def _run_without_episodes(job: Job, world: World, markets: Sequence[Rows]) -> None:
    theta, _, seconds = world.learn(ThetaRecipe(outer_steps=0))
    if job.file(NO_EPISODES).exists():
        return
    at_rest = measure_at_rest(theta, markets, job.design).assign(method=NO_EPISODES)
    level = measure(theta, markets, job.design, inner_steps=0).assign(method=THETA_LEVEL)
    _keep(job, NO_EPISODES, pandas.concat([at_rest, level], ignore_index=True), {"pooled_s": seconds})


def _run_learner(job: Job, name: str, world: World, markets: Sequence[Rows]) -> None:
    theta, report, seconds = world.learn(ThetaRecipe.model_validate({"learner": name}))
    cells = measure(theta, markets, job.design).assign(method=name)
    used = report["learner"] | {"outer_steps": report["outer_steps"], "strength": asdict(theta.strength)}
    _keep(job, name, cells, {"learnt_s": seconds, "used": used} | measure_costs(theta, markets[0], job.design))


def _keep(job: Job, method: str, cells: pandas.DataFrame, costs: dict[str, object]) -> None:
    labels = {"world": job.world, "split": job.split}
    job.file(method).with_suffix(".json").write_text(json.dumps(labels | {"method": method} | costs))
    unfinished = job.file(method).with_suffix(".part")
    cells.assign(**labels).to_parquet(unfinished, index=False)
    unfinished.replace(job.file(method))
    print(f"{time.strftime('%H:%M:%S')} {job.world}, split {job.split + 1}, {method}: done", flush=True)


def gather(jobs: Sequence[Job]) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Every cell, and one row of costs for each learner, world and split."""
    files = [job.file(method) for job in jobs for method in (NO_EPISODES, *job.methods)]
    cells = pandas.concat([pandas.read_parquet(file) for file in files], ignore_index=True)
    costs = pandas.DataFrame([json.loads(file.with_suffix(".json").read_text()) for file in files])
    return cells, costs
