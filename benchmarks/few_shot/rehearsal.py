"""Source markets taken for new: on these, each rival is tuned, and the rivals are compared before any market is met."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows, unit_of
from benchmarks.few_shot.design import RANDOM, Design, Draw, Posted, make_draws
from meta.metrics import log_loss

FloatArray = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class RehearsedMarket:
    """A source market that plays the new one; draws are of its own ``rows``.

    Shapes:  inside (n_source_rows,) marks its rows among the source's; unit: those that a model for it may not see.
    """

    name: str
    inside: NDArray[np.bool_]
    unit: NDArray[np.bool_]
    rows: Rows
    draws: tuple[Draw, ...]


Score = Callable[[RehearsedMarket, Posted, Positions], FloatArray]


def rehearsed_markets(source: Rows, design: Design, n_supports: Sequence[int], n_draws: int) -> list[RehearsedMarket]:
    """The largest source markets of different units, posting ``n_supports`` accounts at random."""
    names, counts = np.unique(source.market, return_counts=True)
    largest = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    seen: set[str] = set()
    chosen = [n for n in largest if not (unit_of(n) in seen or seen.add(unit_of(n)))]  # type: ignore[func-returns-value]
    small = replace(design, n_supports=tuple(n_supports), n_defaults=())
    markets = []
    for name in chosen[: design.n_rehearsed]:
        inside = source.market == name
        rows = source.at(inside)
        if len(rows) >= small.min_rows:
            draws = tuple(make_draws(name, rows.y, small, n_draws))
            markets.append(RehearsedMarket(name, inside, source.unit == unit_of(name), rows, draws))
    return markets


def rehearse(markets: Sequence[RehearsedMarket], score: Score, n_draws: int | None = None) -> FloatArray:
    """Log losses (n_cells,) in the order of (market, draw, n); NaN beyond the ``n_draws`` that a slow rival is run on.

    score: PDs of the query of one cell, by a model that has not seen the market.
    """
    losses = []
    for market in markets:
        for draw in market.draws:
            for _, posted in draw.cells:
                skipped = n_draws is not None and draw.number >= n_draws
                y = market.rows.y[draw.query]
                losses.append(np.nan if skipped else log_loss(y, score(market, posted, draw.query)))
    return np.array(losses)


def sizes(markets: Sequence[RehearsedMarket]) -> NDArray[np.int64]:
    """n_support of each cell (n_cells,), in the order of ``rehearse``."""
    cells = [setting for market in markets for draw in market.draws for setting, _ in draw.cells]
    assert all(setting.design == RANDOM for setting in cells)
    return np.array([setting.size for setting in cells], dtype=np.int64)
