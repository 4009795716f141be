"""N-way classification of points about random centers: nothing to see, so that only binding rows to labels is asked.

It tells how much of a memory's distance from its paper is training: where rows come with the next row's label, a memory
learns nothing for long, and then all of it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.papers.images import accuracy
from benchmarks.papers.problem import Contestant, Problem
from meta.learners.memory_augmented import MemoryAugmented
from meta.learners.prototypical import Prototypical
from meta.losses import cross_entropy
from meta.nets import Mlp
from meta.types import Episode, LabelledRows

N_WAYS, N_DIMENSIONS = 5, 16
NOISE = 0.3  # standard deviation about a center; centers are standard normal
STEPS = 18_000
EMBEDDING = Mlp(N_DIMENSIONS, (64,), 64)

NOTE = """\
Five centers drawn from the standard normal distribution in 16 dimensions, points about them with sd 0.3: nearest center
is right nearly always. One labelled point of each, in random order; one more of each is asked. No paper has this
problem. It is here for the memory: *as published* a label comes with the row after the one it belongs to, and until a
memory has found that out it learns nothing at all; with each row's *own labels* it takes a tenth of the meta-batches
or less. Meta-batches are of sixteen tasks, as many as the paper's sequences; the paper has 100,000 of them. *A third*,
*two thirds*: trained for so many of the outer steps, for the curve."""


@dataclass(frozen=True)
class Clusters:
    """Labels are drawn anew for every task, so that nothing but the support tells them."""

    n_ways: int = N_WAYS
    n_dimensions: int = N_DIMENSIONS
    noise: float = NOISE

    def draw(self, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int) -> Episode:
        centers = rng.normal(size=(n_tasks, self.n_ways, 1, self.n_dimensions))
        n_each = n_shots + n_query
        points = centers + self.noise * rng.normal(size=(n_tasks, self.n_ways, n_each, self.n_dimensions))
        labels = np.broadcast_to(np.arange(self.n_ways)[:, None], (n_tasks, self.n_ways, n_each))
        order = rng.random((n_tasks, self.n_ways * n_shots)).argsort(-1)
        x, y = self._flat(points[:, :, :n_shots], labels[:, :, :n_shots])
        support = LabelledRows.of(
            torch.from_numpy(np.take_along_axis(x, order[..., None], axis=1)),
            torch.from_numpy(np.take_along_axis(y, order, axis=1)),
        )
        x, y = self._flat(points[:, :, n_shots:], labels[:, :, n_shots:])
        return Episode(support, LabelledRows.of(torch.from_numpy(x), torch.from_numpy(y)))

    @staticmethod
    def _flat(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n_tasks = len(points)
        return points.reshape(n_tasks, -1, points.shape[-1]).astype(np.float32), labels.reshape(n_tasks, -1).copy()


CLUSTERS = Problem(
    name="clusters",
    title=f"{N_WAYS}-way 1-shot classification of points about random centers (no paper's)",
    tasks=Clusters(),
    new_tasks=Clusters(),
    score=accuracy,
    larger_is_better=True,
    n_tasks=16,
    n_shots=1,
    tested_shots=(1,),
    chance=1 / N_WAYS,
    note=NOTE,
)


def contestants() -> list[Contestant]:
    """The memory as published at three lengths of training, with own labels at a tenth, and a metric learner."""
    embedding = {"n_classes": N_WAYS, "on_credit": False}
    memory = MemoryAugmented(
        EMBEDDING, cross_entropy, 1.0, 1, hidden=200, n_slots=8, slot_size=40, n_heads=1, **embedding
    )
    metric = Prototypical(EMBEDDING, cross_entropy, 1.0, 1, **embedding)
    own = replace(memory, labels_follow=False)
    return [
        Contestant("Memory-augmented", memory, STEPS),
        Contestant("Memory-augmented, two thirds", memory, 2 * STEPS // 3),
        Contestant("Memory-augmented, a third", memory, STEPS // 3),
        Contestant("Memory-augmented, own labels", own, STEPS // 10),
        Contestant("Prototypical", metric, STEPS // 10),
    ]
