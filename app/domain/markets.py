"""A market: one country, segment or channel of a product, with its own base rate and its own theta_prime."""

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from app.domain.currencies import CURRENCIES
from app.domain.products import Slug, Title
from app.domain.schema import Noun

Activation = Literal["automatic", "approval"]
Share = Annotated[float, Field(gt=0, lt=1)]


def _read_date(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return date.fromisoformat(value)
    return value


IsoDate = Annotated[date, BeforeValidator(_read_date)]


def _known_currency(code: str) -> str:
    if code not in CURRENCIES:
        raise ValueError("must be an ISO 4217 code in use, such as EUR")
    return code


Currency = Annotated[str, Field(min_length=3, max_length=3), AfterValidator(_known_currency)]


class BaseRate(Noun):
    """The share of a market's accounts that is expected to default, and how well that is known."""

    value: Share = Field(description="expected share of defaults, 0 to 1", examples=[0.12])
    low: Share = Field(description="lower end of the believable range, a share", examples=[0.09])
    high: Share = Field(description="upper end of the believable range, a share", examples=[0.16])
    source: Title = Field(description="where the number comes from", examples=["credit bureau, market report"])
    as_of: IsoDate = Field(description="the day the number describes, YYYY-MM-DD", examples=["2025-06-30"])

    @model_validator(mode="after")
    def _range_holds_value(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError("must have low <= value <= high")
        return self


class MarketDraft(Noun):
    """What a market declares; a later PUT replaces it and leaves samples and versions as they are."""

    title: Title | None = None
    currency: Currency = Field(description="ISO 4217 code of the amounts in this market", examples=["EUR"])
    base_rate: BaseRate | None = Field(None, description="null: unknown; required for case_control samples")
    activation: Activation = Field(
        "automatic", description="automatic: a version with verdict activate serves at once; approval: after a call"
    )


class Market(MarketDraft):
    """A declared market and its pointers."""

    product: Slug
    slug: Slug
    last_version: int = Field(description="newest theta_prime, 0 while there is none")
    active_version: int | None = Field(description="the theta_prime that scores; null: the product's theta does")
    created_at: datetime
    updated_at: datetime
