"""Rows against a product's feature schema: every fault by row and rule, no value that could be personal."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.domain.schema import Feature, FeatureSchema
from app.engine.contract import FeatureColumns
from app.errors import Fault, InvalidRows

_UNNAMEABLE = re.compile(r"[^\w.\-]")


def columns_of(schema: FeatureSchema, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into one list per feature, in the schema's order; an absent value is None."""
    return {name: [row.get(name) for row in rows] for name in schema.names}


def rows_of(columns: FeatureColumns, n_rows: int) -> list[dict[str, Any]]:
    """Turn columns into rows."""
    names = list(columns)
    values = zip(*columns.values(), strict=True) if names else [()] * n_rows
    return [dict(zip(names, row, strict=True)) for row in values]


def faults_of_rows(schema: FeatureSchema, rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """List every fault of the rows' features."""
    return unknown_features(schema, rows) + faults_of_columns(schema, columns_of(schema, rows))


def unknown_features(schema: FeatureSchema, rows: Sequence[Mapping[str, Any]]) -> list[Fault]:
    """List what the rows have and the schema does not."""
    known = set(schema.names)
    return [
        Fault(f"features.{nameable(name)}", "is not a feature of this product", row=position)
        for position, row in enumerate(rows)
        for name in sorted(row.keys() - known)
    ]


def faults_of_columns(schema: FeatureSchema, columns: FeatureColumns, *, first_row: int = 0) -> list[Fault]:
    """List every fault of feature columns; ``first_row`` is the number of their first row."""
    return [
        Fault(
            f"features.{feature.name}", rule, row=first_row + row, value=_sayable(feature, columns[feature.name][row])
        )
        for feature in schema.features
        for row, rule in feature.faults_in(columns[feature.name])
    ]


def refuse(faults: Sequence[Fault]) -> None:
    """Raises: InvalidRows: there are faults."""
    if faults:
        raise InvalidRows(f"{len(faults)} fault(s) in the rows; nothing was stored.", faults=faults)


def faults_of_one(faults: Iterable[Fault]) -> list[Fault]:
    """The same faults of a body that holds one account, and so no row numbers."""
    return [Fault(fault.field, fault.rule, value=fault.value) for fault in faults]


def _sayable(feature: Feature, value: object) -> object | None:
    """A value that cannot be personal. Text where a number belongs may be anything: a name, one column off."""
    of_its_kind = isinstance(value, str) if feature.kind == "categorical" else isinstance(value, int | float)
    return value if feature.personal_data == "none" and of_its_kind else None


def nameable(name: str) -> str:
    """Write a name that the client chose cut short and stripped of what no field name has."""
    return _UNNAMEABLE.sub("?", name)[:63]
