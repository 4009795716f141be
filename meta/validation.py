"""What held-out source markets teach about theta: the spread of levels, the strength of adaptation, the gain to expect.

Every source market is held out once: its fold's theta has never seen it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta.adaptation import DeclaredRate, MarketRows, adapt_markets, market_logits, market_prior
from meta.caution import learn_still
from meta.effects import EffectsPrior, learn_effects_prior
from meta.episodes import Design, EpisodeSampler, Market, draw_support
from meta.expectation import ExpectedGain
from meta.level import LevelPrior, learn_level_prior
from meta.metrics import log_loss
from meta.strength import HARM, SHARES, Strength, learn_strength
from meta.thetas import Theta
from meta.validation_report import effects_report, market_row, over_markets

FloatArray = NDArray[np.float64]
SUPPORTS: tuple[tuple[Design, int], ...] = (
    ("random", 5),
    ("random", 20),
    ("random", 50),
    ("random", 100),
    ("random", 200),
    ("case_control", 5),
    ("case_control", 12),
    ("case_control", 25),
    ("case_control", 50),
)
STRENGTH_AT = (5, 12, 25, 50)
MAX_MARKETS = 40  # the largest
N_DRAWS = 6
MIN_QUERY, MAX_QUERY = 100, 1000  # fewer rows tell more of their own luck than of harm


@dataclass(frozen=True)
class FoldMarkets:
    """A fold's theta and the markets that it has not seen."""

    theta: Theta
    markets: Sequence[Market]


