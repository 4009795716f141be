"""Models of a new market's own rows alone: what is left without any source market."""

from collections.abc import Callable, Mapping
from typing import Any

import lightgbm
import numpy as np
import pandas
from scipy.special import expit
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.few_shot.data import Rows, categorical, numeric
from benchmarks.few_shot.design import Posted, logit
from benchmarks.few_shot.optional import require
from benchmarks.few_shot.pooled import categories_of, typed_features
from benchmarks.few_shot.rehearsal import rehearse, sizes
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets

Logits = Callable[[pandas.DataFrame], FloatArray]
Fit = Callable[[pandas.DataFrame, FloatArray, float], Logits]


class Scratch:
    """Fits anew on each support; how strongly, at each n, is rehearsed on source markets as if they were new.

    A label-selected support: the model of it, its logits corrected for the selection (King & Zeng).
    """

    def __init__(self, name: str, fit: Fit, strengths: tuple[float, ...], n_draws: int | None = None) -> None:
        self.names = (name,)
        self.fit = fit
        self.strengths = strengths
        self.n_draws = n_draws

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        stage = source.stage(source.design.n_supports, n_draws=3)
        tried = np.stack([rehearse(stage, self._with(strength), self.n_draws) for strength in self.strengths])
        n_of_cell = sizes(stage)
        best = {n: int(np.nanmean(tried[:, n_of_cell == n], axis=1).argmin()) for n in np.unique(n_of_cell).tolist()}
        self.strength_at = {n: self.strengths[place] for n, place in best.items()}
        losses = rehearse(source.rehearsals, lambda m, p, q: self._pds(m.rows.features, p, q), self.n_draws)
        chosen = {str(n): strength for n, strength in self.strength_at.items()}
        return {"strength": chosen, "rehearsed": {self.names[0]: losses.tolist()}}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts = accounts
        self._known: tuple[bytes, FloatArray] | None = None

    def pds(self, posted: Posted, query: Positions) -> PDs:
        """The same support under another declared rate is not fitted again."""
        key = posted.support.tobytes() + query.tobytes()
        if self._known is None or self._known[0] != key:
            bare = Posted(posted.support, posted.y)
            self._known = key, _logits(self._pds(self.accounts, bare, query))
        return {self.names[0]: expit(self._known[1] - posted.correction)}

    def _with(self, strength: float) -> Callable[..., FloatArray]:
        return lambda market, posted, query: self._fitted(market.rows.features, posted, query, strength)

    def _pds(self, accounts: pandas.DataFrame, posted: Posted, query: Positions) -> FloatArray:
        nearest = min(self.strength_at, key=lambda n: abs(n - len(posted.y)))
        return self._fitted(accounts, posted, query, self.strength_at[nearest])

    def _fitted(self, accounts: pandas.DataFrame, posted: Posted, query: Positions, strength: float) -> FloatArray:
        y = posted.y
        if not 0 < y.sum() < len(y):
            return np.full(len(query), (y.sum() + 0.5) / (len(y) + 1))  # Jeffreys' rate
        return expit(self.fit(accounts.iloc[posted.support], y, strength)(accounts.iloc[query]))


def _logits(pd: FloatArray) -> FloatArray:
    clipped = np.clip(pd, 1e-15, 1 - 1e-15)
    return np.log(clipped) - np.log1p(-clipped)


def fit_logistic(support: pandas.DataFrame, y: FloatArray, strength: float) -> Logits:
    """Standardised numerics, one-hot categories, L2 by 1 / ``strength``."""
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((scaled, numeric(support)), (one_hot, categorical(support)))
    model = make_pipeline(columns, LogisticRegression(C=strength, max_iter=2000)).fit(support, y)
    return lambda accounts: np.asarray(model.decision_function(accounts))


def fit_trees(support: pandas.DataFrame, y: FloatArray, strength: float) -> Logits:
    """LightGBM: ``strength`` rounds of four leaves."""
    params = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 5, "learning_rate": 0.1, "lambda_l2": 1.0}
    params |= {"num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
    known = categories_of(support)
    model = lightgbm.train(params, lightgbm.Dataset(typed_features(support, known), y), int(strength))
    return lambda accounts: np.asarray(model.predict(typed_features(accounts, known), raw_score=True))


def fit_scorecard(support: pandas.DataFrame, y: FloatArray, strength: float) -> Logits:
    """optbinning's bins of the support alone, L2 by 1 / ``strength``; the rate where no feature can be binned."""
    require("optbinning")
    from benchmarks.few_shot.scorecard import Scorecard

    try:
        return Scorecard(Rows(support, y, np.full(len(y), "new")), strength).logits
    except ValueError:
        return lambda accounts: np.full(len(accounts), logit(float(y.mean())))
