"""Activation: which version serves. Promoting and rolling back are the same call."""

from app.domain.markets import Market
from app.domain.pages import Page
from app.domain.theta_primes import ActivationDraft, ActivationRecord
from app.errors import RefusedVersion, UnknownThetaPrime
from app.services import markets, products
from app.store import activations as store
from app.store import markets as markets_store
from app.store import theta_primes as theta_primes_store
from app.store.database import Transaction
from app.store.markets import MarketRow
from app.store.products import ProductRow


def activate_theta_prime(tx: Transaction, product: str, market: str, version: int, draft: ActivationDraft) -> Market:
    """Let a version score its market from now on; version 0 is the product's theta itself.

    Raises: UnknownProduct, UnknownMarket, UnknownThetaPrime; RefusedVersion: its guard has refused it.
    """
    product_row = products.get_row(tx, product)
    market_row = markets.get_locked_row(tx, product_row, market)
    if version != 0:
        _require_not_refused(tx, market_row, version)
    put_in_service(tx, product_row, market_row, version or None, draft)
    return markets.get_row(tx, product_row, market).market


def put_in_service(
    tx: Transaction, product: ProductRow, market: MarketRow, version: int | None, draft: ActivationDraft
) -> None:
    """Point a market, held by the caller, at a version; the one that serves already is left as it is."""
    replaced = market.market.active_version
    if version == replaced:
        return
    markets_store.set_active_version(tx, market.id, version)
    _record(tx, product.id, market.id, version, replaced, draft)


def list_theta_prime_activations(
    tx: Transaction, product: str, market: str, *, after: int, limit: int
) -> Page[ActivationRecord]:
    """Read what served a market when, oldest first. Raises: UnknownProduct, UnknownMarket."""
    product_row = products.get_row(tx, product)
    market_row = markets.get_row(tx, product_row, market)
    return _page(tx, product_row.id, market_row.id, after, limit)


def list_theta_activations(tx: Transaction, product: str, *, after: int, limit: int) -> Page[ActivationRecord]:
    """Read which theta served a product when, oldest first. Raises: UnknownProduct."""
    return _page(tx, products.get_row(tx, product).id, None, after, limit)


def _page(tx: Transaction, product_id: int, market_id: int | None, after: int, limit: int) -> Page[ActivationRecord]:
    found = store.list_activations(tx, product_id, market_id, after=after, limit=limit)
    return Page.of(found, limit, lambda entry: entry.id)


def _record(
    tx: Transaction,
    product_id: int,
    market_id: int | None,
    version: int | None,
    replaced: int | None,
    draft: ActivationDraft,
) -> None:
    store.record_activation(
        tx,
        product_id,
        market_id,
        version=version,
        replaced_version=replaced,
        activated_by=draft.activated_by,
        note=draft.note,
    )


def _require_not_refused(tx: Transaction, market: MarketRow, version: int) -> None:
    found = theta_primes_store.find_theta_prime(tx, market.id, version)
    if found is None:
        raise UnknownThetaPrime(f"Market '{market.market.slug}' has no theta_prime {version}.")
    if found.verdict == "refuse":
        raise RefusedVersion(f"Version {version} was refused when it was adapted: {'; '.join(found.reasons)}.")
