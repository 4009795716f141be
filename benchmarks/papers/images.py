"""N-way classification of flattened 28 x 28 drawings: tasks, and the split of the characters."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meta.types import Episode, LabelledRows

Drawings = NDArray[np.uint8]
SIDE = 28
N_DRAWINGS = 20  # of each character
N_TRAINING = 1200  # characters, of Omniglot's 1,623


@dataclass(frozen=True)
class ImageTasks:
    """``n_ways`` characters with random labels; each is turned by a random multiple of 90 degrees, for all its rows.

    drawings: (n_characters, N_DRAWINGS, SIDE, SIDE), ink = 1. Support rows come in random order (some learners read
    them one after the other), query rows by class.
    """

    drawings: Drawings
    n_ways: int = 5

    def draw(self, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int) -> Episode:
        n_characters, n_drawings = self.drawings.shape[:2]
        character = _some(rng, (n_tasks, n_characters), self.n_ways)[..., None]
        drawing = _some(rng, (n_tasks, self.n_ways, n_drawings), n_shots + n_query)
        turns = rng.integers(4, size=(n_tasks, self.n_ways))
        chosen = self.drawings[character, drawing]  # (n_tasks, n_ways, n_shots + n_query, SIDE, SIDE)
        for k in range(1, 4):
            chosen[turns == k] = np.rot90(chosen[turns == k], k, axes=(-2, -1))
        order = _some(rng, (n_tasks, self.n_ways * n_shots), self.n_ways * n_shots)
        return Episode(_rows(chosen[:, :, :n_shots], order), _rows(chosen[:, :, n_shots:]))


def split(drawings: Drawings, n_training: int, seed: int) -> tuple[Drawings, Drawings]:
    """Divide the characters at random: no character is on both sides."""
    order = np.random.default_rng([seed, 2]).permutation(len(drawings))
    return drawings[order[:n_training]], drawings[order[n_training:]]


def accuracy(predictions: Tensor, y: Tensor) -> Tensor:
    """Share of each task's rows whose class has the highest output: (n_tasks,)."""
    return (predictions.argmax(-1) == y).float().mean(-1)


def _some(rng: np.random.Generator, shape: tuple[int, ...], n: int) -> NDArray[np.int64]:
    """Draw n of the last dimension's indices without replacement."""
    return rng.random(shape).argsort(-1)[..., :n]


def _rows(chosen: Drawings, order: NDArray[np.int64] | None = None) -> LabelledRows:
    n_tasks, n_ways, n_each = chosen.shape[:3]
    x = chosen.reshape(n_tasks, n_ways * n_each, SIDE * SIDE).astype(np.float32)
    y = np.broadcast_to(np.repeat(np.arange(n_ways), n_each), (n_tasks, n_ways * n_each))
    if order is not None:
        x, y = np.take_along_axis(x, order[..., None], axis=1), np.take_along_axis(y, order, axis=1)
    return LabelledRows.of(torch.from_numpy(x), torch.from_numpy(y.copy()))
