"""Outcomes: what became of scored accounts, by which they become samples."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from app.domain.markets import IsoDate
from app.domain.products import AccountReference
from app.domain.recipes import AdaptationRecipe
from app.domain.samples import Design
from app.domain.schema import Noun


class OutcomeRow(Noun):
    """What became of one account; its features are those that were scored."""

    score: Annotated[UUID, Field(strict=False)] | None = Field(
        None, description="the `id` of the score whose features count"
    )
    account: AccountReference | None = Field(
        None,
        description="whose score it was. Without `score`: the last score up to the day of opening counts, or the "
        "first one after it. With `score`: needed only where the score was recorded without an account",
    )
    defaulted: bool = Field(description="did the account default, by the product's outcome definition?")
    opened_on: IsoDate = Field(description="the day the account was opened, YYYY-MM-DD")
    observed_on: IsoDate = Field(description="the day its outcome was looked at, YYYY-MM-DD")


class OutcomesDraft(Noun):
    """A body of outcomes, whose accounts were chosen by one design."""

    design: Design = Field(
        "random",
        description="random: the rows were chosen without looking at the outcome; "
        "case_control: they were chosen by it, so the level comes from the market's declared base rate alone",
    )
    rows: Annotated[list[Any], Field(min_length=1, json_schema_extra={"items": OutcomeRow.model_json_schema()})]
    recipe: AdaptationRecipe = AdaptationRecipe()
