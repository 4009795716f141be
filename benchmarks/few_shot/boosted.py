"""CatBoost on the source markets, tuned by leaving markets out: the other boosted trees that a good team tries."""

import logging
from typing import Any, ClassVar

import numpy as np
import pandas
from catboost import CatBoostClassifier, Pool
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows, categorical, with_gaps_named
from benchmarks.few_shot.pooled import leave_markets_out

logging.getLogger("catboost").setLevel(logging.ERROR)
FloatArray = NDArray[np.float64]


class PooledCatBoost:
    """CatBoost with its ordered target statistics of categories and its own treatment of gaps; depth, rounds tuned."""

    MAX_ROUNDS = 400
    PATIENCE = 30
    DEPTHS = (4, 6)
    FIXED: ClassVar[dict[str, Any]] = {
        "learning_rate": 0.1,
        "l2_leaf_reg": 5.0,
        "thread_count": 1,
        "verbose": False,
        "allow_writing_files": False,
    }

    def __init__(self, source: Rows, seed: int) -> None:
        self.fixed = self.FIXED | {"random_seed": seed}
        folds = [
            (pool_of(source.at(train)), pool_of(source.at(test)), test) for train, test in leave_markets_out(source)
        ]
        tried = [self._try(depth, folds, len(source)) for depth in self.DEPTHS]
        loss, depth, n_rounds, self.unseen_logits = min(tried, key=lambda trial: trial[0])
        self.chosen = {"depth": depth, "rounds": n_rounds, "log_loss": loss}
        self.model = CatBoostClassifier(**self.fixed, depth=depth, iterations=n_rounds).fit(pool_of(source))

    def logits(self, features: pandas.DataFrame) -> FloatArray:
        return _logits(self.model, Pool(with_gaps_named(features), cat_features=categorical(features)))

    def _try(
        self, depth: int, folds: list[tuple[Pool, Pool, NDArray[np.int64]]], n_rows: int
    ) -> tuple[float, int, int, FloatArray]:
        """Log loss, depth, rounds and logits (n_rows,) of the markets left out, the best rounds for all folds."""
        models, curves = [], []
        for train, unseen, _ in folds:
            model = CatBoostClassifier(**self.fixed, depth=depth, iterations=self.MAX_ROUNDS)
            model.fit(train, eval_set=unseen, early_stopping_rounds=self.PATIENCE, use_best_model=False)
            models.append(model)
            curves.append(np.array(model.evals_result_["validation"]["Logloss"]) * unseen.num_row())
        total = np.sum([curve[: min(map(len, curves))] for curve in curves], axis=0) / n_rows
        n_rounds = int(total.argmin()) + 1
        logits = np.empty(n_rows)
        for model, (_, unseen, place) in zip(models, folds, strict=True):
            logits[place] = _logits(model, unseen, n_rounds)
        return float(total.min()), depth, n_rounds, logits


def _logits(model: CatBoostClassifier, pool: Pool, n_rounds: int = 0) -> FloatArray:
    """Raw scores (n_rows,) of the first ``n_rounds`` rounds; 0: of all."""
    return np.asarray(model.predict(pool, prediction_type="RawFormulaVal", ntree_end=n_rounds, thread_count=1))


def pool_of(rows: Rows) -> Pool:
    return Pool(with_gaps_named(rows.features), rows.y, cat_features=categorical(rows.features))
