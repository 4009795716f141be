"""theta and a market's labelled rows -> theta_prime: level first, then ranking as far as the evidence carries.

1. The level that the rows suggest, given theta's own ranking and the prior over markets.
2. The learner's inner loop with that level as offset: it moves the ranking only.
3. The share of the move that the number of defaults deserves (``meta.strength``).
4. The level again, given the adapted ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from meta.episodes import Design, stack
from meta.errors import InvalidEpisode
from meta.learners import Learner
from meta.learners.map_bayes import EFFECTS
from meta.level import LevelPrior, fit_level, level_at_rate, prior_correction
from meta.pooled import predict_logits
from meta.posterior import Posterior
from meta.strength import shrink
from meta.thetas import Theta, with_level
from meta.threads import one_thread
from meta.types import LabelledRows, Params

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DeclaredRate:
    """A market's declared default rate: value and 90 % range, shares in (0, 1)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MarketRows:
    """One market's labelled rows, encoded.

    Shapes:  x (n_rows, n_features) float32; y (n_rows,), 1.0 = default.
    """

    x: NDArray[np.float32]
    y: FloatArray
    design: Design
    declared: DeclaredRate | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != (len(self.x),):
            raise InvalidEpisode(f"expected x (n_rows, n_features) and y (n_rows,), got {self.x.shape}, {self.y.shape}")
        if self.design == "case_control" and self.declared is None:
            raise InvalidEpisode("a label-selected support needs a declared base rate: its own rate says nothing")

    @property
    def correction(self) -> float:
        """Logit by which these rows overstate risk because of how they were selected."""
        if self.design == "random" or self.declared is None or not len(self.y):
            return 0.0
        return prior_correction(float(self.y.mean()), self.declared.value)

    def without(self, rows: NDArray[np.int64]) -> "MarketRows":
        """Leave rows out; the selection correction stays that of the rows that remain."""
        kept = np.setdiff1d(np.arange(len(self.y)), rows)
        return MarketRows(self.x[kept], self.y[kept], self.design, self.declared)


@dataclass(frozen=True)
class AdaptedMarket:
    """A theta_prime (the learner's tensors and ``level``) and how it came about.

    share: kept share of the learner's move, 0 to 1; level: as served, in logits; prior: what was known of it before;
    ranking (n_rows,): logits of its own rows without level and correction; diverged: the inner loop left the finite
    numbers, so that the ranking was left as theta's.
    """

    theta_prime: Params
    share: float
    level: float
    prior: LevelPrior
    ranking: FloatArray
    diverged: bool = False


@one_thread()
def adapt_markets(
    theta: Theta,
    markets: Sequence[MarketRows],
    *,
    inner_steps: int | None = None,
    minimum_defaults: int = 5,
    shares: Sequence[float] | None = None,
) -> list[AdaptedMarket]:
    """Adapt many markets (or parts of one) in one batch; no result depends on another market's rows.

    One market by itself, which is how the service adapts, has the same bits each time. Several side by side, as in
    trials and cross-fitting, agree with that to a tolerance: batched products may sum in another order.

    Args:    inner_steps: overrides the trained number, 0 leaves the ranking alone; shares: overrides theta's strength.
    """
    learner = theta.learner(inner_steps)
    at_rest = learner.at_rest(theta.params)
    kept = [
        theta.strength.at(market.y.sum(), minimum_defaults) if shares is None else shares[i]
        for i, market in enumerate(markets)
    ]
    if inner_steps == 0:
        kept = [0.0] * len(markets)
    moving = [i for i, share in enumerate(kept) if share > 0 and len(markets[i].y)]
    resting = [market_logits(learner, at_rest, market.x) for market in markets]
    priors = [market_prior(theta.level_prior, market, z) for market, z in zip(markets, resting, strict=True)]
    found = [
        _settle_level(at_rest, logits, market, prior, 0.0)
        for logits, market, prior in zip(resting, markets, priors, strict=True)
    ]
    if moving:
        support = _support([markets[i] for i in moving], [found[i].level for i in moving])
        adapted = shrink(at_rest, learner.adapt(theta.params, support), torch.tensor([kept[i] for i in moving]))
        for place, i in enumerate(moving):
            weights = {name: value[place].contiguous() for name, value in adapted.items()}
            logits = market_logits(learner, weights, markets[i].x)
            if np.isfinite(logits).all():
                prior = market_prior(theta.level_prior, markets[i], logits)
                found[i] = _settle_level(weights, logits, markets[i], prior, kept[i])
            else:
                found[i] = replace(found[i], diverged=True)
    return found


