"""Rows of source data: labelled accounts of mature markets, which theta is learned from."""

import json
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple

import pandas
from sqlalchemy import func, select

from app.domain.schema import FeatureSchema
from app.domain.source_data import SourceMarket
from app.store.copy import copy_rows
from app.store.database import Transaction
from app.store.tables import source_rows


class SourceRow(NamedTuple):
    market: str
    defaulted: bool
    opened_on: date | None
    observed_on: date | None
    features: dict[str, Any]


class SourceSpan(NamedTuple):
    """When accounts were opened, as far as rows say."""

    first: date | None
    last: date | None
    n_undated: int


class SourceVariety(NamedTuple):
    """What meta-training cannot do without."""

    several_markets: bool
    both_outcomes: bool


def copy_source_rows(tx: Transaction, product_id: int, rows: Iterable[SourceRow]) -> None:
    """Load rows by COPY, in the order given."""
    columns = ("product_id", "market", "defaulted", "opened_on", "observed_on", "features")
    records = ((product_id, *row[:4], json.dumps(row.features, allow_nan=False)) for row in rows)
    copy_rows(tx, source_rows, columns, records)


def count_by_market(tx: Transaction, product_id: int, *, after: str | None, limit: int) -> list[SourceMarket]:
    market = source_rows.c.market
    n_defaults = func.count().filter(source_rows.c.defaulted)
    counting = select(market, func.count(), n_defaults).group_by(market).order_by(market).limit(limit)
    found = tx.execute(counting.where(source_rows.c.product_id == product_id, market > (after or "")))
    return [SourceMarket(market=row[0], n_rows=row[1], n_defaults=row[2]) for row in found]


def find_variety(tx: Transaction, product_id: int) -> SourceVariety | None:
    """Look how far source rows differ, no further than until two are found that do; None: there are no rows."""
    of_product = source_rows.c.product_id == product_id
    columns = select(source_rows.c.market, source_rows.c.defaulted)
    first = columns.where(of_product).order_by(source_rows.c.id).limit(1).subquery()
    found = tx.execute(
        select(
            select(source_rows.c.id).where(of_product, source_rows.c.market != first.c.market).exists(),
            select(source_rows.c.id).where(of_product, source_rows.c.defaulted != first.c.defaulted).exists(),
        ).select_from(first)
    ).one_or_none()
    return None if found is None else SourceVariety(*found)


def find_span(tx: Transaction, product_id: int, last_row_id: int) -> SourceSpan:
    """Look how far openings reach, over the rows up to one of them."""
    opened = source_rows.c.opened_on
    statement = select(func.min(opened), func.max(opened), func.count() - func.count(opened))
    among = (source_rows.c.product_id == product_id, source_rows.c.id <= last_row_id)
    return SourceSpan(*tx.execute(statement.where(*among)).one())


def load_frame(tx: Transaction, product_id: int, schema: FeatureSchema) -> pandas.DataFrame:
    """Read all source rows of a product, oldest first, as the table that meta-training takes.

    Columns: row_id (int64), market (object), defaulted (bool), then one per feature: float64 with NaN, or object
    with None.
    """
    columns = select(source_rows.c.id, source_rows.c.market, source_rows.c.defaulted, source_rows.c.features)
    statement = columns.where(source_rows.c.product_id == product_id).order_by(source_rows.c.id)
    found = tx.execute(statement).all()
    table: dict[str, pandas.Series[Any]] = {
        "row_id": pandas.Series([row.id for row in found], dtype="int64"),
        "market": pandas.Series([row.market for row in found], dtype="object"),
        "defaulted": pandas.Series([row.defaulted for row in found], dtype="bool"),
    }
    for feature in schema.features:
        kind: Literal["float64", "object"] = "float64" if feature.kind == "numeric" else "object"
        table[feature.name] = pandas.Series([row.features.get(feature.name) for row in found], dtype=kind)
    return pandas.DataFrame(table)


def fetch_by_ids(tx: Transaction, ids: Sequence[int]) -> list[SourceRow]:
    """Read source rows in the order of ``ids``. Raises: LookupError: some are gone."""
    columns = [source_rows.c[name] for name in ("id", *SourceRow._fields)]
    found = {row[0]: SourceRow(*row[1:]) for row in tx.execute(select(*columns).where(source_rows.c.id.in_(ids)))}
    if len(found) < len(set(ids)):
        raise LookupError(f"{len(set(ids)) - len(found)} of {len(set(ids))} source rows are gone")
    return [found[row_id] for row_id in ids]
