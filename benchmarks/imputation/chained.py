"""Chained boosted trees as an expert would build them: a regressor or a classifier a column, in rounds.

Draws as a practitioner makes them: a category by its probabilities, a number as the prediction plus the residual of a
row with about that prediction. They are made of the last round's predictions, column by column.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray

from meta.imputers import Layout, fit_imputer

FloatArray = NDArray[np.float64]
N_MATCHED = 50  # residuals of so many rows of about the same prediction
TREES: dict[str, Any] = {
    "n_estimators": 150,
    "learning_rate": 0.06,
    "num_leaves": 31,
    "min_child_samples": 20,
    "colsample_bytree": 0.7,
    "reg_lambda": 5.0,
    "subsample": 0.8,
    "subsample_freq": 1,
    "verbose": -1,
    "n_jobs": 1,
}


@dataclass
class ChainedTrees:
    """Fitted models by round and column, and by column the sorted predictions and their residuals."""

    layout: Layout
    start: Callable[[FloatArray], FloatArray]
    rounds: list[dict[int, Any]] = field(default_factory=list)
    matched: dict[int, tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    def expected(self, values: FloatArray) -> FloatArray:
        return self._chain(values)[1]

    def fill(self, values: FloatArray) -> FloatArray:
        return self._chain(values)[0]

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        coded = self.expected(values)
        drawn = np.repeat(values[None], len(uniforms), axis=0)
        starts = np.cumsum([0, *self.layout.widths])
        luck = np.broadcast_to(uniforms, drawn.shape)
        for i, n in enumerate(self.layout.n_categories):
            gaps = np.isnan(values[:, i])
            if n:
                reached = np.cumsum(coded[gaps, starts[i] : starts[i + 1]], axis=1)
                reached /= reached[:, -1:]
                drawn[:, gaps, i] = (luck[:, gaps, i, None] >= reached).sum(axis=2).clip(max=n - 1)
            else:
                drawn[:, gaps, i] = self._with_residuals(coded[gaps, starts[i]], luck[:, gaps, i], i)
        return drawn

    def _with_residuals(self, predictions: FloatArray, luck: FloatArray, column: int) -> FloatArray:
        known, residuals = self.matched[column]
        last = max(0, len(known) - N_MATCHED)
        first = np.clip(np.searchsorted(known, predictions) - N_MATCHED // 2, 0, last)
        chosen = first + (luck * min(N_MATCHED, len(known))).astype(np.int64)
        return predictions + residuals[chosen]

    def _chain(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        filled, coded = self.start(values), self.layout.one_hot(values)
        missing = np.isnan(values)
        starts = np.cumsum([0, *self.layout.widths])
        for models in self.rounds:
            for i, model in models.items():
                gaps = missing[:, i]
                if gaps.any():
                    answer = _predict(model, np.delete(filled[gaps], i, axis=1), self.layout.n_categories[i])
                    coded[gaps, starts[i] : starts[i + 1]] = answer
                    filled[gaps, i] = answer.argmax(axis=1) if self.layout.n_categories[i] else answer[:, 0]
        return filled, coded


def fit_chained(layout: Layout, values: FloatArray, seed: int, n_rounds: int = 3) -> ChainedTrees:
    """Fit on source rows; each round's models see the fills of the columns before."""
    start = fit_imputer("mean", layout, values, seed)
    found = ChainedTrees(layout, start.fill)
    filled = start.fill(values)
    for number in range(n_rounds):
        models: dict[int, Any] = {}
        for i, n_categories in enumerate(layout.n_categories):
            known = ~np.isnan(values[:, i])
            if known.sum() < 20 or len(np.unique(values[known, i])) < 2:
                continue
            others = np.delete(filled, i, axis=1)
            flags = np.delete(np.array(layout.n_categories) > 0, i)
            model = (LGBMClassifier if n_categories else LGBMRegressor)(**TREES, random_state=seed)
            categorical = np.flatnonzero(flags).tolist() or "auto"
            models[i] = model.fit(others[known], values[known, i], categorical_feature=categorical)
            answer = _predict(model, others, n_categories)
            guess = answer.argmax(axis=1) if n_categories else answer[:, 0]
            filled[~known, i] = guess[~known]
            if number == n_rounds - 1 and not n_categories:
                order = np.argsort(answer[known, 0])
                residuals = values[known, i] - answer[known, 0]
                found.matched[i] = answer[known, 0][order], residuals[order]
        found.rounds.append(models)
    return found


def _predict(model: Any, x: FloatArray, n_categories: int) -> FloatArray:
    if not n_categories:
        return np.asarray(model.predict(x))[:, None]
    shares = np.zeros((len(x), n_categories))
    shares[:, model.classes_.astype(np.int64)] = model.predict_proba(x)
    return shares
