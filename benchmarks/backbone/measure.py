"""Held-out markets' log loss at a fitted level, AUC, calibration slope, and paired differences over markets."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2

from benchmarks.few_shot.statistics import Difference, resampled
from meta.effects import common_slope
from meta.episodes import Market
from meta.level import LevelPrior, fit_level
from meta.metrics import auc, log_loss

FloatArray = NDArray[np.float64]
LEVEL = LevelPrior(mean=0.0, sd=0.3)
MIN_ROWS = 100  # of a market that is reported


@dataclass(frozen=True)
class Predicted:
    """Logits (n_starts, n_rows) of one candidate for rows of markets that it has not seen; means over folds and starts.

    seconds: processor time to train; n_steps: steps or rounds taken.
    """

    logits: FloatArray
    y: FloatArray
    market: NDArray[np.str_]
    seconds: float = 0.0
    n_steps: float = 0.0


@dataclass(frozen=True)
class Score:
    """Measures of one candidate in one world; losses and stretched (n_starts, n_markets): log losses by market.

    slope: by how much its logits should be stretched; stretched: once they are, which is what the product does to its
    network's (one number for all markets).
    """

    losses: FloatArray
    stretched: FloatArray
    auc: float
    slope: float
    seconds: float
    n_steps: float


def score(predicted: Predicted) -> Score:
    """Measure each start and average what is not a loss."""
    starts = [_score_start(logits, predicted) for logits in predicted.logits]
    losses, stretched, aucs, slopes = (np.array(values) for values in zip(*starts, strict=True))
    return Score(losses, stretched, float(aucs.mean()), float(slopes.mean()), predicted.seconds, predicted.n_steps)


def _score_start(logits: FloatArray, predicted: Predicted) -> tuple[list[float], list[float], float, float]:
    """Losses and stretched losses of the markets, the AUC, in which a market weighs by its defaults, and the slope."""
    markets = reported_markets(logits, predicted.y, predicted.market)
    slope = common_slope(markets, LEVEL)
    middle = float(np.concatenate([m.logits for m in markets]).mean())
    losses = [loss_at_level(m.logits, m.y) for m in markets]
    stretched = [loss_at_level(middle + slope * (m.logits - middle), m.y) for m in markets]
    weights = [float(m.y.sum()) for m in markets]
    return losses, stretched, float(np.average([auc(m.y, m.logits) for m in markets], weights=weights)), slope


def reported_markets(logits: FloatArray, y: FloatArray, market: NDArray[np.str_]) -> list[Market]:
    """Markets by name, without features: those with MIN_ROWS rows and both outcomes; all arrays (n_rows,)."""
    found = []
    for name in np.unique(market):
        rows = market == name
        if rows.sum() >= MIN_ROWS and 0 < y[rows].sum() < rows.sum():
            nothing = np.empty((int(rows.sum()), 0), np.float32)
            found.append(Market(str(name), nothing, y[rows], logits[rows]))
    return found


def loss_at_level(logits: FloatArray, y: FloatArray) -> float:
    """Log loss once the market's level is fitted under Normal(0, 0.3)."""
    return log_loss(y, expit(logits + fit_level(logits, y, LEVEL.mean, LEVEL.sd)))


def differences(scores: Mapping[str, Score], base: str, measure: str = "losses") -> dict[str, Difference]:
    """Mean over markets of each candidate's log loss minus the base's, with 95 % intervals.

    Paired bootstrap over markets, widened for the luck of the starts: see ``luck``.
    """
    gaps = {name: getattr(s, measure) - getattr(scores[base], measure) for name, s in scores.items()}
    spread = luck(gaps)
    return {name: _widened(resampled(gap.mean(axis=0)), spread[name]) for name, gap in gaps.items()}


def luck(gaps: Mapping[str, FloatArray]) -> dict[str, float]:
    """Standard error that the draw of starting weights and batches leaves in each gap of means over starts.

    gaps: (n_starts, n_markets) each, a start of a candidate minus the same start of the base. A candidate alone has few
    starts, so its variance between them counts only where it is above what is usual: the median over candidates, set
    right for the skewness of chi-squared. 0 with a single start, and for the base itself.
    """
    means = {name: gap.mean(axis=1) for name, gap in gaps.items()}
    n_starts = min(len(m) for m in means.values())
    if n_starts < 2:
        return dict.fromkeys(gaps, 0.0)
    own = {name: float(m.var(ddof=1)) for name, m in means.items() if np.any(gaps[name])}
    usual = float(np.median([*own.values()] or [0.0])) * (n_starts - 1) / float(chi2.median(n_starts - 1))
    return {name: math.sqrt(max(usual, own[name]) / n_starts) if name in own else 0.0 for name in gaps}


def _widened(gap: Difference, spread: float) -> Difference:
    """Add 1.96 ``spread`` to either half of the interval, in quadrature."""
    low, high = (math.hypot(end - gap.mean, 1.96 * spread) for end in (gap.low, gap.high))
    return Difference(gap.mean, gap.mean - low, gap.mean + high, gap.n_markets)


def verdict(by_world: Mapping[str, Difference]) -> str:
    """Say ``better`` (beyond the interval in two worlds, worse in none), ``worse`` (the reverse) or ``even``."""
    n_better = sum(gap.high < 0 for gap in by_world.values())
    n_worse = sum(gap.low > 0 for gap in by_world.values())
    if n_better >= 2 and not n_worse:
        return "better"
    return "worse" if n_worse >= 2 and not n_better else "even"
