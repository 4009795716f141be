"""Logistic regression under a hierarchical prior: a market's coefficients lie around those of the source markets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
from scipy.special import expit

from benchmarks.few_shot.design import Posted
from benchmarks.few_shot.level import InterceptPrior, MarketLevel
from benchmarks.few_shot.rehearsal import RehearsedMarket, rehearse
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets


class HierarchicalLogistic:
    """The pooled logistic regression, its coefficients moved by the market's rows as far as the prior lets them.

    beta_market ~ Normal(beta_pooled, tau^2 I) on the same bins, intercept ~ Normal(mean, sd) as learned by the level
    prior; posterior mode. tau is rehearsed. A declared rate gives the intercept its prior (see ``MarketLevel``).
    """

    names = ("Logistic, hierarchical prior",)
    n_draws = None
    TAUS = (0.0, 0.05, 0.1, 0.2, 0.4)

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.model = source.logistic
        self.prior, priors = source.level_priors(self.model.unseen_logits)
        tried = np.stack([rehearse(source.rehearsals, self._with(tau, priors)) for tau in self.TAUS])
        best = int(tried.mean(axis=1).argmin())
        self.tau = self.TAUS[best]
        return {"tau": self.tau, "rehearsed": {self.names[0]: tried[best].tolist()}}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.level = MarketLevel(self.prior, self.model.logits(accounts))
        self.flags = self.model.flags(accounts)

    def pds(self, posted: Posted, query: Positions) -> PDs:
        return {self.names[0]: self._pds(self.level, self.flags, posted, query, self.tau)}

    def _with(self, tau: float, priors: Mapping[str, InterceptPrior]) -> Any:
        """Score rehearsed markets: the pooled part is of models that have not seen them, the bins saw no label."""
        known: dict[str, FloatArray] = {}

        def score(market: RehearsedMarket, posted: Posted, query: Positions) -> FloatArray:
            if market.name not in known:
                known[market.name] = self.model.flags(market.rows.features)
            level = MarketLevel(priors[market.name], self.model.unseen_logits[market.inside])
            return self._pds(level, known[market.name], posted, query, tau)

        return score

    @staticmethod
    def _pds(level: MarketLevel, flags: FloatArray, posted: Posted, query: Positions, tau: float) -> FloatArray:
        prior = level.prior_given(posted)
        x, x_query = flags[posted.support], flags[query]
        offset = level.logits[posted.support] + prior.mean + posted.correction
        pull = mode_of_moves(tau**2 * (x @ x.T) + prior.sd**2, offset, posted.y)
        moved = (tau**2 * (x_query @ x.T) + prior.sd**2) @ pull
        return expit(level.logits[query] + prior.mean + moved)


def mode_of_moves(kernel: FloatArray, offset: FloatArray, y: FloatArray) -> FloatArray:
    """Residuals ``y - pd`` (n_rows,) at the posterior mode of logits = offset + f, f ~ Normal(0, kernel).

    A linear model with normal coefficients is a Gaussian process with kernel X V X'; at its mode f = kernel @ (y - pd),
    and rows unseen move by their own kernel with these rows times the same residuals.
    Source:  Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, Algorithm 3.1.
    """
    f = np.zeros(len(y))
    for _ in range(50):
        pd = expit(offset + f)
        root = np.sqrt(pd * (1 - pd))
        b = root**2 * f + y - pd
        inner = np.linalg.solve(np.eye(len(y)) + root[:, None] * kernel * root, root * (kernel @ b))
        new = kernel @ (b - root * inner)
        done = float(np.abs(new - f).max(initial=0.0)) < 1e-8
        f = new
        if done:
            break
    return y - expit(offset + f)
