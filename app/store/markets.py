"""Rows of markets: what each declares, and the pointers to its newest and its active theta_prime."""

from typing import Any, NamedTuple

from sqlalchemy import Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.markets import BaseRate, Market, MarketDraft
from app.store.database import Transaction
from app.store.tables import markets, products


class MarketRow(NamedTuple):
    id: int
    market: Market


_MARKETS = select(markets, products.c.slug.label("product")).join(products)


def put_market(tx: Transaction, product_id: int, slug: str, draft: MarketDraft) -> None:
    """Declare a market, or replace what it declared; its versions and samples stay."""
    declared = {
        "title": draft.title,
        "currency": draft.currency,
        "base_rate": None if draft.base_rate is None else draft.base_rate.model_dump(mode="json"),
        "activation": draft.activation,
    }
    statement = insert(markets).values(product_id=product_id, slug=slug, **declared)
    replacing: dict[str, Any] = declared | {"updated_at": func.now()}
    tx.execute(statement.on_conflict_do_update(index_elements=["product_id", "slug"], set_=replacing))


def find_market(tx: Transaction, product_id: int, slug: str) -> MarketRow | None:
    statement = _MARKETS.where(markets.c.product_id == product_id, markets.c.slug == slug)
    row = tx.execute(statement).one_or_none()
    return None if row is None else _read(row)


def lock_market(tx: Transaction, product_id: int, slug: str) -> MarketRow | None:
    """Wait for the market's row, hold it until the end of the transaction, then read the market.

    Only one transaction at a time adapts or activates in a market. NO KEY UPDATE, since scores being written
    refer to the market's key and need not wait. The market is read by a second statement: one that waits for
    its lock would still answer with what it saw before.
    """
    statement = select(markets.c.id).where(markets.c.product_id == product_id, markets.c.slug == slug)
    if tx.execute(statement.with_for_update(key_share=True)).one_or_none() is None:
        return None
    return find_market(tx, product_id, slug)


def list_markets(tx: Transaction, product_id: int, *, after: str | None, limit: int) -> list[Market]:
    statement = _MARKETS.where(markets.c.product_id == product_id, markets.c.slug > (after or ""))
    return [_read(row).market for row in tx.execute(statement.order_by(markets.c.slug).limit(limit))]


def set_last_version(tx: Transaction, market_id: int, version: int) -> None:
    tx.execute(update(markets).where(markets.c.id == market_id).values(last_version=version))


def set_active_version(tx: Transaction, market_id: int, version: int | None) -> None:
    """Point the market at one of its versions; None: back to the product's theta."""
    tx.execute(update(markets).where(markets.c.id == market_id).values(active_version=version))


def _read(row: Row[Any]) -> MarketRow:
    market = Market(
        product=row.product,
        slug=row.slug,
        title=row.title,
        currency=row.currency,
        base_rate=None if row.base_rate is None else BaseRate.model_validate(row.base_rate),
        activation=row.activation,
        last_version=row.last_version,
        active_version=row.active_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
    return MarketRow(row.id, market)
