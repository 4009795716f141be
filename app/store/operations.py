"""The state of all markets in one query."""

from typing import Any, NamedTuple

from sqlalchemy import and_, func, select, tuple_

from app.domain.markets import Activation
from app.domain.theta_primes import Verdict
from app.store.database import Transaction
from app.store.tables import markets, products, theta_primes


class MarketState(NamedTuple):
    """A market's pointers with what its active and its newest theta_prime say of themselves."""

    product: str
    market: str
    activation: Activation
    active_theta_version: int | None
    active_version: int | None
    age_s: float | None
    latest_version: int | None
    latest_verdict: Verdict | None
    latest_reason: str | None
    latest_evidence: str | None
    latest_at: Any
    n_support: int
    n_defaults: int
    cross_fitted: dict[str, Any] | None


_active = theta_primes.alias("active")
_latest = theta_primes.alias("latest")

_STATES = (
    select(
        products.c.slug.label("product"),
        markets.c.slug.label("market"),
        markets.c.activation,
        products.c.active_theta_version,
        markets.c.active_version,
        func.extract("epoch", func.now() - _active.c.created_at).label("age_s"),
        _latest.c.version.label("latest_version"),
        _latest.c.verdict.label("latest_verdict"),
        _latest.c.reasons[0].astext.label("latest_reason"),
        _latest.c.report["evidence"].astext.label("latest_evidence"),
        _latest.c.created_at.label("latest_at"),
        func.coalesce(func.cardinality(_latest.c.sample_ids), 0).label("n_support"),
        func.coalesce(_latest.c.n_defaults, 0).label("n_defaults"),
        _latest.c.report["cross_fitted"].label("cross_fitted"),
    )
    .join_from(markets, products, products.c.id == markets.c.product_id)
    .outerjoin(_active, and_(_active.c.market_id == markets.c.id, _active.c.version == markets.c.active_version))
    .outerjoin(_latest, and_(_latest.c.market_id == markets.c.id, _latest.c.version == markets.c.last_version))
    .order_by(products.c.slug, markets.c.slug)
)


def list_market_states(
    tx: Transaction, *, product: str | None, after: tuple[str, str], limit: int
) -> list[MarketState]:
    """Read markets in order of (product, market), those behind `after` first; of one product where it is named."""
    statement = _STATES.where(tuple_(products.c.slug, markets.c.slug) > after).limit(limit)
    if product is not None:
        statement = statement.where(products.c.slug == product)
    return [MarketState(**row._mapping) for row in tx.execute(statement)]
