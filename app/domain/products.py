"""A card product: what its accounts look like, what default means for it, and how its points read."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.domain.schema import FeatureSchema, Noun

Slug = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$", description="a short name, fit for an address")
]
ACCOUNT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:\-]{0,99}$"
ACCOUNT_RULE = "must be 1 to 100 letters, digits or . _ : - and start with a letter or digit"
AccountReference = Annotated[
    str,
    Field(
        pattern=ACCOUNT_PATTERN,
        description="the bank's own opaque reference of the account; never a card number or a name",
    ),
]
_ACCOUNT = re.compile(ACCOUNT_PATTERN.removesuffix("$"))
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


def is_account_reference(value: object) -> bool:
    """Is this a reference that an account may have?"""
    return isinstance(value, str) and _ACCOUNT.fullmatch(value) is not None


class OutcomeDefinition(Noun):
    """What "defaulted" means for this product, and how long a good must be watched before it counts as one."""

    definition: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")] = Field(
        examples=["90 or more days past due within 12 months of opening"]
    )
    performance_window_days: Annotated[int, Field(ge=1, le=3660)] = Field(
        description="days from opening until the outcome of an account is known"
    )


class PointsScale(Noun):
    """How a PD reads as points: ``base_points`` at ``base_odds`` goods to one bad; ``pdo`` points double the odds."""

    base_points: Annotated[float, Field(ge=-10_000, le=10_000)] = 600.0
    base_odds: Annotated[float, Field(gt=0, le=1e6)] = 50.0
    pdo: Annotated[float, Field(gt=0, le=1000)] = 20.0


class ProductDraft(Noun):
    """A product as declared; it never changes afterwards, since every theta is bound to its feature schema."""

    slug: Slug
    title: Title
    feature_schema: FeatureSchema
    outcome: OutcomeDefinition
    points_scale: PointsScale = PointsScale()


class Product(ProductDraft):
    """A declared product."""

    schema_sha256: str = Field(description="hash of the feature schema; every theta carries it")
    active_theta_version: int | None = Field(description="null until a theta is activated")
    created_at: datetime
