"""What each row of a support did to an adaptation: adapted with it, and again without it."""

from dataclasses import dataclass

import numpy as np

from meta.adaptation import AdaptedMarket, MarketRows, adapt_markets, market_logits
from meta.thetas import Theta

ROWS_AT_ONCE = 64  # adaptations in one batch; bounds memory


@dataclass(frozen=True)
class Influence:
    """The whole adaptation minus the one without a row; level and ranking in logits, loss in nats.

    ranking: root mean square over the support's rows of the logits' move, less the level's; loss: of the row itself.
    """

    level: float
    ranking: float
    loss: float


def leave_one_out(
    theta: Theta, rows: MarketRows, n_own: int, inner_steps: int | None, minimum_defaults: int
) -> list[Influence]:
    """Leave out each of the first ``n_own`` rows in turn (later ones are reference rows, nobody's own).

    Source: case deletion, Cook 1977, Technometrics 19(1), by adapting anew instead of a one-step approximation.
    """
    (whole,) = adapt_markets(theta, [rows], inner_steps=inner_steps, minimum_defaults=minimum_defaults)
    found: list[Influence] = []
    for start in range(0, n_own, ROWS_AT_ONCE):
        left_out = list(range(start, min(start + ROWS_AT_ONCE, n_own)))
        parts = [rows.without(np.array([i])) for i in left_out]
        adapted = adapt_markets(theta, parts, inner_steps=inner_steps, minimum_defaults=minimum_defaults)
        found += [_compare(theta, rows, i, whole, w) for i, w in zip(left_out, adapted, strict=True)]
    return found


def _compare(theta: Theta, rows: MarketRows, i: int, whole: AdaptedMarket, without: AdaptedMarket) -> Influence:
    others = market_logits(theta.learner(), without.theta_prime, rows.x)
    moved = whole.ranking - others
    # one selection correction for both: without the row it is another, which says nothing of the market
    with_it = whole.ranking[i] + whole.level + rows.correction
    without_it = others[i] + without.level + rows.correction
    loss = _loss(with_it, rows.y[i]) - _loss(without_it, rows.y[i])
    ranking = float(np.sqrt(np.mean((moved - moved.mean()) ** 2)))
    return Influence(whole.level - without.level, ranking, loss)


def _loss(logit: float, y: float) -> float:
    return float(np.logaddexp(0.0, logit) - y * logit)
