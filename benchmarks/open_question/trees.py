"""Boosted trees (LightGBM) on the same rows, alone and with the source markets' rows added."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pandas
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.few_shot.data import Rows
from benchmarks.few_shot.pooled import PooledTrees, categories_of, leave_markets_out, typed_features
from benchmarks.open_question.design import folds_of
from benchmarks.open_question.fitted import Fitted
from meta.level import logit
from meta.metrics import log_loss

FloatArray = NDArray[np.float64]
Shape = tuple[int, int]
SHAPES: tuple[Shape, ...] = ((2, 5), (4, 10), (8, 20), (16, 20), (31, 50))  # leaves, rows in a leaf at least
RATE = 0.05
MAX_ROUNDS, PATIENCE = 1500, 50
WEIGHTS = (1.0, 4.0, 16.0)
OWN = "of the target"


@dataclass(frozen=True)
class Trees:
    """On the sample alone: shape chosen, rounds stopped by the watching rows, then fitted to all rows."""

    def choices(self) -> Sequence[Shape]:
        return SHAPES

    def watch(self, rows: Rows, choice: Shape, seed: int) -> float:
        return float(self._curve(rows, choice, seed).min())

    def _curve(self, rows: Rows, choice: Shape, seed: int) -> FloatArray:
        """Mean over folds after 0, 1, ... rounds: the default rate alone is among the candidates."""
        folds = folds_of(len(rows))
        pairs = zip(folds.train, folds.watched, strict=True)
        curves = [_curve(rows.at(train), rows.at(watched), choice, seed) for train, watched in pairs]
        shortest = min(map(len, curves))
        mean: FloatArray = np.mean([curve[:shortest] for curve in curves], axis=0)
        return mean

    def fit(self, rows: Rows, choice: Shape, seed: int) -> Fitted:
        started = time.process_time()
        n_rounds = int(self._curve(rows, choice, seed).argmin())
        if n_rounds == 0 or not 0 < rows.y.sum() < len(rows):
            rate = logit((float(rows.y.sum()) + 0.5) / (len(rows) + 1))  # Jeffreys' rate
            return Fitted(lambda features: np.full(len(features), rate), time.process_time() - started, 0)
        known = categories_of(rows.features)
        data = lightgbm.Dataset(typed_features(rows.features, known), rows.y)
        model = lightgbm.train(_params(choice, RATE, seed), data, n_rounds)
        seconds = time.process_time() - started
        return Fitted(_scorer(model, known), seconds, n_rounds, n_rounds > MAX_ROUNDS - PATIENCE)


class TreesWithSource:
    """On source rows and the sample, which a flag tells apart: the sample's weight is chosen by its watching rows.

    Shape and rounds are those that predict one fifth of the source markets, left out whole, best: the source has most
    of the rows. Splits on the flag let in the target's own level, and whatever else is its own.
    """

    def __init__(self, source: Rows, seed: int) -> None:
        self.source = source
        train, watched = leave_markets_out(source)[0]
        curves = {shape: _curve(source.at(train), source.at(watched), shape, seed) for shape in SHAPES}
        self.shape = min(curves, key=lambda shape: float(curves[shape].min()))
        self.n_rounds = max(int(curves[self.shape].argmin()), 1)

    def choices(self) -> Sequence[float]:
        return WEIGHTS

    def watch(self, rows: Rows, choice: float, seed: int) -> float:
        folds = folds_of(len(rows))
        losses = []
        for train, watched in zip(folds.train, folds.watched, strict=True):
            score = self._trained(rows.at(train), choice, seed)
            losses.append(log_loss(rows.y[watched], expit(score(rows.features.iloc[watched]))))
        return float(np.mean(losses))

    def fit(self, rows: Rows, choice: float, seed: int) -> Fitted:
        started = time.process_time()
        score = self._trained(rows, choice, seed)
        return Fitted(score, time.process_time() - started, self.n_rounds)

    def _trained(self, rows: Rows, weight: float, seed: int) -> Callable[[pandas.DataFrame], FloatArray]:
        together = self.source.beside(rows)
        own = np.repeat([0.0, 1.0], [len(self.source), len(rows)])
        known = categories_of(together.features)
        typed = typed_features(together.features, known).assign(**{OWN: own})
        data = lightgbm.Dataset(typed, together.y, weight=np.where(own == 1.0, weight, 1.0))
        score = _scorer(lightgbm.train(_params(self.shape, RATE, seed), data, self.n_rounds), known)
        return lambda features: score(features.assign(**{OWN: 1.0}))


def _curve(train: Rows, watched: Rows, shape: Shape, seed: int) -> FloatArray:
    """Log loss of the watching rows after 0, 1, ... rounds; the first is that of the default rate alone."""
    rate = (float(train.y.sum()) + 0.5) / (len(train) + 1)
    first = log_loss(watched.y, np.full(len(watched), rate))
    if not 0 < train.y.sum() < len(train):
        return np.array([first])
    known = categories_of(train.features)
    params = _params(shape, RATE, seed)
    data = lightgbm.Dataset(typed_features(train.features, known), train.y, params=params)
    unseen = lightgbm.Dataset(typed_features(watched.features, known), watched.y, reference=data)
    found: dict[str, Any] = {}
    watch = [lightgbm.record_evaluation(found), lightgbm.early_stopping(PATIENCE, verbose=False)]
    lightgbm.train(params, data, MAX_ROUNDS, valid_sets=[unseen], callbacks=watch)
    return np.array([first, *found["valid_0"]["binary_logloss"]])


def _params(shape: Shape, rate: float, seed: int) -> dict[str, Any]:
    leaves, least = shape
    own = {"num_leaves": leaves, "min_data_in_leaf": least, "learning_rate": rate, "seed": seed}
    return PooledTrees.FIXED | own


def _scorer(model: lightgbm.Booster, known: dict[str, list[str]]) -> Callable[[pandas.DataFrame], FloatArray]:
    return lambda features: np.asarray(model.predict(typed_features(features, known), raw_score=True))
