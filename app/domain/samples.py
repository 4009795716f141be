"""Samples: a market's labelled accounts, and the rules by which a row is used or set aside."""

from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from app.domain.markets import IsoDate
from app.domain.products import AccountReference
from app.domain.recipes import AdaptationRecipe
from app.domain.schema import Noun

Design = Literal["random", "case_control"]
Reason = Literal["immature", "repeated", "already_sampled"]


class SampleRow(Noun):
    """One labelled account, features as they were at application."""

    account: AccountReference
    features: dict[str, Any] = Field(description="one value per feature of the schema; absent = null = missing")
    defaulted: bool = Field(description="did the account default, by the product's outcome definition?")
    opened_on: IsoDate = Field(description="the day the account was opened, YYYY-MM-DD")
    observed_on: IsoDate = Field(description="the day its outcome was looked at, YYYY-MM-DD")


class SamplesDraft(Noun):
    """A body of samples, drawn by one design."""

    design: Design = Field(
        description="random: drawn without looking at the label, so the rows speak of the level too; "
        "case_control: drawn by label, so the level comes from the market's declared base rate alone"
    )
    rows: Annotated[list[Any], Field(min_length=1, json_schema_extra={"items": SampleRow.model_json_schema()})]
    recipe: AdaptationRecipe = AdaptationRecipe()


class Sample(Noun):
    """A stored sample, without its features."""

    id: int
    account: str
    defaulted: bool
    opened_on: date
    observed_on: date
    design: Design
    batch: int = Field(description="the first version of theta_prime that has seen it")


class SetAside(Noun):
    """A well-formed row that was not used, and why."""

    row: int = Field(description="position in the body, counted from 0")
    reason: Reason = Field(
        description="immature: its outcome is not yet known; repeated: its account is used by an earlier row of this "
        "body; already_sampled: its account is a sample of this market since an earlier body"
    )


class RowReport(Noun):
    """What became of each row of a body."""

    n_rows: int
    n_used: int
    n_defaults: int = Field(description="defaulted accounts among the used")
    set_aside: list[SetAside]


def vintage(opened_on: date) -> str:
    """Name the month in which an account was opened, YYYY-MM."""
    return opened_on.isoformat()[:7]


def is_mature(*, defaulted: bool, opened_on: date, observed_on: date, window_days: int, design: Design) -> bool:
    """Is the outcome of an account known?

    A good is one only when its performance window of ``window_days`` has closed. A defaulter is one from the day it
    defaults; but where rows are drawn at random, counting young defaulters and not the young goods beside them
    would inflate the level, so there all young rows wait.
    """
    window_closed = observed_on >= opened_on + timedelta(days=window_days)
    return window_closed or (defaulted and design == "case_control")


def date_faults(opened_on: date, observed_on: date, today: date) -> list[tuple[str, str]]:
    """List (field, broken rule) of an account's dates."""
    faults = []
    if observed_on < opened_on:
        faults.append(("observed_on", "must not be before opened_on"))
    if observed_on > today:
        faults.append(("observed_on", "must not be in the future"))
    return faults


def sort_rows(
    rows: Sequence[SampleRow], *, already_sampled: Collection[str], window_days: int, design: Design
) -> tuple[list[SampleRow], RowReport]:
    """Part the rows of a body into those to use and those set aside."""
    used: dict[str, SampleRow] = {}
    set_aside: list[SetAside] = []
    for position, row in enumerate(rows):
        reason: Reason | None = None
        if row.account in already_sampled:
            reason = "already_sampled"
        elif not is_mature(
            defaulted=row.defaulted,
            opened_on=row.opened_on,
            observed_on=row.observed_on,
            window_days=window_days,
            design=design,
        ):
            reason = "immature"
        elif row.account in used:
            reason = "repeated"
        if reason is None:
            used[row.account] = row
        else:
            set_aside.append(SetAside(row=position, reason=reason))
    n_defaults = sum(row.defaulted for row in used.values())
    report = RowReport(n_rows=len(rows), n_used=len(used), n_defaults=n_defaults, set_aside=set_aside)
    return list(used.values()), report
