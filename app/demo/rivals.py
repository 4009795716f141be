"""What a bank would do without Thetaprime: pooled boosted trees, and a model of the new market's own few accounts."""

from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from app.domain.schema import FeatureSchema

FloatArray = NDArray[np.float64]
MAX_TREE_CATEGORIES = 250  # the trees take at most 255


def pooled_trees(schema: FeatureSchema, mature: pandas.DataFrame, rows: pandas.DataFrame) -> FloatArray:
    """PDs of ``rows`` by histogram-based boosted trees that learned from all rows of all mature markets."""
    train, test = _with_categories(schema, mature, rows)
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=500,
        max_leaf_nodes=15,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=True,
        categorical_features="from_dtype",
        random_state=0,
    )
    trees.fit(train, mature["defaulted"])
    return _pds(trees, test)


def own_model(schema: FeatureSchema, first: pandas.DataFrame, rows: pandas.DataFrame) -> FloatArray | None:
    """PDs of ``rows`` by a logistic regression on the market's first accounts alone; None: all are of one class."""
    if first["defaulted"].nunique() < 2:
        return None
    numeric = [f.name for f in schema.features if f.kind == "numeric"]
    categorical = [f.name for f in schema.features if f.kind == "categorical"]
    encode = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numeric),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), categorical),
        ]
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=2000))
    model.fit(_with_missing_state(first, categorical), first["defaulted"])
    return _pds(model, _with_missing_state(rows, categorical))


def _pds(model: HistGradientBoostingClassifier | Pipeline, rows: pandas.DataFrame) -> FloatArray:
    pds: FloatArray = model.predict_proba(rows)[:, 1]
    return pds


def _with_missing_state(rows: pandas.DataFrame, categorical: list[str]) -> pandas.DataFrame:
    return rows.assign(**{name: rows[name].astype(object).fillna("(missing)") for name in categorical})


def _with_categories(
    schema: FeatureSchema, mature: pandas.DataFrame, rows: pandas.DataFrame
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Give both tables the categories of the mature rows, the commonest only; others count as missing."""
    kinds: dict[str, Any] = {
        f.name: pandas.CategoricalDtype(mature[f.name].value_counts().index[:MAX_TREE_CATEGORIES])
        for f in schema.features
        if f.kind == "categorical"
    }
    return tuple(  # type: ignore[return-value]  # of two
        pandas.DataFrame({name: _as_kind(table[name], kinds.get(name)) for name in schema.names})
        for table in (mature, rows)
    )


def _as_kind(values: "pandas.Series[Any]", kind: pandas.CategoricalDtype | None) -> "pandas.Series[Any]":
    return values if kind is None else values.where(values.isin(kind.categories)).astype(kind)
