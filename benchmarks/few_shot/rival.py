"""What every method of the comparison is given and what it answers."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows
from benchmarks.few_shot.design import Design
from benchmarks.few_shot.pooled import PooledLogistic, PooledTrees

FloatArray = NDArray[np.float64]
Positions = NDArray[np.int64]
PDs = Mapping[str, FloatArray]


class SourceMarkets:
    """All that a rival may know before it meets a market; what several rivals need is fitted once a split."""

    def __init__(self, rows: Rows, design: Design) -> None:
        self.rows = rows
        self.design = design

    @cached_property
    def trees(self) -> PooledTrees:
        return PooledTrees(self.rows, self.design.seed)

    @cached_property
    def logistic(self) -> PooledLogistic:
        return PooledLogistic(self.rows)

    def largest(self, n_markets: int) -> list[str]:
        """Names of the largest markets, on which a rival may rehearse."""
        names, counts = np.unique(self.rows.market, return_counts=True)
        largest: list[str] = names[np.argsort(-counts, kind="stable")[:n_markets]].tolist()
        return largest


class Rival(Protocol):
    """Learns from source markets once a split, then meets one held-out market after another.

    Labels come only with a support: what a method could cheat with, it is not given. ``n_draws`` bounds the draws a
    market of a method too slow for all of them; None: no bound.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def n_draws(self) -> int | None: ...

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        """Learn; answer what was chosen on the source markets, for the record."""
        ...

    def meet(self, accounts: pandas.DataFrame) -> None:
        """Take the features of all accounts of one market."""
        ...

    def pds(self, support: Positions, y: FloatArray, query: Positions) -> PDs:
        """Answer the PDs (n_query,) under each of ``names``, given the labels ``y`` (n_support,) of the support.

        ``support`` and ``query`` are positions among the accounts of the market met last.
        """
        ...
