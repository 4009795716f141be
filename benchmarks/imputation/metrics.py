"""How good fills and draws are, on what was hidden, in columns scaled to [0, 1]."""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

FloatArray = NDArray[np.float64]
NOMINAL = 0.9
MOST_ROWS = 4000  # a side of the two-sample test


def rmse(filled: FloatArray, truth: FloatArray, asked: NDArray[np.bool_]) -> float:
    """Root mean squared error over ``asked`` entries."""
    return float(np.sqrt(np.mean((filled[asked] - truth[asked]) ** 2)))


def crps(draws: FloatArray, truth: FloatArray) -> FloatArray:
    """Continuous ranked probability score of draws (n_draws, ...) of truth (...), entry by entry; fair to few draws.

    Source:  Ferro 2014, Q. J. R. Meteorol. Soc. 140, Equation 8 (pairs of different draws).
    >>> crps(np.array([[0.0], [1.0]]), np.array([0.0])).tolist()
    [0.0]
    """
    n_draws = len(draws)
    ordered = np.sort(draws, axis=0)
    weights = (2.0 * np.arange(n_draws) - n_draws + 1.0).reshape(-1, *[1] * truth.ndim)
    apart = (weights * ordered).sum(axis=0) * 2.0 / (n_draws * (n_draws - 1))  # mean distance of two different draws
    found: FloatArray = np.abs(draws - truth).mean(axis=0) - apart / 2.0
    return found


def covered(draws: FloatArray, truth: FloatArray, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Does the central 90 % of draws (n_draws, ...) hold the truth? Ties, which discrete columns have, by lot.

    The truth's rank among n draws, ties broken by lot, is uniform on n + 1 places where the draws are right.
    """
    below, equal = (draws < truth).sum(axis=0), (draws == truth).sum(axis=0)
    place = (below + rng.random(truth.shape) * (equal + 1)) / (len(draws) + 1)
    return (place > (1 - NOMINAL) / 2) & (place < (1 + NOMINAL) / 2)


def two_sample_auc(real: FloatArray, filled: FloatArray, seed: int) -> float:
    """How well boosted trees tell filled rows from real ones, cross-fitted: 0.5 is not at all. NaN is allowed."""
    rng = np.random.default_rng(seed)
    sides = [side[rng.permutation(len(side))[:MOST_ROWS]] for side in (real, filled)]
    x, y = np.concatenate(sides), np.repeat([0, 1], [len(side) for side in sides])
    order = rng.permutation(len(y))
    model = HistGradientBoostingClassifier(max_iter=100, random_state=seed)
    told = cross_val_predict(model, x[order], y[order], cv=3, method="predict_proba")[:, 1]
    return float(roc_auc_score(y[order], told))
