"""The score ledger: every score with its inputs, written before it is answered; its rows never change."""

import json
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Date, DateTime, Text, Uuid, and_, case, cast, column, func, insert, literal, select
from sqlalchemy.dialects.postgresql import distinct_on

from app.domain.products import PointsScale
from app.domain.scores import Basis, RecordedScore, ScoreReason
from app.store.copy import copy_rows
from app.store.database import Transaction
from app.store.tables import markets, products, scores, theta_primes, thetas


class ScoreRow(NamedTuple):
    """One row of the ledger, by the names of its columns."""

    id: UUID
    market_id: int
    account: str | None
    features: dict[str, Any]
    unseen: list[str]
    filled: list[str]
    pd: float
    pd_low: float
    pd_high: float
    reasons: list[ScoreReason] | None
    points: float
    theta_id: int
    theta_prime_id: int | None
    created_at: datetime


class Serving(NamedTuple):
    """Which versions score a market at this moment."""

    market_id: int
    product_id: int
    points_scale: PointsScale
    theta_id: int
    theta_version: int
    theta_prime_id: int | None
    theta_prime_version: int | None
    n_defaults: int | None


class ScoredFeatures(NamedTuple):
    """What was scored, and whose it was, where that is recorded."""

    account: str | None
    features: dict[str, Any]


class Opening(NamedTuple):
    """An account and the day it was opened."""

    account: str
    opened_on: date


class LedgerInputs(NamedTuple):
    """What a recorded score was computed from, and what came of it."""

    product: str
    points_scale: PointsScale
    market: str
    account: str | None
    features: dict[str, Any]
    pd: float
    pd_low: float | None
    pd_high: float | None
    points: float
    theta_id: int
    theta_version: int
    theta_prime_id: int | None
    theta_prime_version: int | None


def copy_scores(tx: Transaction, rows: Iterable[ScoreRow]) -> None:
    """Write many rows at once."""
    records = (row._replace(features=_json(row.features), reasons=_json(_plain(row.reasons))) for row in rows)
    copy_rows(tx, scores, ScoreRow._fields, records)


def insert_score(tx: Transaction, row: ScoreRow) -> None:
    """Write one row; for one, cheaper than COPY."""
    tx.execute(insert(scores), row._asdict() | {"reasons": _plain(row.reasons)})


def find_score(tx: Transaction, score_id: UUID) -> RecordedScore | None:
    row = tx.execute(_RECORDED.where(scores.c.id == score_id)).one_or_none()
    if row is None:
        return None
    basis: Basis = "theta" if row.theta_prime_version is None else "theta_prime"
    reasons = None if row.reasons is None else [ScoreReason(**reason) for reason in row.reasons]
    return RecordedScore(**{**row._mapping, "reasons": reasons}, basis=basis)


def find_inputs(tx: Transaction, score_id: UUID) -> LedgerInputs | None:
    row = tx.execute(_INPUTS.where(scores.c.id == score_id)).one_or_none()
    if row is None:
        return None
    return LedgerInputs(**{**row._mapping, "points_scale": PointsScale.model_validate(row.points_scale)})


def find_scored(tx: Transaction, market_id: int, score_ids: Sequence[UUID]) -> dict[UUID, ScoredFeatures]:
    """Read what was scored, by the ids of scores; other markets' are left out."""
    among = scores.c.id == func.any(literal(score_ids, ARRAY(Uuid)))
    statement = select(scores.c.id, scores.c.account, scores.c.features).where(scores.c.market_id == market_id, among)
    return {row[0]: ScoredFeatures(*row[1:]) for row in tx.execute(statement)}


