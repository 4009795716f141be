"""The level of a market: one number added to every logit, apart from how accounts are ranked.

All learners share it. A label-selected support says nothing about the level, so its logits are first corrected for
the selection; a random support updates a prior that was learned on the source markets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

FloatArray = NDArray[np.float64]
GRID = np.linspace(-3.0, 3.0, 301)  # candidate levels, in logits; beyond a factor of 20 in odds no prior is learned
SD_RANGE = (0.05, 2.0)
MIN_DECLARED_SD = 0.1  # a declared rate is never taken for more exact than that, however alike the source markets are


def logit(share: float) -> float:
    return math.log(share) - math.log1p(-share)


def prior_correction(support_rate: float, base_rate: float) -> float:
    """Logit by which a label-selected support overstates risk; 0 for a support of one class, which has no odds.

    Source:  King & Zeng 2001, Political Analysis 9(2), Eq. 7.

    >>> round(prior_correction(0.5, 0.1), 4)
    2.1972
    """
    if not 0.0 < support_rate < 1.0:
        return 0.0
    return logit(support_rate) - logit(base_rate)


@dataclass(frozen=True)
class LevelPrior:
    """What source markets say of a new market's level: Normal(mean, sd), in logits.

    ``base_rate`` is the source markets' default rate. Where a market's own rate is declared, its level is expected as
    far from theta's as the two rates are apart (in logits), give or take declared_sd: its accounts may be riskier than
    others, so that the ranking explains part of the rate.

    still: prior probability that the market has no level of its own but the mean. A level that is best on average moves
    markets that are where theta has them by the luck of a few rows; it now moves as far as the rows say that it must
    (spike and slab, Mitchell & Beauchamp 1988, JASA 83(404)). Learned to harm few markets (``meta.caution``), so it is
    caution and no belief: intervals rest on the normal prior alone. A declared rate needs none.
    """

    mean: float = 0.0
    sd: float = 0.3
    base_rate: float = 0.1
    declared_sd: float = 0.15
    still: float = 0.0

    def level_given(self, logits: FloatArray, y: FloatArray) -> float:
        """Level to serve a market with, given its rows (n_rows,); no rows give ``mean``."""
        mode = fit_level(logits, y, self.mean, self.sd)
        return self.mean + self.moving_given(logits, y, mode) * (mode - self.mean)

    def moving_given(self, logits: FloatArray, y: FloatArray, mode: float) -> float:
        """Probability that the market has a level of its own, by Laplace's approximation at the ``mode``."""
        if self.still in (0.0, 1.0):
            return 1.0 - self.still
        pd = 1.0 / (1.0 + np.exp(-(logits + mode)))
        shrinkage = 1.0 + self.sd**2 * float((pd * (1.0 - pd)).sum())
        ratio = _log_likelihood(logits + mode, y) - _log_likelihood(logits + self.mean, y)
        ratio -= 0.5 * ((mode - self.mean) / self.sd) ** 2 + 0.5 * math.log(shrinkage)
        return 1.0 / (1.0 + math.exp(min(logit(self.still) - ratio, 700.0)))

    def sd_given(self, logits: FloatArray) -> float:
        """Posterior standard deviation of the level after rows at their fitted ``logits`` (n_rows,), ranking known."""
        pd = 1.0 / (1.0 + np.exp(-logits))
        return float((self.sd**-2 + (pd * (1.0 - pd)).sum()) ** -0.5)

    def given_base_rate(self, value: float, low: float | None = None, high: float | None = None) -> "LevelPrior":
        """Centre the prior on a declared default rate; its range, taken as 90 %, widens it."""
        shift = logit(value) - logit(self.base_rate)
        spread = (logit(high) - logit(low)) / (2 * 1.645) if low is not None and high is not None else 0.0
        return replace(self, mean=shift, sd=math.hypot(self.declared_sd, spread), still=0.0)

    def seen_accounts(self, level: float, error: float) -> "LevelPrior":
        """Weigh a prior given a base rate with the ``level`` at which accounts of the market have that rate.

        error: standard error of that level, in logits. How uncertain the rate itself is, both share.
        """
        own, shared = self.declared_sd**2, max(self.sd**2 - self.declared_sd**2, 0.0)
        weight = own / (own + error**2)
        mean = self.mean + weight * (level - self.mean)
        return replace(self, mean=mean, sd=math.sqrt((1.0 - weight) * own + shared))


