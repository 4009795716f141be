"""What every method of the comparison is given and what it answers."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows, unit_of
from benchmarks.few_shot.design import Design, Posted, Setting
from benchmarks.few_shot.level import InterceptPrior, likelihoods, prior_of
from benchmarks.few_shot.optional import require
from benchmarks.few_shot.pooled import PooledLogistic, PooledTrees
from benchmarks.few_shot.rehearsal import RehearsedMarket, rehearsed_markets

if TYPE_CHECKING:
    from benchmarks.few_shot.boosted import PooledCatBoost
    from benchmarks.few_shot.scorecard import PooledScorecard

FloatArray = NDArray[np.float64]
Positions = NDArray[np.int64]
PDs = Mapping[str, FloatArray]


class SourceMarkets:
    """All that a rival may know before it meets a market; what several rivals need is fitted once a split."""

    def __init__(self, rows: Rows, design: Design) -> None:
        self.rows = rows
        self.design = design
        self.shared: dict[str, Any] = {}  # what several rivals start from, under names of their own

    @cached_property
    def trees(self) -> PooledTrees:
        return PooledTrees(self.rows, self.design.seed)

    @cached_property
    def catboost(self) -> "PooledCatBoost":
        require("catboost")
        from benchmarks.few_shot.boosted import PooledCatBoost

        return PooledCatBoost(self.rows, self.design.seed)

    @cached_property
    def logistic(self) -> PooledLogistic:
        return PooledLogistic(self.rows)

    @cached_property
    def scorecard(self) -> "PooledScorecard":
        require("optbinning")
        from benchmarks.few_shot.scorecard import PooledScorecard

        return PooledScorecard(self.rows)

    @cached_property
    def rehearsals(self) -> list[RehearsedMarket]:
        """The stage that all rivals share; what is reported of it says which of them was best on source markets."""
        return self.stage(self.design.rehearsed_supports, n_draws=2)

    def stage(self, n_supports: Sequence[int], n_draws: int) -> list[RehearsedMarket]:
        return rehearsed_markets(self.rows, self.design, n_supports, n_draws)

    def level_priors(self, unseen_logits: FloatArray) -> tuple[InterceptPrior, dict[str, InterceptPrior]]:
        """The prior learned on all markets, and for each rehearsed market (by name) the one that has not seen it.

        unseen_logits (n_rows,): of models that have not seen the row's market.
        """
        curves = likelihoods(unseen_logits, self.rows.y, self.rows.market)

        def without(unit: str | None) -> InterceptPrior:
            return prior_of(np.stack([curve for name, curve in curves.items() if unit_of(name) != unit]))

        return without(None), {market.name: without(unit_of(market.name)) for market in self.rehearsals}


class Rival(Protocol):
    """Learns from source markets once a split, then meets one held-out market after another.

    Labels come only with a support: what a method could cheat with, it is not given. ``n_draws`` bounds the draws a
    market of a method too slow for all of them, which is then spared the wrong declared rates too; None: no bound.
    A method that states a range of a market's mean PD has ``mean_pd_ranges`` (see ``run``).
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def n_draws(self) -> int | None: ...

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        """Learn; answer what was chosen on the source markets, for the record.

        "rehearsed": log losses by name on ``source.rehearsals``, as ``rehearse`` gives them; whose are absent cannot be
        the rival that was best on the source markets. Raises Skipped.
        """
        ...

    def meet(self, accounts: pandas.DataFrame) -> None:
        """Take the features of all accounts of one market."""
        ...

    def pds(self, posted: Posted, query: Positions) -> PDs:
        """Answer the PDs (n_query,) under each of ``names``; positions are of the market met last."""
        ...


def is_run_on(rival: Rival, setting: Setting) -> bool:
    """Slow rivals are spared the settings that declare a wrong rate."""
    return rival.n_draws is None or setting.rate_factor in (0.0, 1.0)