def find_scored_at_opening(
    tx: Transaction, market_id: int, openings: Sequence[Opening]
) -> dict[Opening, ScoredFeatures]:
    """Read, for accounts opened on a day, what was last scored by the end of it (UTC), or else first after it."""
    accounts, days = [opening.account for opening in openings], [opening.opened_on for opening in openings]
    unnested = func.unnest(literal(accounts, ARRAY(Text)), literal(days, ARRAY(Date)))
    opened = unnested.table_valued(column("account", Text), column("opened_on", Date)).render_derived(name="opened")
    until = cast(opened.c.opened_on + 1, DateTime)
    scored_at = func.timezone("UTC", scores.c.created_at)
    nearest = (scored_at >= until, func.abs(func.extract("epoch", scored_at - until)))
    statement = (
        select(opened.c.account, opened.c.opened_on, scores.c.features)
        .ext(distinct_on(opened.c.account, opened.c.opened_on))
        .join_from(opened, scores, and_(scores.c.market_id == market_id, scores.c.account == opened.c.account))
        .order_by(opened.c.account, opened.c.opened_on, *nearest)
    )
    return {Opening(row[0], row[1]): ScoredFeatures(row[0], row[2]) for row in tx.execute(statement)}


def _plain(reasons: Sequence[ScoreReason] | None) -> list[dict[str, Any]] | None:
    return None if reasons is None else [reason.model_dump() for reason in reasons]


def _json(value: object) -> Any:
    """Write text for a JSON column of COPY; None is SQL's NULL."""
    return None if value is None else json.dumps(value, allow_nan=False)


_LEDGER = (
    scores.join(markets, markets.c.id == scores.c.market_id)
    .join(products, products.c.id == markets.c.product_id)
    .join(thetas, thetas.c.id == scores.c.theta_id)
    .outerjoin(theta_primes, theta_primes.c.id == scores.c.theta_prime_id)
)
_VERSIONS = (thetas.c.version.label("theta_version"), theta_primes.c.version.label("theta_prime_version"))
_RECORDED = select(
    scores.c.id,
    products.c.slug.label("product"),
    markets.c.slug.label("market"),
    scores.c.account,
    scores.c.features,
    scores.c.unseen,
    scores.c.filled,
    scores.c.pd,
    scores.c.pd_low,
    scores.c.pd_high,
    scores.c.reasons,
    scores.c.points,
    *_VERSIONS,
    theta_primes.c.n_defaults,
    scores.c.created_at.label("scored_at"),
).select_from(_LEDGER)
_INPUTS = select(
    products.c.slug.label("product"),
    products.c.points_scale,
    markets.c.slug.label("market"),
    scores.c.account,
    scores.c.features,
    scores.c.pd,
    scores.c.pd_low,
    scores.c.pd_high,
    scores.c.points,
    scores.c.theta_id,
    scores.c.theta_prime_id,
    *_VERSIONS,
).select_from(_LEDGER)


def find_serving(tx: Transaction, product: str, market: str) -> Serving | None:
    """Read which versions score a market; None where there is no such product or market, or no active theta."""
    row = tx.execute(_SERVING.where(products.c.slug == product, markets.c.slug == market)).one_or_none()
    return None if row is None else Serving(*row[:2], PointsScale.model_validate(row[2]), *row[3:])


def list_serving(tx: Transaction) -> list[tuple[str, int, int | None]]:
    """Read (product, theta id, theta_prime id) of every market that can be scored."""
    columns = (products.c.slug, thetas.c.id, theta_primes.c.id)
    found = tx.execute(_SERVING.with_only_columns(*columns).distinct())
    return [(row[0], row[1], row[2]) for row in found]


# A market's own version is read with the theta it was adapted from; without one, the product's active theta scores.
_SCORING_THETA = case(
    (theta_primes.c.id.is_not(None), thetas.c.id == theta_primes.c.theta_id),
    else_=and_(thetas.c.product_id == products.c.id, thetas.c.version == products.c.active_theta_version),
)
_ACTIVE = and_(theta_primes.c.market_id == markets.c.id, theta_primes.c.version == markets.c.active_version)
_SERVING = select(
    markets.c.id,
    products.c.id,
    products.c.points_scale,
    thetas.c.id,
    thetas.c.version,
    theta_primes.c.id,
    theta_primes.c.version,
    theta_primes.c.n_defaults,
).select_from(
    markets.join(products, products.c.id == markets.c.product_id)
    .outerjoin(theta_primes, _ACTIVE)
    .join(thetas, _SCORING_THETA)
)
