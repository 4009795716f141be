"""Source data: labelled accounts of mature markets, streamed in, checked, and loaded whole or not at all."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime
from typing import Any

import pandas

from app.domain.pages import Page
from app.domain.products import Product
from app.domain.samples import date_faults, is_mature, vintage
from app.domain.source_data import SourceColumns, SourceDataReceipt, SourceMarket, SourceSummary
from app.errors import Fault, InvalidBody
from app.services import checking, products
from app.services.tables import Batch, feature_columns
from app.store import source_rows as store
from app.store.database import Transaction
from app.store.source_rows import SourceRow

MOST_FAULTS = 10_000  # reading stops here: who sent so many has sent the wrong table
MOST_MARKET_LETTERS = 100

_LABELS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def load_source_data(
    tx: Transaction, product: str, batches: Generator[Batch], columns: SourceColumns, *, today: date
) -> SourceDataReceipt:
    """Check and store a table's rows; young rows, whose performance window is open, are counted and left out.

    Raises: UnknownProduct; InvalidRows: with every fault, nothing stored; InvalidBody: there are no rows; CorruptTable.
    """
    product_row = products.get_row(tx, product)
    load = _Load(product_row.product, columns, today)
    with closing(batches):
        store.copy_source_rows(tx, product_row.id, load.rows_to_store(batches))
    checking.refuse(load.faults)
    receipt = load.receipt()
    if receipt.n_rows == 0:
        raise InvalidBody(
            "The table has no rows; nothing was stored.", faults=[Fault("rows", "must have at least 1 row")]
        )
    return receipt


def count_source_data(tx: Transaction, product: str, *, after: str | None, limit: int) -> Page[SourceMarket]:
    """Count a product's stored source rows, one page of markets by name. Raises: UnknownProduct."""
    found = store.count_by_market(tx, products.get_row(tx, product).id, after=after, limit=limit)
    return Page.of(found, limit, lambda market: market.market)


def summarise_source(tx: Transaction, product_id: int, source: pandas.DataFrame) -> SourceSummary:
    """Say what a theta learns from: the rows of ``source``, as ``load_frame`` has read them."""
    markets = [
        SourceMarket(market=str(name), n_rows=len(labels), n_defaults=int(labels.sum()))
        for name, labels in source.groupby("market")["defaulted"]
    ]
    # Rows are only ever added, so those up to the last one read are those that were read.
    span = store.find_span(tx, product_id, int(source["row_id"].max()) if len(source) else 0)
    return SourceSummary(
        n_rows=len(source),
        n_defaults=int(source["defaulted"].sum()),
        n_markets=len(markets),
        first_vintage=None if span.first is None else vintage(span.first),
        last_vintage=None if span.last is None else vintage(span.last),
        n_undated=span.n_undated,
        markets=markets,
    )


class _Load:
    """One table on its way in: its rows one by one, its faults and counts so far."""

    def __init__(self, product: Product, columns: SourceColumns, today: date) -> None:
        self._product, self._columns, self._today = product, columns, today
        self.faults: list[Fault] = []
        self._n_rows = self._n_immature = 0
        self._counts: dict[str, list[int]] = {}

    def rows_to_store(self, batches: Iterable[Batch]) -> Iterator[SourceRow]:
        """Give out rows until the first fault; then read on for the other faults, since nothing will be stored."""
        for batch in batches:
            rows = self._read(batch)
            if len(self.faults) > MOST_FAULTS:
                return
            if not self.faults:
                yield from filter(self._count, rows)

    def receipt(self) -> SourceDataReceipt:
        markets = [
            SourceMarket(market=name, n_rows=n_rows, n_defaults=n_defaults)
            for name, (n_rows, n_defaults) in sorted(self._counts.items())
        ]
        return SourceDataReceipt(
            n_rows=self._n_rows,
            n_stored=self._n_rows - self._n_immature,
            n_immature=self._n_immature,
            n_defaults=sum(market.n_defaults for market in markets),
            markets=markets,
        )

    def _read(self, batch: Batch) -> list[SourceRow]:
        self._refuse_columns(batch)
        schema, named = self._product.feature_schema, self._columns
        features = feature_columns(schema, batch)
        self.faults += checking.faults_of_columns(schema, features, first_row=batch.first_row)
        rows = zip(
            self._convert(batch, named.market, _market, "must be a name of 1 to 100 characters"),
            self._convert(batch, named.target, _label, "must be true or false, 1 or 0"),
            self._convert(batch, named.opened_on, _day, "must be a date, YYYY-MM-DD"),
            self._convert(batch, named.observed_on, _day, "must be a date, YYYY-MM-DD"),
            checking.rows_of(features, batch.n_rows),
            strict=True,
        )
        found = [SourceRow(*row) for row in rows]
        self._refuse_dates(found, batch.first_row)
        return found

    def _refuse_columns(self, batch: Batch) -> None:
        """List, once, columns that are not there and columns that nobody knows."""
        known = {*self._product.feature_schema.names, *self._columns.named, *self._columns.ignored}
        absent = [Fault(name, "is not a column of the table") for name in self._columns.named - batch.columns.keys()]
        unknown = [
            Fault(checking.nameable(name), "is not a feature of this product; name it in ignore_column to leave it out")
            for name in batch.columns.keys() - known
        ]
        self.faults += [fault for fault in sorted(absent + unknown, key=str) if fault not in self.faults]

    def _convert(self, batch: Batch, column: str | None, convert: Callable[[Any], Any], rule: str) -> list[Any]:
        if column is None or column not in batch.columns:
            return [None] * batch.n_rows
        found = []
        for position, value in enumerate(batch.columns[column]):
            try:
                found.append(convert(value))
            except (KeyError, ValueError):
                found.append(None)
                self.faults.append(Fault(column, rule, row=batch.first_row + position))
        return found

    def _refuse_dates(self, rows: Sequence[SourceRow], first_row: int) -> None:
        for position, row in enumerate(rows):
            if row.opened_on is not None and row.observed_on is not None:
                broken = date_faults(row.opened_on, row.observed_on, self._today)
                self.faults += [Fault(field, rule, row=first_row + position) for field, rule in broken]
            elif row.opened_on is not row.observed_on:
                self.faults.append(
                    Fault("opened_on", "is given with observed_on or not at all", row=first_row + position)
                )

    def _count(self, row: SourceRow) -> bool:
        """Count a row; False: it is immature and stays out. A row without dates is declared resolved."""
        self._n_rows += 1
        if not self._is_resolved(row):
            self._n_immature += 1
            return False
        counts = self._counts.setdefault(row.market, [0, 0])
        counts[0] += 1
        counts[1] += row.defaulted
        return True

    def _is_resolved(self, row: SourceRow) -> bool:
        if row.opened_on is None or row.observed_on is None:
            return True
        window_days = self._product.outcome.performance_window_days
        return is_mature(
            defaulted=row.defaulted,
            opened_on=row.opened_on,
            observed_on=row.observed_on,
            window_days=window_days,
            design="random",
        )


def _market(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_MARKET_LETTERS or not value.isprintable():
        raise ValueError
    return value


def _label(value: Any) -> bool:
    """Read a label: a boolean, 1 or 0, or one of these as text."""
    return _LABELS[str(value).lower()]


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or isinstance(value, date):
        return value
    if isinstance(value, str) and len(value) == len("2025-01-31"):
        return date.fromisoformat(value)
    raise ValueError
