"""Which markets are held out and which of their accounts are drawn as support; the same for every method."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows


@dataclass(frozen=True)
class Design:
    """Settings of the experiment.

    A market is held out if it has ``min_query`` accounts left after the largest support: every market then appears at
    every n, and means at different n are of the same markets.
    """

    seed: int = 0
    n_splits: int = 3
    n_supports: tuple[int, ...] = (10, 20, 50, 100, 200)
    n_draws: int = 20
    min_query: int = 200
    min_markets: int = 8

    @property
    def min_rows(self) -> int:
        return max(self.n_supports) + self.min_query


@dataclass(frozen=True)
class Cell:
    """One support drawn in one market; positions are those of the market's rows."""

    market: str
    n_support: int
    draw: int
    support: NDArray[np.int64]
    query: NDArray[np.int64]


class TooFewMarkets(Exception):
    """The data have fewer markets with enough accounts than a fair mean over markets needs."""


def held_out_markets(rows: Rows, design: Design) -> list[list[str]]:
    """Deal the large markets into ``n_splits`` groups, each held out once; small ones always stay sources.

    Raises:  TooFewMarkets.
    """
    names, counts = np.unique(rows.market, return_counts=True)
    large = names[counts >= design.min_rows]
    if len(large) < design.min_markets:
        raise TooFewMarkets(
            f"{len(large)} markets have {design.min_rows} accounts or more; at least {design.min_markets} are needed"
        )
    order = np.random.default_rng(design.seed).permutation(large)
    return [sorted(order[split :: design.n_splits].tolist()) for split in range(design.n_splits)]


def draw_cells(market: str, n_rows: int, design: Design, n_draws: int) -> Iterator[Cell]:
    """Draw supports at random; within a draw the larger supports contain the smaller ones."""
    for draw in range(n_draws):
        order = np.random.default_rng([design.seed, zlib.crc32(market.encode()), draw]).permutation(n_rows)
        for n_support in design.n_supports:
            yield Cell(market, n_support, draw, order[:n_support], np.sort(order[n_support:]))
