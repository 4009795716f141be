"""All metrics of many PD vectors on the same accounts at once: a draw's cells and methods share their query.

Throughout: y (n_rows,), 1.0 = default, both classes present; pd (n_vectors, n_rows); each metric is (n_vectors,). The
definitions are those of ``meta.metrics``, to which the tests hold them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

FloatArray = NDArray[np.float64]
METRICS = ("log_loss", "auc", "gini", "brier", "ece", "ks", "slope", "log_loss_at_own_level")
SMALLEST_PD = 1e-15
N_BINS = 10


def measure_all(y: FloatArray, pd: FloatArray) -> dict[str, FloatArray]:
    """Every metric of METRICS; ``log_loss_at_own_level``: once the best intercept is known, what is left."""
    pd = np.clip(pd, SMALLEST_PD, 1 - SMALLEST_PD)
    logits = np.log(pd) - np.log1p(-pd)
    by_rank = _Ranked(y, pd)
    auc = by_rank.auc()
    shift = best_intercept(y, logits)
    values = (
        _log_loss(y, logits),
        auc,
        2 * auc - 1,
        np.square(pd - y).mean(axis=1),
        by_rank.ece(),
        by_rank.ks(),
        calibration_slope(y, logits),
        _log_loss(y, logits + shift[:, None]),
    )
    return dict(zip(METRICS, values, strict=True))


def calibration_slope(y: FloatArray, logits: FloatArray) -> FloatArray:
    """Slope (n_vectors,) of logistic regression of the outcome on the logit of PD, with intercept, by Newton's method.

    1: spread as it should be; below 1: PDs too far apart, above: too close. NaN where all PDs are equal, or where they
    separate defaulters from goods so that no slope is finite.
    Source:  Cox 1958, Biometrika 45, 562-565.
    """
    centre = logits.mean(axis=1, keepdims=True)
    z = logits - centre
    a, b = centre[:, 0].copy(), np.ones(len(z))
    for _ in range(50):
        pd = expit(a[:, None] + b[:, None] * z)
        residual, spread = y - pd, pd * (1 - pd)
        g0, g1 = residual.sum(axis=1), (residual * z).sum(axis=1)
        h00, h01, h11 = spread.sum(axis=1), (spread * z).sum(axis=1), (spread * z * z).sum(axis=1)
        determinant = h00 * h11 - h01**2
        with np.errstate(divide="ignore", invalid="ignore"):
            step_a, step_b = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        a, b = a + np.clip(step_a, -2, 2), b + np.clip(step_b, -2, 2)
        if np.nanmax(np.abs(step_b), initial=0.0) < 1e-8:
            break
    flat = z.std(axis=1) < 1e-9
    bad, good = logits[:, y == 1], logits[:, y == 0]
    separate = (bad.min(axis=1) > good.max(axis=1)) | (bad.max(axis=1) < good.min(axis=1))
    return np.where(flat | separate, np.nan, b)


def best_intercept(y: FloatArray, logits: FloatArray) -> FloatArray:
    """Logit shift (n_vectors,) at which the mean PD is the default rate, by Newton's method."""
    shift = np.zeros(len(logits))
    for _ in range(100):
        pd = expit(logits + shift[:, None])
        step = (y - pd).sum(axis=1) / np.maximum((pd * (1 - pd)).sum(axis=1), 1e-12)
        shift += np.clip(step, -1, 1)
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return shift


class _Ranked:
    """Outcomes in the order of PD; ties are kept together. All arrays (n_vectors, n_rows)."""

    def __init__(self, y: FloatArray, pd: FloatArray) -> None:
        order = np.argsort(pd, axis=1, kind="stable")
        self.pd, self.y = np.take_along_axis(pd, order, axis=1), y[order]
        n_rows = pd.shape[1]
        place = np.arange(n_rows)
        differs = self.pd[:, 1:] != self.pd[:, :-1]
        edge = np.ones((len(pd), 1), dtype=bool)
        first, last = np.hstack([edge, differs]), np.hstack([differs, edge])
        self.last = last
        self.first_rank = np.maximum.accumulate(np.where(first, place, 0), axis=1)
        reversed_last = np.where(last, place, n_rows - 1)[:, ::-1]
        self.last_rank = np.minimum.accumulate(reversed_last, axis=1)[:, ::-1]

    def auc(self) -> FloatArray:
        mid_ranks = (self.first_rank + self.last_rank) / 2 + 1
        n_bad = self.y.sum(axis=1)
        return ((mid_ranks * self.y).sum(axis=1) - n_bad * (n_bad + 1) / 2) / (n_bad * (self.y.shape[1] - n_bad))

    def ks(self) -> FloatArray:
        bad, good = np.cumsum(self.y, axis=1), np.cumsum(1 - self.y, axis=1)
        gaps = np.abs(bad / bad[:, -1:] - good / good[:, -1:])
        return np.where(self.last, gaps, 0.0).max(axis=1)

    def ece(self) -> FloatArray:
        """Bins hold equally many rows; rows of equal PD share the bin of the first of them."""
        n_vectors, n_rows = self.y.shape
        bin_of_row = self.first_rank * N_BINS // n_rows + np.arange(n_vectors)[:, None] * N_BINS
        gaps = np.bincount(bin_of_row.ravel(), (self.y - self.pd).ravel(), minlength=n_vectors * N_BINS)
        return np.abs(gaps).reshape(n_vectors, N_BINS).sum(axis=1) / n_rows


def _log_loss(y: FloatArray, logits: FloatArray) -> FloatArray:
    return (np.logaddexp(0, logits) - y * logits).mean(axis=1)
