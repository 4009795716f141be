"""Intake of samples and outcomes: rows are read, checked, and parted into those to use and those set aside."""

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeVar

from pydantic import ValidationError

from app.domain.outcomes import OutcomeRow
from app.domain.products import ACCOUNT_RULE, Product
from app.domain.samples import Design, RowReport, SampleRow, date_faults, sort_rows
from app.errors import Fault, MixedDesigns
from app.services import checking
from app.store import samples as store
from app.store.database import Transaction

Row = TypeVar("Row", SampleRow, OutcomeRow)

_RULES = {
    "score": "must be the id of a score, a UUID",
    "account": ACCOUNT_RULE,
    "features": "must be an object",
    "defaulted": "must be true or false",
    "opened_on": "must be a date, YYYY-MM-DD",
    "observed_on": "must be a date, YYYY-MM-DD",
}


def read_rows(product: Product, raw_rows: Sequence[Any], *, today: date) -> list[SampleRow]:
    """Read the rows of a body, all or none. Raises: InvalidRows: with every fault of every row."""
    rows, faults = read_forms(SampleRow, raw_rows, today=today)
    checking.refuse([*faults, *checking.faults_of_rows(product.feature_schema, _features(raw_rows))])
    return list(rows.values())


def read_forms(kind: type[Row], raw_rows: Sequence[Any], *, today: date) -> tuple[dict[int, Row], list[Fault]]:
    """Read those rows that have their form, by position; list what is wrong with the form and the dates of all."""
    faults: list[Fault] = []
    rows: dict[int, Row] = {}
    for position, raw in enumerate(raw_rows):
        try:
            row = kind.model_validate(raw)
        except ValidationError as fault:
            faults += _faults_of_form(kind, fault, position)
        else:
            rows[position] = row
            broken = date_faults(row.opened_on, row.observed_on, today)
            faults += [Fault(field, rule, row=position) for field, rule in broken]
    return rows, faults


def require_one_design(tx: Transaction, market_id: int, design: Design) -> None:
    """Raises: MixedDesigns: the market's samples were drawn otherwise."""
    earlier = store.find_design(tx, market_id)
    if earlier not in (None, design):
        raise MixedDesigns(f"This market's samples are {earlier}; these are {design}.")


def part_rows(
    tx: Transaction, product: Product, market_id: int, rows: Sequence[SampleRow], design: Design
) -> tuple[list[SampleRow], RowReport]:
    """Part rows into those to use and those set aside; the market is held by the caller."""
    already_sampled = store.find_sampled(tx, market_id, {row.account for row in rows})
    window_days = product.outcome.performance_window_days
    return sort_rows(rows, already_sampled=already_sampled, window_days=window_days, design=design)


def _faults_of_form(kind: type[Row], fault: ValidationError, position: int) -> list[Fault]:
    return [
        _fault_of_form(kind, error["type"], str(error["loc"][0]) if error["loc"] else "", position)
        for error in fault.errors()
    ]


def _fault_of_form(kind: type[Row], error: str, field: str, position: int) -> Fault:
    if error == "missing":
        return Fault(field, "is required", row=position)
    if field not in kind.model_fields:
        known = f"must be an object of {', '.join(kind.model_fields)}"
        return Fault("rows", known if not field else f"{known} and nothing else", row=position)
    return Fault(field, _RULES[field], row=position)


def _features(raw_rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The features of every row that has some, so that a row's other faults hide none of theirs."""
    found = (row.get("features") if isinstance(row, dict) else None for row in raw_rows)
    return [features if isinstance(features, dict) else {} for features in found]
