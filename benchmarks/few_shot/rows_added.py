"""Pooled trees trained again with the market's own rows: some, as a rival; all but the judged, as the ceiling."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
from scipy.special import expit

from benchmarks.few_shot.data import Rows
from benchmarks.few_shot.design import Posted
from benchmarks.few_shot.level import MarketLevel
from benchmarks.few_shot.rehearsal import RehearsedMarket, rehearse
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets
from meta.metrics import log_loss


class TreesWithRowsAdded:
    """Pooled LightGBM trained again with the market's rows added, their weight chosen on source markets.

    Label-selected rows are weighted to the declared rate (King & Zeng). The level comes from the pooled model, which
    has not seen the rows: on its own training rows no model is honest.
    """

    names = ("LightGBM + rows + level",)
    n_draws = 3
    WEIGHTS = (1.0, 5.0, 20.0)

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.weigh(source)
        losses = rehearse(source.rehearsals, lambda m, p, q: self._rehearsed(m, p, q, self.weight), n_draws=1)
        return {"weight": self.weight, "rehearsed": {self.names[0]: losses.tolist()}}

    def weigh(self, source: SourceMarkets) -> None:
        """Choose the weight, once a split."""
        self.trees, self.rows = source.trees, source.rows
        self.prior, self.rehearsed_priors = source.level_priors(self.trees.unseen_logits)
        if "weight of rows" not in source.shared:
            tried = np.mean([self._tried(m) for m in source.rehearsals], axis=0)
            source.shared["weight of rows"] = self.WEIGHTS[int(tried.argmin())]
        self.weight: float = source.shared["weight of rows"]

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts = accounts
        self.level = MarketLevel(self.prior, self.trees.logits(accounts))

    def pds(self, posted: Posted, query: Positions) -> PDs:
        logits = self._logits(self.rows, self.accounts, posted, query, self.weight)
        return {self.names[0]: expit(logits + self.level.given(posted))}

    def _tried(self, market: RehearsedMarket) -> list[float]:
        """Log loss per weight, the largest of the first draw's supports posted."""
        draw = market.draws[0]
        _, posted = draw.cells[-1]
        pds = [self._rehearsed(market, posted, draw.query, weight) for weight in self.WEIGHTS]
        return [log_loss(market.rows.y[draw.query], pd) for pd in pds]

    def _rehearsed(self, market: RehearsedMarket, posted: Posted, query: Positions, weight: float) -> FloatArray:
        level = MarketLevel(self.rehearsed_priors[market.name], self.trees.unseen_logits[market.inside])
        others = self.rows.at(~market.unit)
        return expit(self._logits(others, market.rows.features, posted, query, weight) + level.given(posted))

    def _logits(
        self, pooled: Rows, accounts: pandas.DataFrame, posted: Posted, query: Positions, weight: float
    ) -> FloatArray:
        own = Rows(accounts.iloc[posted.support], posted.y, np.full(len(posted.y), "new"))
        weights = np.concatenate([np.ones(len(pooled)), weight * posted.weights])
        return self.trees.score(self.trees.train(pooled.beside(own), weights), accounts.iloc[query])


class Ceiling:
    """What all rows of the market that are not judged would give: LightGBM with them, and a level from all of them.

    The one method that is given labels beyond the support: ``pool`` is handed to it by ``run``. No bound in the strict
    sense, but what a mature market of this size would be served by.
    """

    names = ("Ceiling: LightGBM + all rows",)
    n_draws = 2

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.rival = TreesWithRowsAdded()
        self.rival.weigh(source)
        return {"weight": self.rival.weight}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.rival.meet(accounts)

    def know(self, pool: Posted, query: Positions) -> None:
        """Take all of the market's labels but those of the query."""
        self.known = self.rival.pds(pool, query)[self.rival.names[0]]

    def pds(self, posted: Posted, query: Positions) -> PDs:
        return {self.names[0]: self.known}
