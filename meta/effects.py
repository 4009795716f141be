"""How markets differ in ranking: random effects around theta, their spread learned on source markets.

A market's logit is theta's plus a level, plus ``scale`` times theta's own logit, plus one slope for each of a few
encoded features (a mixed model with theta as its fixed part). Effects are Normal(0, sd^2); the sds say how much
evidence a market must bring before its ranking moves, and they are what a posterior starts from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from meta.episodes import Market
from meta.features import Encoder
from meta.level import LevelPrior

FloatArray = NDArray[np.float64]
MAX_SLOPES = 200
MAX_MARKETS = 150  # the largest: spreads are known well enough from so many, and the time grows with them
MAX_ROWS = 20_000  # of one market
MIN_SHARE = 0.005  # a state that fewer source rows are in has no slope of its own
# A single function is not right about markets that differ, however many there are: the more they differ, the more it is
# off. So much of the variance of their effects joins what thetas of different source markets are apart by. Measured
# where the truth is known (benchmarks/trust, seed 7): theta's error beyond the latter, as a share of the former, is
# 0.17 at a spread of coefficients of 0.1, 0.10 at 0.25 and 0.12 at 0.4; intervals ask for a little more at the last.
MISFIT = 0.2
SD_RANGE = (0.003, 1.5)  # logits a unit of the encoded feature
FIRST_SD = 0.1
PRIOR_MARKETS = 10.0  # a column's own spread counts against its group's as if the group were so many markets more
N_ROUNDS = 3
STRETCH_RANGE = (0.7, 1.4)
MAX_LEAP = 2.0  # logits that one Newton step may move a row


@dataclass(frozen=True)
class EffectsPrior:
    """Spread of a market's effects, as deviations from theta.

    Shapes:  slots (n_slopes,): which encoded features have a slope; center (n_slopes,): their mean over source rows;
             slope_sd (n_slopes,), scale_sd: standard deviations over markets; logit_center: mean logit of source
             rows; theta_sd: how exactly theta itself is known, in logits: see MISFIT; n_markets: how many source
             markets the spreads were learned from, 0 where that was not kept.
    """

    slots: NDArray[np.int64]
    center: FloatArray
    slope_sd: FloatArray
    scale_sd: float
    logit_center: float
    theta_sd: float = 0.0
    n_markets: int = 0

    @classmethod
    def uninformed(cls, encoder: Encoder, x: NDArray[np.float32]) -> "EffectsPrior":
        """Choose the features that have slopes, by the source rows x (n_rows, n_features); spreads are a first guess.

        Piecewise-linear bins have none: a dozen defaults do not bend a curve.
        """
        means = x.mean(axis=0, dtype=np.float64)
        spread = x.std(axis=0, dtype=np.float64)
        flags = encoder.kind_of_slot != "scaled"
        able = (encoder.kind_of_slot != "bin") & (spread > 0)
        able &= ~flags | ((means >= MIN_SHARE) & (means <= 1 - MIN_SHARE))
        slots = np.flatnonzero(able)
        if len(slots) > MAX_SLOPES:
            slots = np.sort(slots[np.argsort(-spread[slots], kind="stable")[:MAX_SLOPES]])
        return cls(slots, means[slots], np.full(len(slots), FIRST_SD), FIRST_SD, 0.0)

    @property
    def sds(self) -> FloatArray:
        """Scale's and then the slopes' standard deviations, (1 + n_slopes,)."""
        return np.concatenate([[self.scale_sd], self.slope_sd])

    @property
    def widening(self) -> float:
        """How much wider than a spread over source markets a new market's is, for a few markets tell it roughly.

        Source:  the predictive variance after n normal draws is (1 + 1/n) (n - 1) / (n - 3) times theirs: about
                 1 + 3/n (Student's t).
        """
        return math.sqrt(1.0 + 3.0 / self.n_markets) if self.n_markets else 1.0

    @property
    def likely_sds(self) -> FloatArray:
        """What a new market's effects may be: ``sds``, widened."""
        return self.sds * self.widening

    def directions(self, logits: FloatArray, x: NDArray[np.float32]) -> FloatArray:
        """What one unit of each effect adds to a row's logit: (n_rows, 1 + n_slopes), the scale first."""
        slopes = x[:, self.slots] - self.center
        found: FloatArray = np.concatenate([(logits - self.logit_center)[:, None], slopes], axis=1)
        return found


@dataclass(frozen=True)
class _Evidence:
    """Markets' log likelihoods as quadratics: curvature (n_markets, k, k), pull (n_markets, k), level first."""

    curvature: FloatArray
    pull: FloatArray


def learn_effects_prior(
    prior: EffectsPrior, encoder: Encoder, markets: Sequence[Market], level: LevelPrior, jackknife_sd: float
) -> EffectsPrior:
    """Learn the spreads from source markets whose logits were made without their own rows: empirical Bayes.

    The marginal likelihood (effects integrated out, Laplace) is maximised over one sd for the scale, one for all
    numeric slopes, one for all absence flags and one a categorical column; numeric slopes then get sds of their own,
    shrunken towards the common one. jackknife_sd: how far thetas of different source markets are apart on one row.
    Source:  Tierney & Kadane 1986 (Laplace); Dempster, Laird & Rubin 1977, section 4.5 (variance components by EM).
    """
    markets = [_thinned(m) for m in sorted(markets, key=lambda m: -len(m.y))[:MAX_MARKETS]]
    rows = np.concatenate([m.logits for m in markets])
    prior = replace(prior, logit_center=float(rows.mean()), n_markets=len(markets))
    group, mean = _groups(prior, encoder), np.zeros(len(prior.slots) + 2)
    mean[0] = level.mean
    sds = np.concatenate([[level.sd], prior.sds])
    effects = np.tile(mean, (len(markets), 1))
    for _ in range(N_ROUNDS):
        evidence = _gather(prior, markets, effects, sds, mean)
        sds = _best_common(evidence, sds, mean, group)
    sds = _own_spreads(evidence, sds, mean, encoder.kind_of_slot[prior.slots] == "scaled")
    learned = replace(prior, slope_sd=sds[2:], scale_sd=float(sds[1]))
    variance = float(np.mean([_variance_of_effects(learned, market) for market in markets]))
    return replace(learned, theta_sd=math.sqrt(jackknife_sd**2 + MISFIT * variance))


def _variance_of_effects(prior: EffectsPrior, market: Market) -> float:
    """How far markets' effects move its rows' logits apart from one another, on average, squared."""
    along = prior.directions(market.logits, market.x) * prior.sds
    return float(along.var(axis=0).sum())


def _thinned(market: Market) -> Market:
    """At most MAX_ROWS rows of a market, evenly from its whole length."""
    if len(market.y) <= MAX_ROWS:
        return market
    kept = np.linspace(0, len(market.y) - 1, MAX_ROWS).astype(np.int64)
    return Market(market.name, market.x[kept], market.y[kept], market.logits[kept])


def _groups(prior: EffectsPrior, encoder: Encoder) -> NDArray[np.int64]:
    """Number the effects that share an sd, (2 + n_slopes,); -1: the level, whose sd is known already."""
    kinds, owner = encoder.kind_of_slot[prior.slots], encoder.column_of_slot[prior.slots]
    names = [
        {"scaled": "numeric", "absent": "absent"}.get(str(kind), f"column {column}")
        for kind, column in zip(kinds, owner, strict=True)
    ]
    order = list(dict.fromkeys(["scale", *names]))
    return np.array([-1, 0, *(order.index(name) for name in names)])


def _gather(
    prior: EffectsPrior, markets: Sequence[Market], effects: FloatArray, sds: FloatArray, mean: FloatArray
) -> _Evidence:
    """Expand each market's log likelihood around its most probable ``effects``, which are updated in place."""
    k = len(sds)
    curvature, pull = np.empty((len(markets), k, k)), np.empty((len(markets), k))
    for i, market in enumerate(markets):
        along = prior.directions(market.logits, market.x)
        along = np.concatenate([np.ones((len(along), 1)), along], axis=1)
        effects[i] = most_probable_effects(along, market.y, market.logits, mean, sds, start=effects[i])
        pd = 1.0 / (1.0 + np.exp(-(market.logits + along @ effects[i])))
        curvature[i] = (along.T * (pd * (1.0 - pd))) @ along
        pull[i] = curvature[i] @ effects[i] + along.T @ (market.y - pd)
    return _Evidence(curvature, pull)


def common_slope(markets: Sequence[Market], level: LevelPrior) -> float:
    """By how much theta's logits of markets that it has not seen should be stretched; 1 where it is calibrated.

    The maximum-likelihood slope of a logistic regression on the logits, each market with a level of its own.
    Source:  Cox 1958, Biometrika 45(3/4), for the calibration slope.
    """
    rows = np.concatenate([m.logits for m in markets])
    y = np.concatenate([m.y for m in markets])
    owner = np.repeat(np.arange(len(markets)), [len(m.y) for m in markets])
    stretch, levels = 1.0, np.full(len(markets), level.mean)
    centred = rows - rows.mean()
    for _ in range(20):
        pd = 1.0 / (1.0 + np.exp(-(rows.mean() + stretch * centred + levels[owner])))
        weight = pd * (1.0 - pd)
        per_market = np.bincount(owner, weight) + level.sd**-2
        levels += (np.bincount(owner, y - pd) - (levels - level.mean) * level.sd**-2) / per_market
        stretch += float(((y - pd) * centred).sum() / (weight * centred**2).sum())
    return float(np.clip(stretch, *STRETCH_RANGE))


def most_probable_effects(
    along: FloatArray,
    y: FloatArray,
    offset: FloatArray,
    mean: FloatArray,
    sds: FloatArray,
    start: FloatArray | None = None,
    n_steps: int = 6,
) -> FloatArray:
    """Find the posterior mode of effects under Normal(mean, sds^2), by Newton's method with bounded steps.

    Shapes:  along (n_rows, k); y, offset (n_rows,); mean, sds (k,), an effect with sd 0 stays at its mean.
    """
    effects = mean.copy() if start is None else start.copy()
    white = along * sds  # in units of the prior: well conditioned however small an sd
    scaled = np.divide(effects - mean, sds, out=np.zeros_like(sds), where=sds > 0)
    base = offset + along @ mean
    for _ in range(n_steps):
        pd = 1.0 / (1.0 + np.exp(-(base + white @ scaled)))
        slope = white.T @ (y - pd) - scaled
        curvature = (white.T * (pd * (1.0 - pd))) @ white + np.eye(len(sds))
        step = np.linalg.solve(curvature, slope)
        leap = float(np.abs(white @ step).max(initial=0.0))
        scaled = scaled + step * min(1.0, MAX_LEAP / max(leap, 1e-12))
    found: FloatArray = mean + sds * scaled
    return found


def _best_common(evidence: _Evidence, sds: FloatArray, mean: FloatArray, group: NDArray[np.int64]) -> FloatArray:
    """Maximise the marginal likelihood over one log sd a group; the level's stays as it is."""
    n_groups = int(group.max()) + 1
    free = group >= 0

    def unlikeliness(log_sd: FloatArray) -> tuple[float, FloatArray]:
        tried = np.where(free, np.exp(log_sd[np.maximum(group, 0)]), sds)
        value, by_effect = _marginal(evidence, tried, mean)
        slope = np.zeros(n_groups)
        np.add.at(slope, group[free], by_effect[free])
        return value, slope

    start = np.array([math.log(float(np.median(sds[group == g]))) for g in range(n_groups)])
    low, high = (math.log(bound) for bound in SD_RANGE)
    found = minimize(unlikeliness, start, jac=True, method="L-BFGS-B", bounds=[(low, high)] * n_groups).x
    chosen: FloatArray = np.where(free, np.exp(found[np.maximum(group, 0)]), sds)
    return chosen


def _marginal(evidence: _Evidence, sds: FloatArray, mean: FloatArray) -> tuple[float, FloatArray]:
    """Minus the log marginal likelihood of all markets (up to a constant), and its slope by each log sd (k,)."""
    centred = evidence.pull - evidence.curvature @ mean
    white = evidence.curvature * sds[:, None] * sds[None, :] + np.eye(len(sds))
    pulled = centred * sds
    inverse = np.linalg.inv(white)
    solved = np.einsum("mij,mj->mi", inverse, pulled)
    value = -0.5 * float((pulled * solved).sum()) + 0.5 * float(np.linalg.slogdet(white)[1].sum())
    # d/d log sd: 1 - E[(effect / sd)^2], summed over markets
    second = solved**2 + np.einsum("mii->mi", inverse)
    slope: FloatArray = (1.0 - second).sum(axis=0)
    return value, slope


def _own_spreads(evidence: _Evidence, sds: FloatArray, mean: FloatArray, free: NDArray[np.bool_]) -> FloatArray:
    """Give numeric slopes sds of their own by EM, each shrunken to the common one by PRIOR_MARKETS."""
    common, n_markets = sds.copy(), len(evidence.pull)
    free = np.concatenate([[False, False], free])
    centred = evidence.pull - evidence.curvature @ mean
    for _ in range(40):
        white = evidence.curvature * sds[:, None] * sds[None, :] + np.eye(len(sds))
        inverse = np.linalg.inv(white)
        solved = np.einsum("mij,mj->mi", inverse, centred * sds)
        second = sds**2 * (solved**2 + np.einsum("mii->mi", inverse)).sum(axis=0)
        own = np.sqrt((PRIOR_MARKETS * common**2 + second) / (PRIOR_MARKETS + n_markets))
        sds = np.where(free, own, sds)
    return sds


def jackknife_spread(logits: Sequence[NDArray[np.float64]]) -> float:
    """How exactly a theta of all markets is known: how far those of all but one fold each are apart on a row.

    In logits, their levels aside.
    Source:  Efron & Stein 1981, Annals of Statistics 9(3).
    """
    every = np.stack(logits)
    every = every - every.mean(axis=1, keepdims=True)
    n_folds = len(every)
    return float(np.sqrt(every.var(axis=0, ddof=1).mean() * (n_folds - 1) ** 2 / n_folds))
