"""Which markets are held out and which of their accounts are drawn as support; the same for every method."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows, unit_of

RANDOM: Final = "random"
CASE_CONTROL: Final = "case_control"
GOODS_A_DEFAULTER = 4
FloatArray = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Design:
    """Settings of the experiment.

    n_supports: accounts drawn at random, no base rate declared. n_defaults: defaulters drawn with four goods each, the
    market's own default rate times each of ``rate_factors`` declared. A market is held out if ``min_query`` accounts
    are left beside the largest random support: every market then appears at every n, and means over n are of the same
    markets. It takes part in a label-selected cell if it has the defaulters, so those have a count each.
    """

    seed: int = 0
    n_splits: int = 3
    n_supports: tuple[int, ...] = (5, 10, 20, 50, 100, 200)
    n_defaults: tuple[int, ...] = (5, 12, 25, 50)
    rate_factors: tuple[float, ...] = (1.0, 0.75, 1.33)
    n_draws: int = 20
    min_query: int = 100
    max_query: int = 1000
    min_markets: int = 8
    n_rehearsed: int = 8
    rehearsed_supports: tuple[int, ...] = (20, 50, 100)

    @property
    def min_rows(self) -> int:
        return max(self.n_supports) + self.min_query


@dataclass(frozen=True)
class Setting:
    """One row of the experiment: ``size`` is n_support, or n_defaults with four goods each at a declared rate.

    rate_factor: what the market's own default rate is multiplied by before it is declared; 0.0: nothing is declared.
    """

    design: str
    size: int
    rate_factor: float = 0.0

    @property
    def n_support(self) -> int:
        return self.size if self.design == RANDOM else self.size * (1 + GOODS_A_DEFAULTER)


@dataclass(frozen=True)
class Posted:
    """What a market posts: positions and labels ``y`` (n_support,) of its support, and the rate that it declares.

    A rate is declared with label-selected supports only, so ``base_rate`` also tells the design; None: at random.
    """

    support: Positions
    y: FloatArray
    base_rate: float | None = None

    @property
    def correction(self) -> float:
        """Logit by which the support overstates risk; King & Zeng 2001, Eq. 7."""
        share = float(self.y.mean())
        if self.base_rate is None or not 0 < share < 1:
            return 0.0
        return logit(share) - logit(self.base_rate)

    @property
    def weights(self) -> FloatArray:
        """Weights (n_support,), mean 1, under which the support's default rate is the declared; King & Zeng, Eq. 9."""
        share = float(self.y.mean())
        if self.base_rate is None or not 0 < share < 1:
            return np.ones(len(self.y))
        return np.where(self.y == 1, self.base_rate / share, (1 - self.base_rate) / (1 - share))


@dataclass(frozen=True)
class Draw:
    """One draw in one market: ``query`` is judged in every cell of the draw, supports come from ``pool``.

    cells: the settings that the market has the rows for, with what is posted in each; positions are the market's.
    """

    market: str
    number: int
    query: Positions
    pool: Positions
    cells: tuple[tuple[Setting, Posted], ...]


class TooFewMarkets(Exception):
    """The data have fewer markets with enough accounts than a fair mean over markets needs."""


def logit(rate: float) -> float:
    return float(np.log(rate) - np.log1p(-rate))


def held_out_markets(rows: Rows, design: Design) -> list[list[str]]:
    """Deal the large markets into ``n_splits`` groups, each held out once; those of one unit (state) go together.

    Raises:  TooFewMarkets.
    """
    names, counts = np.unique(rows.market, return_counts=True)
    large = [str(name) for name in names[counts >= design.min_rows]]
    if len(large) < design.min_markets:
        raise TooFewMarkets(
            f"{len(large)} markets have {design.min_rows} accounts or more; at least {design.min_markets} are needed"
        )
    order = np.random.default_rng(design.seed).permutation(sorted({unit_of(name) for name in large}))
    dealt = [set(order[split :: design.n_splits].tolist()) for split in range(design.n_splits)]
    return [[name for name in large if unit_of(name) in units] for units in dealt]


def source_of(rows: Rows, held_out: Sequence[str]) -> Rows:
    """Rows of all units none of whose markets is held out: small eras of a held-out state are no source either."""
    return rows.at(~np.isin(rows.unit, sorted({unit_of(name) for name in held_out})))


def query_share(n_defaulters: int, n_goods: int, design: Design) -> float:
    """Share of the market's accounts that is judged: half, or less where the supports need the others.

    As many sizes of label-selected supports as possible are left room for, while ``min_query`` accounts are judged.
    """
    n_rows = n_defaulters + n_goods
    most = min(0.5, 1 - max(design.n_supports) / n_rows)
    for size in sorted(design.n_defaults, reverse=True):
        room = min(1 - size / max(n_defaulters, 1), 1 - GOODS_A_DEFAULTER * size / max(n_goods, 1))
        if min(most, room) * n_rows >= design.min_query:
            return min(most, room)
    return most


def make_draws(market: str, y: FloatArray, design: Design, n_draws: int) -> Iterator[Draw]:
    """Draw query and supports; within a draw the larger supports contain the smaller ones of their design.

    The query is drawn first and has the market's own default rate, so that it is the same and unbiased in every cell.
    """
    share = query_share(int(y.sum()), int(len(y) - y.sum()), design)
    for number in range(n_draws):
        rng = np.random.default_rng([design.seed, zlib.crc32(market.encode()), number])
        bad, good = rng.permutation(np.flatnonzero(y == 1)), rng.permutation(np.flatnonzero(y == 0))
        n_bad, n_good = int(share * len(bad)), int(share * len(good))
        pool_bad, pool_good = bad[n_bad:], good[n_good:]
        pool = rng.permutation(np.concatenate([pool_bad, pool_good]))
        kept = min(1.0, design.max_query / (n_bad + n_good))
        query = np.concatenate([bad[: round(kept * n_bad)], good[: round(kept * n_good)]])
        cells = (*_random_cells(y, pool, design), *_selected_cells(y, pool_bad, pool_good, design))
        yield Draw(market, number, np.sort(query), pool, cells)


def _random_cells(y: FloatArray, pool: Positions, design: Design) -> Iterator[tuple[Setting, Posted]]:
    for n in design.n_supports:
        if len(pool) >= n:
            yield Setting(RANDOM, n), Posted(pool[:n], y[pool[:n]])


def _selected_cells(y: FloatArray, bad: Positions, good: Positions, design: Design) -> Iterator[tuple[Setting, Posted]]:
    for size in design.n_defaults:
        if len(bad) >= size and len(good) >= GOODS_A_DEFAULTER * size:
            support = np.concatenate([bad[:size], good[: GOODS_A_DEFAULTER * size]])
            for factor in design.rate_factors:
                declared = min(float(y.mean()) * factor, 0.9)
                yield Setting(CASE_CONTROL, size, factor), Posted(support, y[support], declared)
