"""Pooled models of the source markets: tuned by leaving markets out, with logits for markets they have not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import lightgbm
import numpy as np
import pandas
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks.few_shot.data import Rows, categorical, numeric
from meta.metrics import log_loss

FloatArray = NDArray[np.float64]
N_FOLDS = 5


class PooledModel(Protocol):
    """Fitted on all source markets; ``unseen_logits`` (n_rows,) are of source rows, each market left out in turn."""

    unseen_logits: FloatArray
    chosen: dict[str, Any]

    def logits(self, features: pandas.DataFrame) -> FloatArray: ...


def leave_markets_out(source: Rows) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(train, test) positions; each market (or state) is whole on one side, the folds about equally large."""
    return list(GroupKFold(N_FOLDS).split(source.y, groups=source.unit))


class PooledTrees:
    """LightGBM with native categoricals and missing values; leaves, leaf size, step size and rounds tuned."""

    MAX_ROUNDS = 1000
    PATIENCE = 60
    FIXED: ClassVar[dict[str, Any]] = {
        "objective": "binary",
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "feature_fraction": 0.7,
        "feature_pre_filter": False,
        "lambda_l2": 5.0,
        "cat_smooth": 20.0,
        "min_data_per_group": 50,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    SHAPES = tuple({"num_leaves": n, "min_data_in_leaf": size} for n in (4, 8, 16, 31, 63) for size in (50, 200))
    FIRST_RATE = 0.05
    OTHER_RATES = (0.025, 0.1)

    def __init__(self, source: Rows, seed: int) -> None:
        self.categories = categories_of(source.features)
        self.n_rows = len(source)
        self.fixed = self.FIXED | {"seed": seed}
        self.folds = [self._fold(source, train, test) for train, test in leave_markets_out(source)]
        best = min((self._try({**shape, "learning_rate": self.FIRST_RATE}) for shape in self.SHAPES), key=_loss)
        others = [self._try({**best.params, "learning_rate": rate}) for rate in self.OTHER_RATES]
        self.best = min([best, *others], key=_loss)
        self.chosen = {**self.best.params, "rounds": self.best.n_rounds, "log_loss": self.best.loss}
        self.unseen_logits = self.best.unseen_logits
        self.model = self.train(source)

    def logits(self, features: pandas.DataFrame) -> FloatArray:
        return self.score(self.model, features)

    def train(self, rows: Rows, weights: FloatArray | None = None) -> lightgbm.Booster:
        """Train on ``rows`` with the tuned settings."""
        data = lightgbm.Dataset(self._typed(rows.features), rows.y, weight=weights)
        return lightgbm.train(self.fixed | self.best.params, data, self.best.n_rounds)

    def score(self, model: lightgbm.Booster, features: pandas.DataFrame) -> FloatArray:
        """Logits (n_rows,) of a model that ``train`` gave."""
        return np.asarray(model.predict(self._typed(features), raw_score=True))

    def _fold(self, source: Rows, train: NDArray[np.int64], test: NDArray[np.int64]) -> "_Fold":
        typed = self._typed(source.features.iloc[train])
        data = lightgbm.Dataset(typed, source.y[train], params=self.fixed, free_raw_data=False)
        typed = self._typed(source.features.iloc[test])
        return _Fold(data, lightgbm.Dataset(typed, source.y[test], reference=data, free_raw_data=False), typed, test)

    def _try(self, params: dict[str, Any]) -> "_Trial":
        boosters, curves = zip(*(self._watched(params, fold) for fold in self.folds), strict=True)
        shortest = min(len(curve) for curve in curves)
        total = np.sum([curve[:shortest] for curve in curves], axis=0) / self.n_rows
        n_rounds = int(total.argmin()) + 1
        logits = np.empty(self.n_rows)
        for booster, fold in zip(boosters, self.folds, strict=True):
            logits[fold.place] = booster.predict(fold.typed, raw_score=True, num_iteration=n_rounds)
        return _Trial(float(total.min()), params, n_rounds, logits)

    def _watched(self, params: dict[str, Any], fold: "_Fold") -> tuple[lightgbm.Booster, FloatArray]:
        """Train on one fold; with the sum of losses (n_rounds,) of the markets left out."""
        curve: dict[str, Any] = {}
        watch: list[Callable[..., Any]] = [
            lightgbm.record_evaluation(curve),
            lightgbm.early_stopping(self.PATIENCE, verbose=False),
        ]
        booster = lightgbm.train(
            self.fixed | params, fold.train, self.MAX_ROUNDS, valid_sets=[fold.unseen], callbacks=watch
        )
        return booster, np.array(curve["valid_0"]["binary_logloss"]) * len(fold.place)

    def _typed(self, features: pandas.DataFrame) -> pandas.DataFrame:
        return typed_features(features, self.categories)


@dataclass(frozen=True)
class _Fold:
    train: lightgbm.Dataset
    unseen: lightgbm.Dataset
    typed: pandas.DataFrame
    place: NDArray[np.int64]


@dataclass(frozen=True)
class _Trial:
    loss: float
    params: dict[str, Any]
    n_rounds: int
    unseen_logits: FloatArray


def _loss(trial: _Trial) -> float:
    return trial.loss


class PooledLogistic:
    """Logistic regression on ten quantile bins a feature, missing as a bin of its own, as scorecards do; L2 tuned."""

    STRENGTHS = (0.01, 0.03, 0.1, 0.3)

    def __init__(self, source: Rows) -> None:
        folds = leave_markets_out(source)
        tried = []
        for strength in self.STRENGTHS:
            logits = np.empty(len(source))
            for train, test in folds:
                logits[test] = _BinnedLogistic(source.at(train), strength).logits(source.features.iloc[test])
            tried.append((log_loss(source.y, expit(logits)), strength, logits))
        loss, strength, self.unseen_logits = min(tried, key=lambda trial: trial[0])
        self.chosen = {"C": strength, "log_loss": loss}
        self.model = _BinnedLogistic(source, strength)

    def logits(self, features: pandas.DataFrame) -> FloatArray:
        return self.model.logits(features)

    def flags(self, features: pandas.DataFrame) -> FloatArray:
        """One-hot bins (n_rows, n_flags), as the coefficients see them."""
        return self.model.flags(features)


class _BinnedLogistic:
    def __init__(self, source: Rows, strength: float) -> None:
        self.edges = {
            name: np.unique(np.nanquantile(source.features[name], np.arange(1, 10) / 10))
            for name in numeric(source.features)
        }
        one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30)
        self.pipeline: Pipeline = make_pipeline(one_hot, LogisticRegression(C=strength, max_iter=2000))
        self.pipeline.fit(self._binned(source.features), source.y)

    def logits(self, features: pandas.DataFrame) -> FloatArray:
        return np.asarray(self.pipeline.decision_function(self._binned(features)))

    def flags(self, features: pandas.DataFrame) -> FloatArray:
        return np.asarray(self.pipeline[0].transform(self._binned(features)).toarray())

    def _binned(self, features: pandas.DataFrame) -> NDArray[np.str_]:
        columns = [_bin_names(features[name].to_numpy(), edges) for name, edges in self.edges.items()]
        columns += [features[name].fillna("missing").to_numpy(dtype=str) for name in categorical(features)]
        return np.stack(columns, axis=1)


def _bin_names(values: FloatArray, edges: FloatArray) -> NDArray[np.str_]:
    return np.where(np.isnan(values), "missing", np.searchsorted(edges, values).astype(str))


def categories_of(features: pandas.DataFrame) -> dict[str, list[str]]:
    """The categories that a model trained on these rows may know."""
    return {name: sorted(features[name].dropna().unique()) for name in categorical(features)}


def typed_features(features: pandas.DataFrame, categories: dict[str, list[str]]) -> pandas.DataFrame:
    """Features as LightGBM takes them; a category that is not known counts as missing."""
    typed = {name: features[name].where(features[name].isin(known)) for name, known in categories.items()}
    return features.assign(**{name: pandas.Categorical(typed[name], known) for name, known in categories.items()})
