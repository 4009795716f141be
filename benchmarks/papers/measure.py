"""Train a contestant on a problem, test it on new tasks, and keep the result in a file that the next run takes up."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.papers.problem import Contestant, Problem
from meta.learners.protocol import Learner, OuterGradient, gradient_by_step
from meta.trainer import Schedule, TrainerState, train
from meta.types import Params

N_TEST_TASKS = 600
N_AT_ONCE = 50
WORTH_COMPILING = 20_000  # outer steps: compiling takes up to a minute
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # where a function of the setup lies in memory
LOST = 100.0  # squared error; the widest curves have a mean square of about 100


def measured(problem: Problem, contestant: Contestant, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Give the rows of this contestant: from its file, if there is one, else by training and testing it."""
    file = result_file(problem, contestant, seed, folder)
    if file.exists():
        kept: list[dict[str, Any]] = json.loads(file.read_text())
        return kept
    started = time.process_time()
    theta = trained(problem, contestant, seed)
    about = {
        "problem": problem.name,
        "learner": contestant.name,
        "n_steps": contestant.n_steps,
        "cpu_s": round(time.process_time() - started, 1),
    }
    rows = [about | row for row in tested(problem, contestant, theta, seed)]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1))
    return rows


def result_file(problem: Problem, contestant: Contestant, seed: int, folder: Path) -> Path:
    """Name the file by the setup, so that a changed one is measured anew; a change of the code is not seen."""
    shown = repr((contestant.learner, contestant.n_steps, contestant.outer_lr, contestant.tested_steps))
    shown += repr(
        (problem.tasks, problem.new_tasks, contestant.n_tasks or problem.n_tasks, problem.n_shots, problem.tested_shots)
    )
    setup = hashlib.sha256(ADDRESS.sub("", shown).encode()).hexdigest()[:8]
    return folder / problem.name / f"{contestant.name}.{contestant.n_steps}.{setup}.{seed}.json"


def trained(problem: Problem, contestant: Contestant, seed: int) -> Params:
    """Run Adam on seeded meta-batches from the learner's own start; its rate falls by half a cosine to zero."""
    learner = contestant.learner
    outer_grad = gradient_by_step(learner, contestant.n_steps, compile=contestant.n_steps >= WORTH_COMPILING)
    n_tasks = contestant.n_tasks or problem.n_tasks
    theta = learner.init(torch.Generator().manual_seed(seed))

    def gradient_at(theta: Params, step: int) -> OuterGradient:
        rng = np.random.default_rng([seed, 0, step])
        return outer_grad(theta, problem.tasks.draw(rng, n_tasks, problem.n_shots, problem.n_shots), step)

    schedule = Schedule(contestant.n_steps, contestant.outer_lr)
    return train(TrainerState.at_start(theta), gradient_at, schedule).best


def tested(problem: Problem, contestant: Contestant, theta: Params, seed: int) -> Iterator[dict[str, Any]]:
    """Give a row for every number of shots and of inner steps."""
    for n_shots in problem.tested_shots:
        for steps in contestant.tested_steps or (None,):
            learner: Any = contestant.learner
            at_test = learner if steps is None else replace(learner, inner_steps=steps)
            yield {"n_shots": n_shots, "steps": steps} | summary(scores(problem, at_test, theta, n_shots, seed))


def scores(problem: Problem, learner: Learner, theta: Params, n_shots: int, seed: int) -> Tensor:
    """Score N_TEST_TASKS new tasks, the same for every learner: (N_TEST_TASKS,)."""
    rng = np.random.default_rng([seed, 1, n_shots])
    found = []
    for _ in range(0, N_TEST_TASKS, N_AT_ONCE):
        episode = problem.new_tasks.draw(rng, N_AT_ONCE, n_shots, problem.n_query or n_shots)
        theta_prime = learner.adapt(theta, episode.support)
        with torch.no_grad():
            found.append(problem.score(learner.predict(theta_prime, episode.query.x), episode.query.y))
    return torch.cat(found)


def summary(scores: Tensor) -> dict[str, Any]:
    """Mean over tasks with its 95 % interval, the median, and how many tasks were lost (a squared error above LOST)."""
    values = scores.double().numpy()
    with np.errstate(invalid="ignore"):  # a curve that was lost to infinity takes the interval with it
        spread = values.std(ddof=1)
    return {
        "mean": float(values.mean()),
        "half_width": float(1.96 * spread / np.sqrt(len(values))),
        "median": float(np.median(values)),
        "n_lost": int((~(values <= LOST)).sum()),
    }
