"""How much a few rows must say before a market's level moves: learned on held-out source markets, to harm few.

A normal prior makes the level best on average, and a market whose level is theta's own pays for that: the luck of
twenty rows moves it. ``LevelPrior.still`` asks for evidence first. What it costs on average is little where it harms
few, and no caution at all is among the candidates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meta.level import LevelPrior, fit_level
from meta.metrics import log_loss
from meta.strength import harmless

FloatArray = NDArray[np.float64]
STILL = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # prior probabilities that a market has no level of its own
SIZES = (5, 10, 20, 50, 100, 200)  # accounts drawn at random
N_DRAWS = 20
MAX_MARKETS = 60  # the largest
MIN_JUDGED, MAX_JUDGED = 100, 1000  # a market's other rows; fewer tell more of their own luck than of harm


def learn_still(markets: Sequence[tuple[FloatArray, FloatArray]], prior: LevelPrior, seed: int) -> LevelPrior:
    """Choose ``still`` on source markets' (logits, y), the logits made without each market's own rows.

    The best mean over markets and SIZES wins among the candidates that harm few markets at every one of SIZES. Markets
    too small to be judged leave the prior as it is.
    """
    largest = sorted(markets, key=lambda market: -len(market[1]))[:MAX_MARKETS]
    gains = [found for size in SIZES if len(found := _gains_of_markets(largest, size, prior, seed))]
    if not gains:
        return prior
    able = np.all(harmless(gains), axis=0)
    return replace(prior, still=STILL[int(np.where(able, np.concatenate(gains).mean(axis=0), -np.inf).argmax())])


def _gains_of_markets(
    markets: Sequence[tuple[FloatArray, FloatArray]], size: int, prior: LevelPrior, seed: int
) -> FloatArray:
    """Mean gain over draws of every market that is large enough, (n_markets, n_candidates)."""
    found = [
        np.mean(list(_gains(logits, y, size, prior, [seed, 78, place])), axis=0)
        for place, (logits, y) in enumerate(markets)
        if len(y) >= size + MIN_JUDGED
    ]
    return np.array(found)


def _gains(
    logits: FloatArray, y: FloatArray, size: int, prior: LevelPrior, seed: Sequence[int]
) -> Iterator[FloatArray]:
    """Per draw of a support: gain on theta at rest, judged on other rows, of each of STILL; (n_candidates,)."""
    for draw in range(N_DRAWS):
        order = np.random.default_rng([*seed, size, draw]).permutation(len(y))
        support, judged = order[:size], order[size : size + MAX_JUDGED]
        mode = fit_level(logits[support], y[support], prior.mean, prior.sd)
        moved = [
            replace(prior, still=still).moving_given(logits[support], y[support], mode) * (mode - prior.mean)
            for still in STILL
        ]
        losses = [log_loss(y[judged], _pd(logits[judged] + prior.mean + by)) for by in (0.0, *moved)]
        yield losses[0] - np.array(losses[1:])


def _pd(logits: FloatArray) -> FloatArray:
    pd: FloatArray = 1.0 / (1.0 + np.exp(-logits))
    return pd
