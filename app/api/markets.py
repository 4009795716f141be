"""Markets: PUT, GET."""

from typing import Annotated

from fastapi import APIRouter, Body

from app.api import examples
from app.api.counter import TheCounter
from app.api.parts import AfterName, Limit, MarketSlug, ProductSlug, today
from app.api.strict_json import StrictRoute
from app.domain.markets import Market, MarketDraft
from app.domain.pages import Page
from app.services import markets

router = APIRouter(prefix="/products/{product}/markets", tags=["markets"], route_class=StrictRoute)


@router.put("/{market}", summary="Declare a market")
def put_market(
    product: ProductSlug,
    market: MarketSlug,
    draft: Annotated[MarketDraft, Body(examples=[examples.MARKET_DECLARATION])],
    counter: TheCounter,
) -> Market:
    """Declare a market, or replace its declaration: currency (ISO 4217), the base rate of default (a share from 0 to
    1, with its range, source and date) and whether new versions serve by themselves.

    Samples, versions and what serves now stay as they are; a changed base rate counts from the next adaptation.
    """
    with counter.database.writing() as tx:
        return markets.put_market(tx, product, market, draft, today=today())


@router.get("", summary="List a product's markets")
def list_markets(
    product: ProductSlug, counter: TheCounter, after: AfterName = None, limit: Limit = 100
) -> Page[Market]:
    """List markets by slug, with their newest and their active version."""
    with counter.database.reading() as tx:
        return markets.list_markets(tx, product, after=after, limit=limit)


@router.get("/{market}", summary="Read a market")
def get_market(product: ProductSlug, market: MarketSlug, counter: TheCounter) -> Market:
    """Read a market's declaration, its newest and its active version."""
    with counter.database.reading() as tx:
        return markets.get_market(tx, product, market)
