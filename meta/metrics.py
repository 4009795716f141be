"""How well PDs rank, how well they are calibrated, and how far a population has moved.

Throughout: y (n_rows,) holds 0.0 and 1.0 (1.0 = default); pd (n_rows,) are probabilities of default in [0, 1]; a
score ranks like a PD (higher = riskier). Every function raises InvalidEpisode where its number is not defined.
"""

import numpy as np
from numpy.typing import NDArray

from meta.errors import InvalidEpisode

FloatArray = NDArray[np.float64]
SMALLEST_PD = 1e-15


def log_loss(y: FloatArray, pd: FloatArray) -> float:
    """Mean log loss in nats; pd is clipped to [1e-15, 1 - 1e-15].

    >>> round(log_loss(np.array([1.0, 0.0]), np.array([0.5, 0.5])), 6)
    0.693147
    """
    _require_rows(y, pd)
    pd = np.clip(pd, SMALLEST_PD, 1 - SMALLEST_PD)
    return float(-(y * np.log(pd) + (1 - y) * np.log1p(-pd)).mean())


def brier(y: FloatArray, pd: FloatArray) -> float:
    """Mean squared difference between PD and outcome."""
    _require_rows(y, pd)
    return float(np.square(pd - y).mean())


def auc(y: FloatArray, score: FloatArray) -> float:
    """Share of (defaulter, good) pairs that the score orders rightly; a tie counts half. Exact, by mid-ranks.

    >>> auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.4, 0.8]))
    0.875
    """
    _require_both_classes(y, score)
    n_bad = y.sum()
    rank_sum = (mid_ranks(score) * y).sum()
    return float((rank_sum - n_bad * (n_bad + 1) / 2) / (n_bad * (len(y) - n_bad)))


def mid_ranks(values: FloatArray) -> FloatArray:
    """Ranks (n,) of values (n,), from 1; equal values share their mean rank.

    >>> mid_ranks(np.array([0.4, 0.1, 0.4])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return ranks


def gini(y: FloatArray, score: FloatArray) -> float:
    """Accuracy ratio, 2 * auc - 1."""
    return 2 * auc(y, score) - 1


def ks(y: FloatArray, score: FloatArray) -> float:
    """Largest gap between the score distributions of defaulters and goods, 0 to 1.

    The gap is looked at after each distinct score, never inside a tie.

    >>> ks(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.3, 0.4]))
    1.0
    """
    _require_both_classes(y, score)
    _, place = np.unique(score, return_inverse=True)
    n_bad = np.bincount(place, weights=y)
    n_good = np.bincount(place, weights=1 - y)
    gaps = np.cumsum(n_bad) / n_bad.sum() - np.cumsum(n_good) / n_good.sum()
    return float(np.abs(gaps).max())


def ece(y: FloatArray, pd: FloatArray, n_bins: int = 10) -> float:
    """Expected calibration error: mean over rows of |default rate - mean PD| of the row's bin.

    Bins hold equally many rows in order of PD; rows of equal PD share the bin of the first of them, so that the order
    of rows does not matter. Noise alone keeps it above zero: compare it only between models on the same rows.
    """
    _require_rows(y, pd)
    ordered, place, counts = np.unique(pd, return_inverse=True, return_counts=True)
    first_rank = np.cumsum(counts) - counts
    bin_of_row = (first_rank * n_bins // len(y))[place]
    gaps = np.bincount(bin_of_row, weights=y - ordered[place], minlength=n_bins)
    return float(np.abs(gaps).sum() / len(y))


def psi(reference: FloatArray, actual: FloatArray, n_bins: int = 10) -> float:
    """Population stability index of ``actual`` against ``reference``, over the deciles of ``reference``.

    Values equal to an edge fall in the lower bin; edges that coincide (heavy ties) are merged. See ``psi_of_counts``.
    """
    _require_rows(reference, reference)
    _require_rows(actual, actual)
    edges = np.unique(np.quantile(reference, np.arange(1, n_bins) / n_bins))
    counts = [
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(np.float64)
        for values in (reference, actual)
    ]
    return psi_of_counts(*counts)


def psi_of_counts(reference: FloatArray, actual: FloatArray) -> float:
    """Sum over bins of (a - r) * ln(a / r), with r and a each bin's share of rows; counts (n_bins,) come in.

    A bin that is empty on one side counts as half a row there (its PSI would be infinite); empty on both it is left
    out. The index has no critical value that fits all sizes: chance alone gives about
    (n_bins - 1) * (1 / n_reference + 1 / n_actual).

    >>> round(psi_of_counts(np.array([50.0, 50.0]), np.array([25.0, 75.0])), 6)
    0.274653
    """
    if reference.shape != actual.shape or reference.sum() <= 0 or actual.sum() <= 0:
        raise InvalidEpisode("both sides must have the same bins and hold at least one row")
    seen = (reference > 0) | (actual > 0)
    r, a = (np.maximum(counts[seen], 0.5) / counts.sum() for counts in (reference, actual))
    return float(((a - r) * np.log(a / r)).sum())


def best_level(y: FloatArray, pd: FloatArray) -> float:
    """Logit shift that makes the mean PD equal the default rate: the maximum-likelihood intercept, by Newton."""
    _require_both_classes(y, pd)
    pd = np.clip(pd, SMALLEST_PD, 1 - SMALLEST_PD)
    logits = np.log(pd) - np.log1p(-pd)
    shift = 0.0
    for _ in range(100):
        shifted = 1 / (1 + np.exp(-(logits + shift)))
        step = (y - shifted).sum() / max((shifted * (1 - shifted)).sum(), 1e-12)
        shift += float(np.clip(step, -1, 1))  # a bounded step cannot leap over the mode of this concave likelihood
        if abs(step) < 1e-10:
            break
    return shift


def _require_rows(y: FloatArray, score: FloatArray) -> None:
    if y.ndim != 1 or y.shape != score.shape or not len(y):
        raise InvalidEpisode(f"expected two arrays of one and the same length above 0, got {y.shape} and {score.shape}")
    if not np.isfinite(score).all():
        raise InvalidEpisode("scores must be finite")


def _require_both_classes(y: FloatArray, score: FloatArray) -> None:
    _require_rows(y, score)
    if not 0 < y.sum() < len(y):
        raise InvalidEpisode("needs at least one defaulter and one good")
