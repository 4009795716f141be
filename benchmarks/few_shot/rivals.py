"""The methods of the comparison. A new one is a class like these and one line in ``make_rivals``."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas
from scipy.special import expit

from benchmarks.few_shot.data import Rows
from benchmarks.few_shot.level import learn_prior
from benchmarks.few_shot.pooled import PooledModel
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, Rival, SourceMarkets
from benchmarks.few_shot.scratch import Scratch, fit_logistic, fit_trees
from benchmarks.few_shot.thetaprime import Thetaprime
from meta.metrics import log_loss

TREES = "LightGBM"
MAIN_RIVAL = "LightGBM + level"


class Pooled:
    """One pooled model, as it is and with the market's intercept under a prior learned on the source markets."""

    n_draws = None

    def __init__(self, name: str, model_of: Callable[[SourceMarkets], PooledModel]) -> None:
        self.names = (name, f"{name} + level")
        self.model_of = model_of

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.model = self.model_of(source)
        self.prior = learn_prior(self.model.unseen_logits, source.rows.y, source.rows.market)
        return self.model.chosen | {"level_mean": self.prior.mean, "level_sd": self.prior.sd}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.logits = self.model.logits(accounts)

    def pds(self, support: Positions, y: FloatArray, query: Positions) -> PDs:
        level = self.prior.mode(self.logits[support], y)
        logits = self.logits[query]
        return dict(zip(self.names, (expit(logits), expit(logits + level)), strict=True))


class TreesWithRowsAdded:
    """Pooled LightGBM trained again with the market's rows added, their weight chosen on source markets.

    The level comes from the pooled model, which has not seen the rows: on its own training rows no model is honest.
    """

    names = ("LightGBM + rows + level",)
    n_draws = 2
    WEIGHTS = (1.0, 5.0, 20.0)

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.trees, self.rows = source.trees, source.rows
        self.prior = learn_prior(self.trees.unseen_logits, self.rows.y, self.rows.market)
        losses = np.mean([self._rehearse(market) for market in source.largest(6)], axis=0)
        self.weight = self.WEIGHTS[int(losses.argmin())]
        return {"weight": self.weight}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts, self.unseen_logits = accounts, self.trees.logits(accounts)

    def pds(self, support: Positions, y: FloatArray, query: Positions) -> PDs:
        posted = Rows(self.accounts.iloc[support], y, np.full(len(y), "new"))
        logits = self._logits(self.rows, posted, self.accounts.iloc[query], self.weight)
        return {self.names[0]: expit(logits + self.prior.mode(self.unseen_logits[support], y))}

    def _rehearse(self, market: str) -> list[float]:
        """Log loss per weight on one source market taken for new, 100 of its rows posted."""
        inside = self.rows.market == market
        own, others, unseen = self.rows.at(inside), self.rows.at(~inside), self.trees.unseen_logits[inside]
        order = np.random.default_rng(len(own)).permutation(len(own))
        support, query = own.at(order[:100]), own.at(order[100:])
        level = self.prior.mode(unseen[order[:100]], support.y)
        logits = [self._logits(others, support, query.features, weight) for weight in self.WEIGHTS]
        return [log_loss(query.y, expit(z + level)) for z in logits]

    def _logits(self, pooled: Rows, support: Rows, query: pandas.DataFrame, weight: float) -> FloatArray:
        weights = np.concatenate([np.ones(len(pooled)), np.full(len(support), weight)])
        return self.trees.score(self.trees.train(pooled.beside(support), weights), query)


def make_rivals() -> dict[str, Rival]:
    """All methods by the name that the command line and the result files know them by."""
    return {
        "thetaprime": Thetaprime(),
        "trees": Pooled(TREES, lambda source: source.trees),
        "logistic": Pooled("Logistic", lambda source: source.logistic),
        "trees_rows": TreesWithRowsAdded(),
        "scratch_logistic": Scratch("Scratch logistic", fit_logistic, (0.001, 0.01, 0.1, 1.0)),
        "scratch_trees": Scratch("Scratch LightGBM", fit_trees, (5, 15, 40, 100)),
    }