@dataclass(frozen=True)
class Lessons:
    level_prior: LevelPrior
    effects: EffectsPrior
    strength: Strength
    expected: tuple[ExpectedGain, ...]
    stretch: float
    report: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One support drawn from one held-out market.

    at_rest: query log loss of theta; losses (n_shares,): of theta_prime when that share of the move is kept.
    """

    market: str
    support: tuple[Design, int]
    n_support: int
    n_defaults: int
    at_rest: float
    losses: FloatArray


def learn_from_folds(folds: Sequence[FoldMarkets], jackknife_sd: float, stretch: float, seed: int) -> Lessons:
    """Learn priors, strength and expected gains from the folds' held-out markets.

    jackknife_sd: how far thetas of different source markets are apart on one row, in logits; stretch: by how much the
    folds' logits have been multiplied to be calibrated.
    """
    markets = [market for fold in folds for market in fold.markets]
    levels = [(market.logits, market.y) for market in markets]
    prior = learn_still(levels, learn_level_prior(levels), seed)
    effects = learn_effects_prior(folds[0].theta.effects, folds[0].theta.encoder, markets, prior, jackknife_sd)
    informed = [replace(fold, theta=fold.theta.informed_by(prior, effects)) for fold in folds]
    trials = [trial for fold in informed for trial in _run_trials(fold, seed, len(markets))]
    strength = learn_strength(_losses_by_defaults(trials))
    expected = expected_gains(trials, strength)
    rows = [market_row(market) for market in markets]
    report = {
        "level_prior": asdict(prior),
        "stretch": stretch,
        "effects": effects_report(effects, folds[0].theta.encoder),
        "strength": asdict(strength),
        "leave_markets_out": rows,
        "over_markets_left_out": over_markets(rows),
        "expected_gain": [row.report() for row in expected],
    }
    return Lessons(prior, effects, strength, expected, stretch, report)


def _run_trials(fold: FoldMarkets, seed: int, n_markets: int) -> list[Trial]:
    largest = sorted(fold.markets, key=lambda market: -len(market.y))
    markets = largest[: max(1, MAX_MARKETS * len(fold.markets) // n_markets)]
    trials = []
    for number, support in enumerate(SUPPORTS):
        able = [m for m in markets if EpisodeSampler.n_able([m], support, MIN_QUERY)]
        jobs = [(market, draw) for market in able for draw in range(N_DRAWS)]
        for start in range(0, len(jobs), 16):
            rngs = [np.random.default_rng([seed, 77, number, draw, place]) for place, (_, draw) in enumerate(jobs)]
            chunk = [m for m, _ in jobs[start : start + 16]]
            trials += _run_batch(fold.theta, chunk, support, rngs[start : start + 16])
    return trials


def _run_batch(
    theta: Theta,
    markets: Sequence[Market],
    support: tuple[Design, int],
    rngs: Sequence[np.random.Generator],
) -> list[Trial]:
    prior = theta.level_prior
    drawn = [draw_support(m.y, *support, rng) for m, rng in zip(markets, rngs, strict=True)]
    rows = [_as_rows(m, chosen, support[0]) for m, chosen in zip(markets, drawn, strict=True)]
    adapted = adapt_markets(theta, rows, shares=[1.0] * len(rows))
    learner = theta.learner()
    trials = []
    for market, chosen, posted, result, rng in zip(markets, drawn, rows, adapted, rngs, strict=True):
        others = np.setdiff1d(np.arange(len(market.y)), chosen)
        query = rng.choice(others, min(MAX_QUERY, len(others)), replace=False)
        both = np.concatenate([chosen, query])
        moved = market_logits(learner, result.theta_prime, market.x[both])
        losses = []
        for share in SHARES:
            # linear between theta's logits and the adapted ones: what a shrunken network says, to first order
            mixed = market.logits[both] + share * (moved - market.logits[both])
            on_support = mixed[: len(chosen)]
            level = market_prior(prior, posted, on_support).level_given(on_support + posted.correction, posted.y)
            losses.append(log_loss(market.y[query], _pd(mixed[len(chosen) :] + level)))
        at_rest = log_loss(market.y[query], _pd(market.logits[query] + prior.mean))
        n_defaults = int(posted.y.sum())
        trials.append(Trial(market.name, support, len(chosen), n_defaults, at_rest, np.array(losses)))
    return trials


def _as_rows(market: Market, chosen: NDArray[np.int64], design: Design) -> MarketRows:
    rate = float(market.y.mean())
    declared = None if design == "random" else DeclaredRate(rate, rate, rate)
    return MarketRows(market.x[chosen], market.y[chosen], design, declared)


def _losses_by_defaults(trials: Sequence[Trial]) -> dict[int, list[FloatArray]]:
    """Mean losses per market, gathered at the nearest of STRENGTH_AT (by ratio) to its supports' mean defaults.

    Not to a draw's own number: draws with many defaults by luck mislead more than others, and the market that posts
    cannot tell. In a draw with fewer than 5 nothing moves.
    """
    of_support: dict[tuple[str, tuple[Design, int]], list[Trial]] = {}
    for trial in trials:
        of_support.setdefault((trial.market, trial.support), []).append(trial)
    gathered: dict[tuple[int, str], list[FloatArray]] = {}
    for (market, _), draws in of_support.items():
        n_defaults = float(np.mean([trial.n_defaults for trial in draws]))
        if n_defaults >= STRENGTH_AT[0]:
            nearest = min(STRENGTH_AT, key=lambda n: abs(np.log(n / n_defaults)))
            kept = [t.losses if t.n_defaults >= STRENGTH_AT[0] else np.full_like(t.losses, t.losses[0]) for t in draws]
            gathered.setdefault((nearest, market), []).extend(kept)
    found: dict[int, list[FloatArray]] = {}
    for (nearest, _), losses in gathered.items():
        found.setdefault(nearest, []).append(np.mean(losses, axis=0))
    return found


def expected_gains(trials: Sequence[Trial], strength: Strength) -> tuple[ExpectedGain, ...]:
    """Per support: mean gain of theta_prime over theta in log loss, its standard error over markets, share harmed.

    ``trials`` are those that ``strength`` was chosen on, which flatters it a little: the choice is among five shares,
    and folds within folds would multiply the length of a training. The reader is told (``measured_on``).
    """
    rows = []
    for support in SUPPORTS:
        at_size = [trial for trial in trials if trial.support == support]
        by_market: dict[str, list[float]] = {}
        for trial in at_size:
            loss = float(np.interp(strength.at(trial.n_defaults), SHARES, trial.losses))
            by_market.setdefault(trial.market, []).append(trial.at_rest - loss)
        if len(by_market) >= 2:
            gains = np.array([np.mean(values) for values in by_market.values()])
            rows.append(
                ExpectedGain(
                    design=support[0],
                    size=support[1],
                    n_defaults=float(np.mean([trial.n_defaults for trial in at_size])),
                    n_markets=len(gains),
                    mean_gain=float(gains.mean()),
                    standard_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
                    harmed_share=float((gains < -HARM).mean()),
                )
            )
    return tuple(rows)


def _pd(logits: FloatArray) -> FloatArray:
    pd: FloatArray = 1.0 / (1.0 + np.exp(-logits))
    return pd
