"""A teacher for the pooled network: boosted trees whose PDs of rows they have not seen soften the labels.

A row's label is one draw; a good teacher's PD says what it was a draw of. Averaged with the label it takes noise out of
the network's lessons without taking the label's word away.

Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531, for soft targets; the teacher's PDs are out of fold, since its PDs
of rows that it was fitted on repeat their labels. Deviations: probabilities are mixed, with no temperature.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

from meta.features import Encoder

FloatArray = NDArray[np.float64]
N_FOLDS = 5
MAX_CATEGORIES = 250  # the trees take no more; rarer ones count as missing


def softened_labels(
    encoder: Encoder, x: NDArray[np.float32], y: FloatArray, market: NDArray[np.str_], share: float, seed: int
) -> FloatArray:
    """Mix labels y (n_rows,) with the teacher's PDs of them: ``share`` of the teacher, 1 - ``share`` of the label.

    Markets are left out whole, so that the teacher cannot know a row's market either.
    """
    n_folds = min(N_FOLDS, len(np.unique(market)))
    if share == 0.0 or n_folds < 2:
        return y
    columns, categorical = columns_of(encoder, x)
    directions = declared_directions(encoder)
    softened = y.copy()
    for train, unseen in GroupKFold(n_folds).split(columns, groups=market):
        if 0 < y[train].sum() < len(train):
            teacher = fit_trees(columns[train], y[train], categorical, seed, directions)
            softened[unseen] += share * (teacher.predict_proba(columns[unseen])[:, 1] - y[unseen])
    return softened


def fit_trees(
    columns: FloatArray,
    y: FloatArray,
    categorical: NDArray[np.bool_],
    seed: int,
    directions: NDArray[np.int64] | None = None,
) -> HistGradientBoostingClassifier:
    """Small trees and many of them; settings as a credit team would start from, the same for every portfolio.

    directions (n_columns,): 1 or -1 where risk is declared to rise or fall with the value, else 0.
    """
    model = HistGradientBoostingClassifier(
        max_leaf_nodes=8,
        learning_rate=0.05,
        max_iter=200,
        min_samples_leaf=int(np.clip(len(y) // 200, 20, 100)),
        l2_regularization=5.0,
        max_features=0.7,
        categorical_features=categorical,
        monotonic_cst=directions,
        early_stopping=False,
        random_state=seed,
    )
    empty = np.isnan(columns).all(axis=0)  # the trees refuse a numeric column without a single value
    return model.fit(np.where(empty, 0.0, columns), y)


def declared_directions(encoder: Encoder) -> NDArray[np.int64]:
    """Of risk, by numbers of columns: 1 rises, -1 falls with the value, 0 not declared (n_columns,)."""
    by_name = {c.name: {"increases": 1, "decreases": -1}.get(c.direction or "", 0) for c in encoder.columns}
    numeric = {c.name for c in encoder.columns if c.kind == "numeric"}
    return np.array([by_name[name] if name in numeric else 0 for name in encoder.column_names])


def columns_of(encoder: Encoder, x: NDArray[np.float32]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Undo the encoding as far as trees care: (n_rows, n_columns), NaN = missing, and which columns are categorical.

    A numeric column becomes the sum of its bins, which grows with the value from the lowest edge to the highest; a
    categorical one the number of its category.
    """
    kind, owner = encoder.kind_of_slot, encoder.column_of_slot
    n_numeric, n_columns = len(encoder.center), int(owner.max()) + 1
    found = np.empty((len(x), n_columns))
    for column in range(n_columns):
        slots = np.flatnonzero(owner == column)
        if column < n_numeric:
            found[:, column] = x[:, slots[kind[slots] == "bin"]].sum(axis=1, dtype=np.float64)
            found[x[:, slots[-1]] > 0, column] = np.nan
        else:
            code = x[:, slots].argmax(axis=1).astype(np.float64)
            code[(x[:, slots[-1]] > 0) | (code >= MAX_CATEGORIES)] = np.nan  # missing, be it filled or not
            found[:, column] = code
    return found, np.arange(n_columns) >= n_numeric
