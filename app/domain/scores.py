"""A score: one account's probability of default as one version saw it, recorded before it is answered."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from app.domain.products import AccountReference
from app.domain.schema import FeatureValue, Noun

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


class ScoreReason(Noun):
    """One reason why an account scores as riskier than the reference account."""

    code: str = Field(
        description="`<feature>.above_reference`, `.below_reference`, `.category`, `.unseen_category`, "
        "`.not_provided`, or `.value` where the reference account has none to compare with",
        examples=["utilisation.above_reference"],
    )
    feature: str = Field(examples=["utilisation"])
    points: float = Field(
        description="what the feature's value adds to the score, in points; a risky one takes points, so is below 0",
        examples=[-23.5],
    )


class Score(Noun):
    """A recorded default-risk score."""

    id: UUID
    product: str
    market: str
    account: str | None
    pd: Annotated[float, Field(ge=0, le=1)] = Field(description="probability of default within the performance window")
    pd_low: float | None = Field(description="lower end of the PD's 90 % interval; null: of a score without one")
    pd_high: float | None = Field(description="upper end of the PD's 90 % interval; null: of a score without one")
    reasons: list[ScoreReason] | None = Field(
        description="at most four, the heaviest first; empty: nothing makes it riskier than the reference account; "
        "null: not asked for"
    )
    points: float = Field(description="the PD on the product's points scale; more is safer")
    basis: Basis = Field(description="theta: the market has no active version of its own")
    theta_version: int
    theta_prime_version: int | None
    n_defaults: int | None = Field(
        description="defaulted accounts that the theta_prime behind the score was adapted on; null: theta scored"
    )
    unseen: list[str] = Field(description="features whose category theta never saw; scored as unseen")
    filled: list[str] = Field(
        description="features that were not given and that theta's imputer filled; the interval allows for its draws. "
        "Empty where theta has none: missing is then a state of its own"
    )
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
    recorded_pd_low: float | None = Field(description="null: the score was recorded without an interval")
    replayed_pd_low: float
    recorded_pd_high: float | None = Field(description="null: the score was recorded without an interval")
    replayed_pd_high: float
    identical: bool = Field(description="are PD and interval, as far as recorded, the same to the last bit?")
    theta_version: int
    theta_prime_version: int | None


class Amount(Noun):
    """A part of a score, or the whole, in its two units."""

    logit: float = Field(description="log odds of default; more is riskier")
    points: float = Field(description="the same on the product's points scale; more is safer")


class Contribution(Noun):
    """What one feature adds to a score."""

    feature: str
    value: FeatureValue = Field(description="the recorded input; null: missing")
    logit: float = Field(description="above 0: riskier than with the reference account's value")
    points: float = Field(description="the same on the product's points scale; above 0: safer")


class ScoreExplanation(Noun):
    """A recorded score taken apart, by the versions that made it: base plus contributions is the total."""

    id: UUID
    product: str
    market: str
    account: str | None
    theta_version: int
    theta_prime_version: int | None
    recorded_pd: float
    replayed_pd: float = Field(description="the PD computed again from the recorded inputs")
    identical: bool = Field(description="is the PD the same to the last bit, and the interval, as far as recorded?")
    recorded_points: float
    base: Amount = Field(description="the score of the reference account")
    contributions: list[Contribution] = Field(
        description="of every feature, in the schema's order: what its value adds, against the reference account's"
    )
    total: Amount = Field(description="base and contributions added up: the score, to a millionth of a logit")
    reasons: list[ScoreReason] = Field(description="at most four contributions that add risk, the heaviest first")


NO_REASONS = "none"


def reasons_as_text(reasons: Iterable[ScoreReason] | None) -> str:
    """Write reasons for a cell of a table: ``code:points``, parted by spaces; no text where they were not asked for.

    >>> reasons_as_text([ScoreReason(code="age.not_provided", feature="age", points=-2.5)])
    'age.not_provided:-2.5'
    """
    if reasons is None:
        return ""
    return " ".join(f"{reason.code}:{reason.points}" for reason in reasons) or NO_REASONS
