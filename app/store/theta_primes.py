"""Rows of theta_primes; they never change."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, func, insert, select

from app.domain.cards import AdaptedVersion
from app.domain.markets import BaseRate
from app.domain.recipes import AdaptationRecipe
from app.domain.theta_primes import ThetaPrimeDetail
from app.store.database import Transaction
from app.store.tables import markets, products, theta_primes, thetas


class ThetaPrimeWeights(NamedTuple):
    theta_id: int
    weights: bytes
    sha256: str


def insert_theta_prime(tx: Transaction, **values: Any) -> int:
    """Keep a version; ``values`` by the columns' names. Returns its id."""
    statement = insert(theta_primes).values(**values)
    theta_prime_id: int = tx.execute(statement.returning(theta_primes.c.id)).scalar_one()
    return theta_prime_id


_HIDDEN = ("id", "market_id", "theta_id", "seed", "weights")
_COLUMNS: list[ColumnElement[Any]] = [
    *(column for column in theta_primes.c if column.name not in _HIDDEN),
    func.cardinality(theta_primes.c.sample_ids).label("n_samples"),
    thetas.c.version.label("theta_version"),
    markets.c.slug.label("market"),
    products.c.slug.label("product"),
]
_DETAILS = (
    select(*_COLUMNS)
    .join_from(theta_primes, thetas, thetas.c.id == theta_primes.c.theta_id)
    .join(markets, markets.c.id == theta_primes.c.market_id)
    .join(products, products.c.id == markets.c.product_id)
)


def find_theta_prime(tx: Transaction, market_id: int, version: int) -> ThetaPrimeDetail | None:
    statement = _DETAILS.where(theta_primes.c.market_id == market_id, theta_primes.c.version == version)
    row = tx.execute(statement).one_or_none()
    return None if row is None else _read(row)


def list_theta_primes(tx: Transaction, market_id: int, *, after: int, limit: int) -> Sequence[ThetaPrimeDetail]:
    statement = _DETAILS.where(theta_primes.c.market_id == market_id, theta_primes.c.version > after)
    return [_read(row) for row in tx.execute(statement.order_by(theta_primes.c.version).limit(limit))]


def list_adapted(tx: Transaction, theta_id: int, *, limit: int) -> list[AdaptedVersion]:
    """Read which versions of which markets were adapted from a theta, by market."""
    is_active = markets.c.active_version == theta_primes.c.version
    columns = (markets.c.slug, theta_primes.c.version, theta_primes.c.verdict, theta_primes.c.n_defaults, is_active)
    statement = (
        select(*(column.label(name) for column, name in zip(columns, AdaptedVersion.model_fields, strict=True)))
        .join_from(theta_primes, markets, markets.c.id == theta_primes.c.market_id)
        .where(theta_primes.c.theta_id == theta_id)
        .order_by(markets.c.slug, theta_primes.c.version)
        .limit(limit)
    )
    return [AdaptedVersion(**{**row._mapping, "active": bool(row.active)}) for row in tx.execute(statement)]


def get_weights(tx: Transaction, theta_prime_id: int) -> ThetaPrimeWeights:
    """Read weights by the version's immutable id. Raises: sqlalchemy's NoResultFound: there is none."""
    columns = (theta_primes.c.theta_id, theta_primes.c.weights, theta_primes.c.sha256)
    return ThetaPrimeWeights(*tx.execute(select(*columns).where(theta_primes.c.id == theta_prime_id)).one())


def _read(row: Row[Any]) -> ThetaPrimeDetail:
    values = dict(row._mapping)
    values["recipe"] = AdaptationRecipe.model_validate(row.recipe)
    values["base_rate"] = None if row.base_rate is None else BaseRate.model_validate(row.base_rate)
    return ThetaPrimeDetail(**values)
