"""A feature schema read off a table: what the columns look like, to be looked over by whoever knows them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pandas

from app.domain.schema import FEATURE_NAME, RESERVED_NAMES, Feature, FeatureSchema
from app.frames import plain_text, require_columns
from app.user_fault import UnusableTable

MAX_FEATURES = 500
MAX_CATEGORIES = 1000
SENSITIVE = re.compile(
    r"(^|[^a-z])(age|birth|disability|education|ethnic(ity)?|gender|health|marital|marriage|nationality|race|religion|sex)"
    r"([^a-z]|$)"
)
"""Names of columns that are sensitive; every other feature is classed as personal, which is the safe side."""


@dataclass(frozen=True)
class InferredSchema:
    """A schema, the frame's columns that it names anew, and those that it leaves out with the reason."""

    schema: FeatureSchema
    renamed: dict[str, str]
    left_out: dict[str, str]

    def features_of(self, frame: pandas.DataFrame) -> pandas.DataFrame:
        """Take a frame's features, by the schema's names: float64 with NaN, or text with None."""
        return feature_frame(frame.rename(columns=self.renamed), self.schema)


def infer_schema(frame: pandas.DataFrame, *, not_features: Iterable[str]) -> InferredSchema:
    """Make a feature of every column that can be one.

    Numbers and true/false are numeric, with minimum 0 where no value is below it; texts are categorical. Left out:
    ``not_features``, dates, columns with a single value, and columns that look like identifiers.
    Raises: UnusableTable: no feature is left, or more than 500.
    """
    skipped = set(not_features)
    candidates = [str(name) for name in frame.columns if name not in skipped]
    left_out = {name: reason for name in candidates if (reason := _reason_to_leave_out(frame[name])) is not None}
    kept = [name for name in candidates if name not in left_out]
    if not 1 <= len(kept) <= MAX_FEATURES:
        raise UnusableTable(f"A product has 1 to {MAX_FEATURES} features; this file offers {len(kept)}.")
    names = _feature_names(kept)
    features = tuple(_feature(names[column], frame[column]) for column in kept)
    renamed = {column: name for column, name in names.items() if name != column}
    return InferredSchema(FeatureSchema(features=features), renamed, left_out)


def feature_frame(frame: pandas.DataFrame, schema: FeatureSchema) -> pandas.DataFrame:
    """Take a schema's features from a frame: numbers as float64 with NaN, categories as text with None.

    Raises: UnusableTable: a column is missing, or a number is none.
    """
    require_columns(frame, schema.names)
    return pandas.DataFrame({feature.name: _values(frame[feature.name], feature.kind) for feature in schema.features})


def _reason_to_leave_out(column: "pandas.Series[Any]") -> str | None:
    n_distinct = column.nunique()
    if n_distinct < 2:
        return "one value only"
    if pandas.api.types.is_datetime64_any_dtype(column):
        return "dates"
    if _is_numeric(column):
        return "looks like a row number" if _is_row_number(column) else None
    if n_distinct > min(MAX_CATEGORIES, len(column) / 2):
        return f"{n_distinct} different texts"
    return None


def _is_row_number(column: "pandas.Series[Any]") -> bool:
    return pandas.api.types.is_integer_dtype(column) and (
        (column.is_monotonic_increasing or column.is_monotonic_decreasing) and column.is_unique
    )


def _is_numeric(column: "pandas.Series[Any]") -> bool:
    return pandas.api.types.is_numeric_dtype(column) or pandas.api.types.is_bool_dtype(column)


def _feature(name: str, column: "pandas.Series[Any]") -> Feature:
    kind: Literal["numeric", "categorical"] = "numeric" if _is_numeric(column) else "categorical"
    values = _values(column, kind)
    return Feature(
        name=name,
        kind=kind,
        minimum=0.0 if kind == "numeric" and values.min() >= 0 else None,
        categories=None if kind == "numeric" else tuple(sorted(values.dropna().unique())),
        personal_data="sensitive" if SENSITIVE.search(name.lower()) else "personal",
    )


def _values(column: "pandas.Series[Any]", kind: Literal["numeric", "categorical"]) -> "pandas.Series[Any]":
    if kind == "categorical":
        texts = [None if pandas.isna(value) else _category(value) for value in column]
        return pandas.Series(texts, index=column.index, dtype=object)
    try:
        values = column.astype("Float64").astype("float64")
    except (TypeError, ValueError) as fault:
        raise UnusableTable(f"The column {column.name} must hold numbers alone.") from fault
    return values.where(values.abs() != float("inf"))


def _category(value: object) -> str | None:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", plain_text(value)).strip()[:200] or None


def _feature_names(columns: Iterable[str]) -> dict[str, str]:
    """Name features after columns, within the rules of names; equal results are numbered."""
    names: dict[str, str] = {}
    for column in columns:
        stem = re.sub(r"[^A-Za-z0-9_.\-]+", "_", column).strip("_")[:58] or "feature"
        if not re.match(FEATURE_NAME, stem) or stem in RESERVED_NAMES:
            stem = f"x_{stem}"
        name, n = stem, 2
        while name in names.values():
            name, n = f"{stem}_{n}", n + 1
        names[column] = name
    return names
