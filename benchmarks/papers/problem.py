"""What a paper's problem is made of, and what takes part in it; no learner is known here by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor

from meta.learners.protocol import Learner
from meta.nets import Network
from meta.types import Episode, LossFn


class Tasks(Protocol):
    """A distribution of tasks."""

    def draw(self, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int) -> Episode:
        """Draw tasks with n_shots support and n_query query rows each (of every class, where there are classes)."""
        ...


@dataclass(frozen=True)
class Problem:
    """One table of a paper.

    score: (predictions (n_tasks, n_rows, n_outputs), y (n_tasks, n_rows)) -> (n_tasks,), as the paper counts.
    n_query: query rows at test, None for as many as shots.
    """

    name: str
    tasks: Tasks
    new_tasks: Tasks
    network: Network
    loss_fn: LossFn
    score: Callable[[Tensor, Tensor], Tensor]
    n_tasks: int
    n_shots: int
    tested_shots: tuple[int, ...]
    n_query: int | None = None


@dataclass(frozen=True)
class Figure:
    """A published figure; half_width None: the paper gives no interval. where: table or section, and the network."""

    value: float
    half_width: float | None = None
    where: str = ""


@dataclass(frozen=True)
class Contestant:
    """A learner as a paper sets it up.

    tested_steps: inner steps at test, where they are not those of training. learner_at_test: what adapts at test where
    that is not the learner that was trained. published: (n_shots, steps or None) -> the paper's figure.
    """

    name: str
    learner: Learner
    outer_lr: float = 0.001
    tested_steps: tuple[int, ...] = ()
    published: Mapping[tuple[int, int | None], Figure] = field(default_factory=dict)
    note: str = ""
