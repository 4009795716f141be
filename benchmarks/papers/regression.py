"""Curves to be learned from a few points: MAML's sinusoids, and LEO's sinusoids and lines."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meta.types import Episode, LabelledRows

FloatArray = NDArray[np.float64]
Curve = Callable[[FloatArray], FloatArray]

X_RANGE = (-5.0, 5.0)
AMPLITUDE = (0.1, 5.0)
PHASE = (0.0, np.pi)
SLOPE = INTERCEPT = (-3.0, 3.0)
NOISE_SD = 0.3


class Sinusoids:
    """y = amplitude * sin(x - phase), without noise.

    Source: Finn et al. 2017, arXiv:1703.03400, section 5.1.
    """

    def draw(self, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int) -> Episode:
        amplitude, phase = rng.uniform(*AMPLITUDE, (n_tasks, 1)), rng.uniform(*PHASE, (n_tasks, 1))

        def curve(x: FloatArray) -> FloatArray:
            return amplitude * np.sin(x - phase)

        return _episode(curve, rng, n_tasks, n_shots, n_query, noise_sd=0.0)


class SinusoidsAndLines:
    """One half sinusoids, one half lines, every y with noise of sd 0.3.

    Source: Rusu et al. 2019, arXiv:1807.05960, section 5.1 (after Finn et al. 2018, arXiv:1806.02817).
    """

    def draw(self, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int) -> Episode:
        amplitude, phase = rng.uniform(*AMPLITUDE, (n_tasks, 1)), rng.uniform(*PHASE, (n_tasks, 1))
        slope, intercept = rng.uniform(*SLOPE, (n_tasks, 1)), rng.uniform(*INTERCEPT, (n_tasks, 1))
        is_line = rng.random((n_tasks, 1)) < 0.5

        def curve(x: FloatArray) -> FloatArray:
            return np.where(is_line, slope * x + intercept, amplitude * np.sin(x - phase))

        return _episode(curve, rng, n_tasks, n_shots, n_query, noise_sd=NOISE_SD)


def mean_squared_error(predictions: Tensor, y: Tensor) -> Tensor:
    """Squared error of each task's rows, averaged: (n_tasks,)."""
    return (predictions.squeeze(-1) - y).square().mean(-1)


def _episode(
    curve: Curve, rng: np.random.Generator, n_tasks: int, n_shots: int, n_query: int, noise_sd: float
) -> Episode:
    def rows(n: int) -> LabelledRows:
        x = rng.uniform(*X_RANGE, (n_tasks, n))
        y = curve(x) + noise_sd * rng.standard_normal((n_tasks, n))
        return LabelledRows.of(_tensor(x).unsqueeze(-1), _tensor(y))

    return Episode(rows(n_shots), rows(n_query))


def _tensor(values: FloatArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
