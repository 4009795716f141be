"""Intervals of means, shares and AUCs: how far chance alone could have moved a result.

``share`` is the interval's probability, 0.9 for a 90 % interval. Units are those of the values that come in.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from scipy.stats import t as student_t

from meta.errors import InvalidEpisode
from meta.metrics import auc, mid_ranks

FloatArray = NDArray[np.float64]


def mean_and_reach(values: FloatArray, share: float = 0.9) -> tuple[float, float]:
    """Mean of values (n,), n >= 2, and half of its interval, by Student's t: few rows know their own spread badly."""
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    return float(values.mean()), reach_of(error, len(values), share)


def reach_of(standard_error: float, n: int, share: float) -> float:
    """Half of the interval of a mean of n >= 2 values with this standard error, by Student's t.

    >>> round(reach_of(1.0, 41, 0.95), 3)
    2.021
    """
    return float(standard_error * student_t.ppf(0.5 + share / 2, n - 1))


def share_interval(k: int, n: int, share: float) -> tuple[float, float]:
    """Interval of a share of which k of n >= 1 were seen: Jeffreys'.

    At k = 0 it begins at 0, at k = n it ends at 1. Source: Brown, Cai & DasGupta 2001, Statistical Science 16(2).
    """
    tail = 0.5 - share / 2
    low = float(beta.ppf(tail, k + 0.5, n - k + 0.5)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 0.5, n - k + 0.5)) if k < n else 1.0
    return low, high


def auc_interval(y: FloatArray, score: FloatArray, share: float) -> tuple[float, float]:
    """Interval of the AUC of score (n_rows,) on y (n_rows,), 1.0 = default; always within 0 and 1.

    Variance by DeLong, DeLong & Clarke-Pearson 1988, on the logit's scale, where the AUC is more nearly normal, with
    Student's t of the smaller class. A perfect ranking has no variance: of m disjoint (defaulter, good) pairs, m the
    size of the smaller class, all are then ordered alike, which bounds the AUC by the binomial (Clopper & Pearson
    1934). It takes rows as independent and scores as given: what another training would have scored is not in it.

    Raises:  InvalidEpisode: fewer than two defaulters or goods, or a score that is not finite.
    """
    value = auc(y, score)
    bad, good = score[y == 1], score[y == 0]
    fewer = min(len(bad), len(good))
    if fewer < 2:
        raise InvalidEpisode("an interval of the AUC needs two defaulters and two goods")
    if value in (0.0, 1.0):
        bound = (0.5 - share / 2) ** (1 / fewer)
        return (bound, 1.0) if value == 1.0 else (0.0, 1 - bound)
    error = _delong_error(bad, good)
    reach = reach_of(error / (value * (1 - value)), fewer, share)
    center = np.log(value) - np.log1p(-value)
    return float(1 / (1 + np.exp(reach - center))), float(1 / (1 + np.exp(-reach - center)))


def _delong_error(bad: FloatArray, good: FloatArray) -> float:
    """Standard error of the AUC from each defaulter's share of goods below it and each good's of defaulters above."""
    ranks = mid_ranks(np.concatenate([bad, good]))
    goods_below = (ranks[: len(bad)] - mid_ranks(bad)) / len(good)
    bads_above = 1 - (ranks[len(bad) :] - mid_ranks(good)) / len(bad)
    return float(np.sqrt(goods_below.var(ddof=1) / len(bad) + bads_above.var(ddof=1) / len(good)))
