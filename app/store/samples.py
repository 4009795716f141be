"""Rows of samples; they never change."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, Text, func, insert, literal, select

from app.domain.samples import Design, Sample, SampleRow
from app.store.database import Transaction
from app.store.tables import samples


class LabelledFeatures(NamedTuple):
    """What adaptation reads of a sample."""

    id: int
    features: dict[str, Any]
    defaulted: bool


class SampleSpan(NamedTuple):
    """From when to when samples were opened and observed."""

    first_opened_on: date
    last_opened_on: date
    first_observed_on: date
    last_observed_on: date


def insert_samples(
    tx: Transaction, market_id: int, rows: Sequence[SampleRow], *, design: Design, batch: int
) -> list[int]:
    """Keep rows; returns their ids in the same order."""
    records = [{"market_id": market_id, "design": design, "batch": batch, **row.model_dump()} for row in rows]
    statement = insert(samples).returning(samples.c.id, sort_by_parameter_order=True)
    return list(tx.execute(statement, records).scalars())


def find_sampled(tx: Transaction, market_id: int, accounts: Iterable[str]) -> set[str]:
    """Which of these accounts are samples of the market already?"""
    among = samples.c.account == func.any(literal(list(accounts), ARRAY(Text)))  # one parameter, however many there are
    statement = select(samples.c.account).where(samples.c.market_id == market_id, among)
    return set(tx.execute(statement).scalars())


def find_design(tx: Transaction, market_id: int) -> Design | None:
    """How the market's samples were drawn; None while there are none."""
    statement = select(samples.c.design).where(samples.c.market_id == market_id).limit(1)
    return tx.execute(statement).scalar_one_or_none()


def fetch_labelled(tx: Transaction, market_id: int) -> list[LabelledFeatures]:
    """Read all samples of a market in the order of their ids."""
    statement = select(samples.c.id, samples.c.features, samples.c.defaulted).where(samples.c.market_id == market_id)
    return [LabelledFeatures(*row) for row in tx.execute(statement.order_by(samples.c.id))]


def fetch_labelled_by_ids(tx: Transaction, ids: Sequence[int]) -> list[LabelledFeatures]:
    """Read samples in the order of their ids, which is the order in which versions have seen them."""
    among = samples.c.id == func.any(literal(ids, ARRAY(BigInteger)))
    statement = select(samples.c.id, samples.c.features, samples.c.defaulted).where(among)
    return [LabelledFeatures(*row) for row in tx.execute(statement.order_by(samples.c.id))]


def find_span(tx: Transaction, ids: Sequence[int]) -> SampleSpan:
    """Look from when to when samples were opened and observed."""
    among = samples.c.id == func.any(literal(ids, ARRAY(BigInteger)))
    opened, observed = samples.c.opened_on, samples.c.observed_on
    statement = select(func.min(opened), func.max(opened), func.min(observed), func.max(observed)).where(among)
    return SampleSpan(*tx.execute(statement).one())


def list_samples(tx: Transaction, market_id: int, *, after: int, limit: int) -> list[Sample]:
    columns = [samples.c[name] for name in Sample.model_fields]
    statement = select(*columns).where(samples.c.market_id == market_id, samples.c.id > after)
    return [Sample(**row._mapping) for row in tx.execute(statement.order_by(samples.c.id).limit(limit))]
