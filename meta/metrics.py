"""How well PDs rank and how well they are calibrated."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def log_loss(y: FloatArray, pd: FloatArray) -> float:
    """Mean log loss in nats; pd clipped to [1e-15, 1 - 1e-15]."""
    pd = np.clip(pd, 1e-15, 1 - 1e-15)
    return float(-(y * np.log(pd) + (1 - y) * np.log1p(-pd)).mean())


def auc(y: FloatArray, score: FloatArray) -> float:
    """Area under the ROC curve, exact, ties counted half; y must hold both classes."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    mid_ranks = np.cumsum(counts) - (counts - 1) / 2.0
    n_bad = y.sum()
    rank_sum = (mid_ranks[place] * y).sum()
    return float((rank_sum - n_bad * (n_bad + 1) / 2) / (n_bad * (len(y) - n_bad)))
