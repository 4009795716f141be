"""Models of a new market's own rows alone: what is left without any source market."""

from collections.abc import Callable, Mapping
from typing import Any

import lightgbm
import numpy as np
import pandas
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.few_shot.data import categorical, numeric
from benchmarks.few_shot.design import draw_cells
from benchmarks.few_shot.pooled import categories_of, typed_features
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets
from meta.metrics import log_loss

Score = Callable[[pandas.DataFrame], FloatArray]
Fit = Callable[[pandas.DataFrame, FloatArray, float], Score]


class Scratch:
    """Fits anew on each support; how strongly, at each n, is rehearsed on six source markets as if they were new."""

    n_draws = None

    def __init__(self, name: str, fit: Fit, strengths: tuple[float, ...]) -> None:
        self.names = (name,)
        self.fit = fit
        self.strengths = strengths

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        losses = {n: np.zeros(len(self.strengths)) for n in source.design.n_supports}
        for market in source.largest(6):
            own = source.rows.of([market])
            for cell in draw_cells(market, len(own), source.design, n_draws=3):
                support, query = own.at(cell.support), own.at(cell.query[:2000])
                if len(query):
                    losses[cell.n_support] += [
                        log_loss(query.y, self._pds(support.features, support.y, query.features, s))
                        for s in self.strengths
                    ]
        self.strength_at = {n: self.strengths[int(loss.argmin())] for n, loss in losses.items()}
        return {"strength": {str(n): strength for n, strength in self.strength_at.items()}}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts = accounts

    def pds(self, support: Positions, y: FloatArray, query: Positions) -> PDs:
        strength = self.strength_at[len(support)]
        return {self.names[0]: self._pds(self.accounts.iloc[support], y, self.accounts.iloc[query], strength)}

    def _pds(self, support: pandas.DataFrame, y: FloatArray, query: pandas.DataFrame, strength: float) -> FloatArray:
        if not 0 < y.sum() < len(y):
            return np.full(len(query), (y.sum() + 0.5) / (len(y) + 1))  # Jeffreys' rate
        return self.fit(support, y, strength)(query)


def fit_logistic(support: pandas.DataFrame, y: FloatArray, strength: float) -> Score:
    """Standardised numerics, one-hot categories, L2 by 1 / ``strength``."""
    scaled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((scaled, numeric(support)), (one_hot, categorical(support)))
    model = make_pipeline(columns, LogisticRegression(C=strength, max_iter=2000)).fit(support, y)
    return lambda accounts: np.asarray(model.predict_proba(accounts)[:, 1])


def fit_trees(support: pandas.DataFrame, y: FloatArray, strength: float) -> Score:
    """LightGBM: ``strength`` rounds of four leaves."""
    params = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 5, "learning_rate": 0.1, "lambda_l2": 1.0}
    params |= {"num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
    known = categories_of(support)
    model = lightgbm.train(params, lightgbm.Dataset(typed_features(support, known), y), int(strength))
    return lambda accounts: np.asarray(model.predict(typed_features(accounts, known)))
