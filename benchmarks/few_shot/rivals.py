"""The methods of the comparison. A new one is a class like these and one line in ``make_rivals``."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas
from scipy.special import expit

from benchmarks.few_shot.design import Posted
from benchmarks.few_shot.finetuned import FineTuned
from benchmarks.few_shot.hierarchical import HierarchicalLogistic
from benchmarks.few_shot.level import InterceptPrior, MarketLevel
from benchmarks.few_shot.pooled import PooledModel
from benchmarks.few_shot.rehearsal import RehearsedMarket, rehearse
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, Rival, SourceMarkets
from benchmarks.few_shot.rows_added import Ceiling, TreesWithRowsAdded
from benchmarks.few_shot.scratch import Scratch, fit_logistic, fit_scorecard, fit_trees
from benchmarks.few_shot.tabpfn import TabPfn
from benchmarks.few_shot.thetaprime import OtherLearner, Thetaprime
from meta.learners import REGISTRY

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
        self.prior, priors = source.level_priors(self.model.unseen_logits)
        losses = [rehearse(source.rehearsals, self._with(priors, place)).tolist() for place in range(2)]
        levels = {"level_mean": self.prior.mean, "level_sd": self.prior.sd}
        return self.model.chosen | levels | {"rehearsed": dict(zip(self.names, losses, strict=True))}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.level = MarketLevel(self.prior, self.model.logits(accounts))

    def pds(self, posted: Posted, query: Positions) -> PDs:
        return dict(zip(self.names, _pds(self.level, posted, query), strict=True))

    def _with(self, priors: Mapping[str, InterceptPrior], place: int) -> Callable[..., FloatArray]:
        def score(market: RehearsedMarket, posted: Posted, query: Positions) -> FloatArray:
            level = MarketLevel(priors[market.name], self.model.unseen_logits[market.inside])
            return _pds(level, posted, query)[place]

        return score


def _pds(level: MarketLevel, posted: Posted, query: Positions) -> tuple[FloatArray, FloatArray]:
    logits = level.logits[query]
    return expit(logits), expit(logits + level.given(posted))


def make_rivals() -> dict[str, Rival]:
    """All methods by the name that the command line and the result files know them by."""
    return {
        "thetaprime": Thetaprime(),
        "finetuned": FineTuned(),
        "trees": Pooled(TREES, lambda source: source.trees),
        "trees_rows": TreesWithRowsAdded(),
        "catboost": Pooled("CatBoost", lambda source: source.catboost),
        "logistic": Pooled("Logistic", lambda source: source.logistic),
        "logistic_hierarchical": HierarchicalLogistic(),
        "scratch_logistic": Scratch("Scratch logistic", fit_logistic, (0.001, 0.01, 0.1, 1.0)),
        "scorecard": Pooled("Scorecard", lambda source: source.scorecard),
        "scratch_scorecard": Scratch("Scratch scorecard", fit_scorecard, (0.03, 0.3), n_draws=1),
        "scratch_trees": Scratch("Scratch LightGBM", fit_trees, (5, 15, 40, 100)),
        "tabpfn": TabPfn(),
        "ceiling": Ceiling(),
    }


def make_learners() -> dict[str, Rival]:
    """Each few-shot learner of the registry with a theta of its own; asked for with ``--learners``."""
    return {f"learner_{name}": OtherLearner(name) for name in sorted(REGISTRY)}