@one_thread()
@torch.no_grad()
def market_logits(learner: Learner, weights: Params, x: NDArray[np.float32]) -> FloatArray:
    """Logits (n_rows,) of network weights without level, in float64."""
    network = {name: value for name, value in weights.items() if name != "level"}
    return learner.predict(network, torch.from_numpy(x)).double().numpy()


def market_prior(prior: LevelPrior, market: MarketRows, ranking: FloatArray) -> LevelPrior:
    """What is known of a market's level without its labels: its declared rate, or else other markets.

    ranking (n_rows,): theta's logits of its rows. A declared rate places the level where the mean PD over accounts
    such as these is that rate.
    """
    if market.declared is None:
        return prior
    declared = market.declared
    given = prior.given_base_rate(declared.value, declared.low, declared.high)
    if not len(market.y) or (market.design == "case_control" and not 0 < market.y.sum() < len(market.y)):
        return given
    return given.seen_accounts(*level_at_rate(ranking, _shares(market), declared.value))


def _shares(market: MarketRows) -> FloatArray:
    """What share of the market's accounts each row stands for, (n_rows,); drawn by label, defaulters stand for few.

    Source:  Manski & Lerman 1977, Econometrica 45(8), for weights of label-selected rows.
    """
    if market.design == "random" or market.declared is None:
        return np.full(len(market.y), 1.0 / len(market.y))
    rate, n_defaults = market.declared.value, market.y.sum()
    found: FloatArray = np.where(market.y == 1.0, rate / n_defaults, (1.0 - rate) / (len(market.y) - n_defaults))
    return found


def _support(markets: Sequence[MarketRows], levels: Sequence[float]) -> LabelledRows:
    offsets = [level + market.correction for market, level in zip(markets, levels, strict=True)]
    return stack([(market.x, market.y) for market in markets], offsets)


def _settle_level(
    weights: Params, ranking: FloatArray, market: MarketRows, prior: LevelPrior, share: float
) -> AdaptedMarket:
    level = prior.level_given(ranking + market.correction, market.y)
    return AdaptedMarket(with_level(weights, level), share, level, prior, ranking)


def posterior_of(theta: Theta, market: MarketRows, adapted: AdaptedMarket) -> Posterior:
    """What remains uncertain about an adapted market, its rows taken into account."""
    network = network_logits(theta, adapted.theta_prime, market.x)
    ranking = adapted.ranking + market.correction
    logits = ranking + adapted.level
    prior = adapted.prior
    if market.declared is None:  # then source markets alone say how far levels are apart
        prior = replace(prior, sd=prior.sd * theta.effects.widening)
    after = Posterior.after_rows(theta.effects, prior.sd, network, market.x, logits)
    if adapted.share < 1.0:
        after = after.kept(adapted.share, prior.sd_given(logits))
    withheld = fit_level(ranking, market.y, adapted.prior.mean, adapted.prior.sd) - adapted.level
    return after.beside(withheld) if adapted.prior.still else after


@one_thread()
@torch.no_grad()
def network_logits(theta: Theta, theta_prime: Params, x: NDArray[np.float32]) -> FloatArray:
    """Logits (n_rows,) of a theta_prime's network alone, before any effect of the market."""
    network = theta.settings.network(theta.encoder.n_features)
    weights = {name: value for name, value in theta_prime.items() if name not in {"level", *EFFECTS}}
    return predict_logits(network, weights, torch.from_numpy(x)).double().numpy()
