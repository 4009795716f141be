"""What a paper's problem is made of, and what takes part in it; no learner is known here by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor

from meta.learners.protocol import Learner
from meta.types import Episode

ANNEALING_SHARE = 0.1  # of MAML++'s outer steps: its authors' code anneals for 10 of 100 to 150 epochs


class Tasks(Protocol):
    """A distribution of tasks."""

    def draw(self, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int) -> Episode:
        """Draw tasks with n_shots support and n_query query rows each (of every class, where there are classes)."""
        ...


@dataclass(frozen=True)
class Problem:
    """One table of a paper.

    tasks teach, new_tasks test; n_tasks: in a meta-batch; n_shots: in training, where query rows are as many.
    score: (predictions (n_tasks, n_rows, n_outputs), y (n_tasks, n_rows)) -> (n_tasks,), as the paper counts;
    larger_is_better says which way. n_query: query rows at test, None for as many as shots. is_the_papers: False where
    the data only stand in for the paper's. chance: the score of a guess;
    note: what to know when reading the table.
    """

    name: str
    title: str
    tasks: Tasks
    new_tasks: Tasks
    score: Callable[[Tensor, Tensor], Tensor]
    larger_is_better: bool
    n_tasks: int
    n_shots: int
    tested_shots: tuple[int, ...]
    n_query: int | None = None
    is_the_papers: bool = True
    chance: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A published figure; half_width None: without an interval. same_network: False where theirs is another one."""

    value: float
    half_width: float | None = None
    same_network: bool = True
    where: str = ""


@dataclass(frozen=True)
class Contestant:
    """A learner as a paper sets it up.

    n_steps: outer steps; n_tasks: in a meta-batch, None for the problem's; tested_steps: inner steps at test, where
    they are not those of training;
    published: (n_shots, tested steps or None) -> the paper's figure.
    """

    name: str
    learner: Learner
    n_steps: int
    outer_lr: float = 0.001
    tested_steps: tuple[int, ...] = ()
    n_tasks: int | None = None
    published: Mapping[tuple[int, int | None], Figure] = field(default_factory=dict)
