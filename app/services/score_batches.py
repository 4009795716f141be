"""Batches to score, as rows, as columns or as a table: read by the product's schema, every fault listed."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from app.domain.products import ACCOUNT_RULE, is_account_reference
from app.domain.schema import FeatureSchema
from app.errors import Fault, InvalidBody, TooManyRows
from app.services import checking
from app.services.tables import Batch, feature_columns

ACCOUNT = "account"
_FORMS = 'must be {"rows": [{"account": …, "features": {…}}, …]} or {"columns": {…}, "accounts": […]}'


class ScoreBatch(NamedTuple):
    """Feature columns that keep the schema's rules, and the account of each row, or None."""

    accounts: list[str | None]
    columns: dict[str, list[Any]]


def read_document(schema: FeatureSchema, document: Any, *, max_rows: int) -> ScoreBatch:
    """Read rows or columns of JSON. Raises: InvalidBody, TooManyRows, InvalidRows."""
    if isinstance(document, dict) and document.keys() == {"rows"} and isinstance(document["rows"], list):
        return _read_rows(schema, document["rows"], max_rows)
    if isinstance(document, dict) and {"columns"} <= document.keys() <= {"columns", "accounts"}:
        return _read_columns(schema, document["columns"], document.get("accounts"), max_rows)
    raise InvalidBody("The body has neither of the two forms of a batch.", faults=[Fault("body", _FORMS)])


def read_batches(schema: FeatureSchema, batches: Generator[Batch], *, max_rows: int) -> ScoreBatch:
    """Read a table: one column a feature, and ``account`` if the rows have one.

    Raises: CorruptTable, InvalidBody, TooManyRows, InvalidRows.
    """
    accounts: list[str | None] = []
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    with closing(batches):
        for batch in batches:
            _refuse_unknown(schema, batch.columns.keys() - {ACCOUNT})
            accounts += batch.columns.get(ACCOUNT) or [None] * batch.n_rows
            _refuse_number(len(accounts), max_rows)
            for name, values in feature_columns(schema, batch).items():
                columns[name] += values
    return _checked(schema, accounts, columns, [])


def _read_rows(schema: FeatureSchema, rows: Sequence[Any], max_rows: int) -> ScoreBatch:
    _refuse_number(len(rows), max_rows)
    well_formed = [row if _has_form(row) else {} for row in rows]
    malformed = [
        Fault("rows", 'must be {"account": …, "features": {…}}; the account may be absent', row=position)
        for position, row in enumerate(well_formed)
        if not row
    ]
    features = [row.get("features", {}) for row in well_formed]
    faults = malformed + checking.unknown_features(schema, features)
    return _checked(schema, [row.get(ACCOUNT) for row in well_formed], checking.columns_of(schema, features), faults)


def _has_form(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("features"), dict) and row.keys() <= {ACCOUNT, "features"}


def _read_columns(schema: FeatureSchema, columns: Any, accounts: Any, max_rows: int) -> ScoreBatch:
    lists = _equally_long(columns, accounts)
    _refuse_unknown(schema, columns.keys())
    n_rows = len(lists[0])
    _refuse_number(n_rows, max_rows)
    missing = [None] * n_rows
    complete = {name: columns.get(name, missing) for name in schema.names}
    return _checked(schema, missing if accounts is None else accounts, complete, [])


def _equally_long(columns: Any, accounts: Any) -> list[list[Any]]:
    sent = [*columns.values()] if isinstance(columns, dict) else []
    sent += [] if accounts is None else [accounts]
    lists = [values for values in sent if isinstance(values, list)]
    if len(lists) < len(sent) or len({len(values) for values in lists}) != 1:
        faults = [Fault("columns", "must be an object of equally long lists, as long as accounts")]
        raise InvalidBody("The columns are not lists of one length.", faults=faults)
    return lists


def _checked(
    schema: FeatureSchema, accounts: list[Any], columns: dict[str, list[Any]], faults: Sequence[Fault]
) -> ScoreBatch:
    if not accounts:
        raise InvalidBody("There are no rows to score.", faults=[Fault("rows", "must have at least 1 row")])
    strangers = [
        Fault(ACCOUNT, ACCOUNT_RULE, row=position)
        for position, account in enumerate(accounts)
        if account is not None and not is_account_reference(account)
    ]
    checking.refuse([*faults, *strangers, *checking.faults_of_columns(schema, columns)])
    return ScoreBatch(accounts, columns)


def _refuse_number(n_rows: int, max_rows: int) -> None:
    if n_rows > max_rows:
        raise TooManyRows(f"More than {max_rows:,} rows; send them in parts.")


def _refuse_unknown(schema: FeatureSchema, names: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(schema.names))
    if unknown:
        faults = [Fault(checking.nameable(name), "is not a feature of this product") for name in unknown]
        raise InvalidBody("There are columns that the product's schema does not have.", faults=faults)
