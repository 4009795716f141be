"""Trees and the ridge: what networks are held against. Each answers logits of the asked rows (n_asked,) and rounds."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from meta.distillation import columns_of, fit_trees

if TYPE_CHECKING:
    from benchmarks.backbone.folds import Fold

FloatArray = NDArray[np.float64]
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # C of the ridge
LIGHTGBM: dict[str, Any] = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.05,
    "min_data_in_leaf": 100,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "lambda_l2": 5.0,
    "cat_smooth": 20.0,
    "min_data_per_group": 50,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
MAX_ROUNDS, EVERY = 400, 10


def fit_signed(
    columns: FloatArray, y: FloatArray, categorical: NDArray[np.bool_], monotonic: NDArray[np.int64], seed: int
) -> HistGradientBoostingClassifier:
    """The teacher's trees, each column (n_columns,) kept to its declared direction: 1 up, -1 down, 0 free."""
    model = clone(fit_trees(columns, y, categorical, seed))  # its settings depend on the rows: they are taken over
    empty = np.isnan(columns).all(axis=0)
    return model.set_params(monotonic_cst=monotonic).fit(np.where(empty, 0.0, columns), y)


def histogram_boosting(fold: "Fold", seed: int) -> tuple[FloatArray, int]:
    """The product's teacher as a backbone of its own; at most its 200 rounds, as many as the stopping markets like."""
    columns, categorical = columns_of(fold.encoder, fold.learn.x)
    return _at_best_round(fit_trees(columns, fold.learn.y, categorical, seed), fold)


def signed_boosting(fold: "Fold", seed: int) -> tuple[FloatArray, int]:
    """The same with monotone constraints."""
    columns, categorical = columns_of(fold.encoder, fold.learn.x)
    return _at_best_round(fit_signed(columns, fold.learn.y, categorical, fold.monotonic, seed), fold)


def lightgbm(fold: "Fold", seed: int) -> tuple[FloatArray, int]:
    """LightGBM on the same columns, its rounds chosen likewise from up to MAX_ROUNDS. Raises ImportError."""
    import lightgbm as gbm

    (columns, categorical), (stop, _), (asked, _) = (
        columns_of(fold.encoder, part.x) for part in (fold.learn, fold.stop, fold.asked)
    )
    data = gbm.Dataset(columns, fold.learn.y, categorical_feature=np.flatnonzero(categorical).tolist())
    model = gbm.train(LIGHTGBM | {"seed": seed}, data, MAX_ROUNDS)

    def logits(rows: FloatArray, n_rounds: int) -> FloatArray:
        return np.asarray(model.predict(rows, raw_score=True, num_iteration=n_rounds))

    best = min(range(EVERY, MAX_ROUNDS + 1, EVERY), key=lambda n: fold.stop.loss(logits(stop, n)))
    return logits(asked, best), best


def ridge(fold: "Fold", seed: int) -> tuple[FloatArray, int]:
    """Logistic regression on the encoded inputs, its L2 chosen on the stopping markets: additive, so exact to explain.

    In place of rounds it answers C in thousandths; nothing in it is random.
    """
    tried = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(fold.learn.x, fold.learn.y)
        loss = fold.stop.loss(model.decision_function(fold.stop.x).astype(np.float64))
        tried.append((loss, strength, model))
    _, strength, model = min(tried, key=lambda trial: trial[0])
    return model.decision_function(fold.asked.x).astype(np.float64), round(1000 * strength)


def _at_best_round(model: HistGradientBoostingClassifier, fold: "Fold") -> tuple[FloatArray, int]:
    stop, asked = (_staged(model, columns_of(fold.encoder, part.x)[0]) for part in (fold.stop, fold.asked))
    best = min(stop, key=lambda n: fold.stop.loss(stop[n]))
    return asked[best], best


def _staged(model: HistGradientBoostingClassifier, columns: FloatArray) -> dict[int, FloatArray]:
    """Logits (n_rows,) after every EVERY rounds, by the number of rounds."""
    staged = enumerate(model.staged_decision_function(columns), start=1)
    return {n_rounds: raw.ravel() for n_rounds, raw in staged if n_rounds % EVERY == 0}
