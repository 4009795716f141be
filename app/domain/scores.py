"""A score: one account's probability of default as one version saw it, recorded before it is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from app.domain.products import AccountReference
from app.domain.schema import Noun

Basis = Literal["theta", "theta_prime"]


class AccountDraft(Noun):
    """The features of an account as of its application."""

    features: dict[str, Any] = Field(description="one value per feature of the schema; absent = null = missing")


class Account(AccountDraft):
    """A stored account."""

    product: str
    market: str
    account: AccountReference
    updated_at: datetime


class Contribution(Noun):
    """One reason for a score."""

    feature: str
    points: float = Field(description="points that the feature's value adds to or takes from the score")


class Score(Noun):
    """A recorded default-risk score."""

    id: UUID
    product: str
    market: str
    account: str | None
    pd: Annotated[float, Field(ge=0, le=1)] = Field(description="probability of default within the performance window")
    pd_low: float | None = Field(description="lower end of the PD's interval; null: not estimated")
    pd_high: float | None = Field(description="upper end of the PD's interval; null: not estimated")
    reasons: list[Contribution] | None = Field(description="at most four, in order; null: not computed")
    points: float = Field(description="the PD on the product's points scale; more is safer")
    basis: Basis = Field(description="theta: the market has no active version of its own")
    theta_version: int
    theta_prime_version: int | None
    unseen: list[str] = Field(description="features whose category theta never saw; scored as unseen")
    scored_at: datetime


class ScoreList(Noun):
    """The scores of a batch, in the order of its rows."""

    scores: list[Score]


class RecordedScore(Score):
    """A score as the ledger holds it, with the inputs that were scored."""

    features: dict[str, Any]


class Replay(Noun):
    """The same score computed again from the recorded inputs by the recorded versions."""

    id: UUID
    recorded_pd: float
    replayed_pd: float
    identical: bool = Field(description="are the two the same to the last bit?")
    theta_version: int
    theta_prime_version: int | None
