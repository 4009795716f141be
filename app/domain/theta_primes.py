"""theta_prime: one market's own version of the model, and what came of posting samples."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.domain.markets import BaseRate
from app.domain.products import Title
from app.domain.recipes import AdaptationRecipe
from app.domain.samples import Design, RowReport
from app.domain.schema import Noun

Verdict = Literal["activate", "hold", "refuse"]

MEASURED_ON = (
    "mature markets, by thetas that had not seen them, in the same trials that chose how much of a move to keep, which "
    "flatters the choice: expect somewhat less. Accounts drawn by label had their market's true default rate declared, "
    "others none; no guard stood in between. Intervals are over markets, taken as independent."
)


class ThetaPrime(Noun):
    """A version of a market's model; it never changes."""

    product: str
    market: str
    version: int
    theta_version: int = Field(description="the theta it was adapted from")
    verdict: Verdict = Field(description="activate: may serve; hold: only by an explicit call; refuse: never")
    reasons: list[str] = Field(description="what the verdict rests on")
    recipe: AdaptationRecipe
    design: Design
    base_rate: BaseRate | None = Field(description="the market's declared base rate when it was adapted")
    n_samples: int
    n_defaults: int
    report: dict[str, Any] = Field(
        description="what is known about it; losses in nats an account, rates as shares. `expected`: what adapting at "
        "about as many defaults was worth to mature markets left out when its theta was trained; null: not measured. "
        "It was measured on " + MEASURED_ON
    )
    sha256: str = Field(description="hash of its weights")
    software: dict[str, str] | None = Field(
        description="versions of the software that made it; null: of a version from before they were recorded"
    )
    created_at: datetime


class ThetaPrimeDetail(ThetaPrime):
    """A version with the ids of the samples that it was adapted on."""

    sample_ids: list[int]


class SampleInfluence(Noun):
    """What one sample did to a version: the version minus what it would be without the sample."""

    sample_id: int = Field(description="as in the market's list of samples")
    defaulted: bool
    move: float = Field(
        description="how far it moved the samples' log odds, level and ranking together, root mean square, in logits"
    )
    level: float = Field(description="what it added to the market's level, in logits; above 0: riskier")
    ranking: float = Field(
        description="how far it moved the samples' log odds against each other, root mean square, in logits"
    )
    loss: float = Field(
        description="what it changed its own log loss by, in nats; below 0: it is fitted better for being among the "
        "samples, as each is"
    )


class InfluenceReport(Noun):
    """The influence of every sample on a version, the largest first."""

    product: str
    market: str
    version: int
    theta_version: int
    n_samples: int
    n_defaults: int
    samples: list[SampleInfluence] = Field(description="by `move`, the largest first, then by id")


class AdaptationOutcome(Noun):
    """A new version and its verdict."""

    version: int = Field(description="after a dry run: the number it would have had")
    verdict: Verdict
    reasons: list[str]
    theta_version: int
    n_samples: int = Field(description="all usable samples of the market, these rows included")
    n_defaults: int
    report: dict[str, Any]


class AdaptationReceipt(Noun):
    """What came of adapting to the stored samples."""

    adaptation: AdaptationOutcome
    active_version: int | None = Field(description="the version that scores now; null: the product's theta does")


class SamplesReceipt(Noun):
    """What came of posting samples."""

    dry_run: bool = Field(description="true: nothing was kept")
    rows: RowReport
    adaptation: AdaptationOutcome | None = Field(description="null: no row was usable, so nothing was adapted")
    active_version: int | None = Field(description="the version that scores now; null: the product's theta does")


class ActivationDraft(Noun):
    """Who puts a version in service, and why; a later activation of an earlier version is a rollback."""

    activated_by: Title = Field("unnamed", description="who decides, as the caller names them")
    note: Title | None = Field(None, description="why, in a sentence")


class ActivationRecord(Noun):
    """One entry of the append-only history of what served when."""

    id: int
    version: int | None = Field(description="null: back to the product's theta")
    replaced_version: int | None
    activated_by: str
    note: str | None
    created_at: datetime
