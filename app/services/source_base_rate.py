"""The base rate of a theta: how many of the source accounts that taught it have defaulted."""

import numpy as np
from scipy.stats import t as student_t

from app.domain.cards import ObservedBaseRate
from app.domain.source_data import SourceSummary

INTERVAL = 0.95


def observed_base_rate(source: SourceSummary | None) -> ObservedBaseRate | None:
    """Default rate of a theta's source rows, its interval over markets; None: no row, or not recorded then."""
    if source is None or not source.n_rows:
        return None
    low, high = _interval(source)
    return ObservedBaseRate(
        value=source.n_defaults / source.n_rows,
        low=low,
        high=high,
        interval=INTERVAL,
        n_defaults=source.n_defaults,
        n_rows=source.n_rows,
        n_markets=source.n_markets,
    )


def _interval(source: SourceSummary) -> tuple[float, float] | tuple[None, None]:
    """Student's t on the logit's scale, where no bound leaves 0 to 1; markets, not accounts, are what was drawn.

    Accounts of one market default alike, so that the binomial error of all accounts would be far too small. The error
    is that of a ratio of two sums over markets (Cochran 1977, Sampling Techniques, 6.3), and never below the binomial:
    a few markets may agree by luck.
    """
    n_markets, rate = source.n_markets, source.n_defaults / source.n_rows
    if n_markets < 2 or not 0 < rate < 1:
        return None, None
    excess = np.array([market.n_defaults - rate * market.n_rows for market in source.markets])
    variance = n_markets / (n_markets - 1) * float(np.square(excess).sum()) / source.n_rows**2
    error = np.sqrt(max(variance, rate * (1 - rate) / source.n_rows)) / (rate * (1 - rate))
    reach = error * student_t.ppf(0.5 + INTERVAL / 2, n_markets - 1)
    center = np.log(rate) - np.log1p(-rate)
    return float(1 / (1 + np.exp(reach - center))), float(1 / (1 + np.exp(-reach - center)))