def fit_level(logits: FloatArray, y: FloatArray, mean: float, sd: float) -> float:
    """Find the most probable level of one market: logistic likelihood, Normal(mean, sd) prior, by Newton's method.

    Shapes:  logits, y (n_rows,); no rows give ``mean``. The objective is strictly concave: the answer is unique.
    """
    level, precision = mean, 1.0 / sd**2
    for _ in range(50):
        pd = 1.0 / (1.0 + np.exp(-(logits + level)))
        slope = float((y - pd).sum()) - (level - mean) * precision
        curvature = float((pd * (1.0 - pd)).sum()) + precision
        step = max(-1.0, min(1.0, slope / curvature))
        level += step
        if abs(step) < 1e-10:
            break
    return level


def level_at_rate(logits: FloatArray, shares: FloatArray, rate: float) -> tuple[float, float]:
    """Find the level at which the mean PD is ``rate``, and its standard error: how far it hangs on these very rows.

    Shapes:  logits (n_rows,); shares (n_rows,), the weight of each row in the mean, summing to 1.
    """
    level = logit(rate) - logit(float(np.clip((shares / (1.0 + np.exp(-logits))).sum(), 1e-6, 1 - 1e-6)))
    for _ in range(50):
        pd = 1.0 / (1.0 + np.exp(-(logits + level)))
        step = (rate - float((shares * pd).sum())) / max(float((shares * pd * (1.0 - pd)).sum()), 1e-12)
        level += max(-1.0, min(1.0, step))
        if abs(step) < 1e-10:
            break
    slope = float((shares * pd * (1.0 - pd)).sum())
    return level, math.sqrt(float((shares**2 * (pd - rate) ** 2).sum())) / max(slope, 1e-12)


def learn_level_prior(markets: Sequence[tuple[FloatArray, FloatArray]]) -> LevelPrior:
    """Learn the prior from source markets' (logits, y), the logits made without each market's own rows.

    Empirical Bayes: mean and sd maximise the marginal likelihood, each market's level integrated out on a grid; the
    same for levels around what the market's own default rate would predict.
    """
    every_y = np.concatenate([y for _, y in markets])
    base_rate = float(np.clip(every_y.mean(), 1e-4, 1 - 1e-4))
    curves = np.stack([_log_likelihoods(logits, y) for logits, y in markets])
    mean, sd = _fit_normal(curves, np.zeros(len(markets)), fixed_mean=None)
    shifts = np.array([logit(_smoothed_rate(y, base_rate)) - logit(base_rate) for _, y in markets])
    _, declared_sd = _fit_normal(curves, shifts, fixed_mean=0.0)
    return LevelPrior(mean, sd, base_rate, max(declared_sd, MIN_DECLARED_SD))


def _smoothed_rate(y: FloatArray, base_rate: float) -> float:
    return (float(y.sum()) + base_rate) / (len(y) + 1.0)


def _log_likelihood(logits: FloatArray, y: FloatArray) -> float:
    return float((y * logits - np.logaddexp(0.0, logits)).sum())


def _log_likelihoods(logits: FloatArray, y: FloatArray) -> FloatArray:
    """Log likelihood of one market at every level of the grid, relative to its best."""
    moved = logits[:, None] + GRID[None, :]
    curve: FloatArray = (y[:, None] * moved - np.logaddexp(0.0, moved)).sum(axis=0)
    curve -= curve.max()
    return curve


def _fit_normal(curves: FloatArray, centers: FloatArray, fixed_mean: float | None) -> tuple[float, float]:
    """Maximise the marginal likelihood of level - center ~ Normal(mean, sd); a fixed mean leaves sd alone free.

    Shapes:  curves (n_markets, n_grid): log likelihoods; centers (n_markets,).
    """
    likelihoods, distance = np.exp(curves), GRID[None, :] - centers[:, None]

    def unlikeliness(at: FloatArray) -> float:
        mean, sd = (at[0] if fixed_mean is None else fixed_mean), math.exp(at[-1])
        density = np.exp(-0.5 * ((distance - mean) / sd) ** 2) / sd
        # a spread below the grid's resolution or beyond its ends is no spread that markets could show
        outside = max(0.0, math.log(SD_RANGE[0] / sd), math.log(sd / SD_RANGE[1]))
        return outside - float(np.log((likelihoods * density).sum(axis=1) + 1e-300).sum())

    start = np.array([math.log(0.2)] if fixed_mean is not None else [0.0, math.log(0.2)])
    found = minimize(unlikeliness, start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-4}).x
    sd = min(max(math.exp(found[-1]), SD_RANGE[0]), SD_RANGE[1])
    return (float(found[0]) if fixed_mean is None else fixed_mean), sd
