"""Markets: declare one, read one, list them."""

from datetime import date

from app.domain.markets import Market, MarketDraft
from app.domain.pages import Page
from app.errors import Fault, InvalidBody, UnknownMarket
from app.services import products
from app.store import markets as store
from app.store.database import Transaction
from app.store.markets import MarketRow
from app.store.products import ProductRow


def put_market(tx: Transaction, product: str, slug: str, draft: MarketDraft, *, today: date) -> Market:
    """Declare a market or replace what it declared; samples, versions and what serves stay as they are.

    Raises: UnknownProduct; InvalidBody: the base rate is of a day yet to come.
    """
    product_row = products.get_row(tx, product)
    if draft.base_rate is not None and draft.base_rate.as_of > today:
        raise InvalidBody(
            "The base rate is not usable.", faults=[Fault("base_rate.as_of", "must not be in the future")]
        )
    store.put_market(tx, product_row.id, slug, draft)
    return get_row(tx, product_row, slug).market


def get_row(tx: Transaction, product: ProductRow, slug: str) -> MarketRow:
    """Raises: UnknownMarket."""
    return _known(store.find_market(tx, product.id, slug), product, slug)


def get_locked_row(tx: Transaction, product: ProductRow, slug: str) -> MarketRow:
    """Hold the market until the transaction ends, then read it. Raises: UnknownMarket."""
    return _known(store.lock_market(tx, product.id, slug), product, slug)


def get_market(tx: Transaction, product: str, slug: str) -> Market:
    """Raises: UnknownProduct, UnknownMarket."""
    return get_row(tx, products.get_row(tx, product), slug).market


def list_markets(tx: Transaction, product: str, *, after: str | None, limit: int) -> Page[Market]:
    """Read one page of a product's markets by slug. Raises: UnknownProduct."""
    product_row = products.get_row(tx, product)
    found = store.list_markets(tx, product_row.id, after=after, limit=limit)
    return Page.of(found, limit, lambda market: market.slug)


def _known(row: MarketRow | None, product: ProductRow, slug: str) -> MarketRow:
    if row is None:
        raise UnknownMarket(f"Product '{product.product.slug}' has no market '{slug}'.")
    return row
