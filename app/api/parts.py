"""What several routers share: path parameters, pages, and the day."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Path, Query

from app.api import examples
from app.domain.products import AccountReference, Slug

ProductSlug = Annotated[Slug, Path(description="the product", examples=[examples.PRODUCT])]
MarketSlug = Annotated[Slug, Path(description="the market", examples=[examples.MARKET])]
AccountPath = Annotated[AccountReference, Path(description="the bank's own reference", examples=[examples.ACCOUNT])]
Version = Annotated[int, Path(ge=1, lt=2**31, description="version, counted from 1", examples=[1])]
Limit = Annotated[int, Query(ge=1, le=1000, description="items of a page")]
AfterName = Annotated[str | None, Query(max_length=200, description="the `next_after` of the page before")]
AfterVersion = Annotated[int, Query(ge=0, lt=2**31, description="the `next_after` of the page before")]
AfterNumber = Annotated[int, Query(ge=0, lt=2**63, description="the `next_after` of the page before")]


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()
