"""Model cards: what a validator or a committee has to know of a version, on one page."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from app.domain.markets import BaseRate
from app.domain.products import OutcomeDefinition, PointsScale
from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.domain.samples import Design
from app.domain.schema import Noun
from app.domain.source_data import SourceSummary
from app.domain.theta_primes import MEASURED_ON, ActivationRecord, Verdict

Links = dict[str, str]


class CardProduct(Noun):
    """What the model is a model of."""

    slug: str
    title: str
    outcome: OutcomeDefinition
    points_scale: PointsScale
    features: list[str] = Field(description="what it reads of an account, in the schema's order")


class CardMarket(Noun):
    """Where the model serves."""

    slug: str
    title: str | None
    currency: str


class Hashes(Noun):
    """What the version is, to the last bit; SHA-256 in hexadecimal."""

    weights: str
    feature_schema: str


class AdaptedVersion(Noun):
    """A market's version that was adapted from a theta."""

    market: str
    version: int
    verdict: Verdict
    n_defaults: int
    active: bool = Field(description="does it score its market now?")


class _Card(Noun):
    """What both kinds of card say."""

    product: CardProduct
    version: int
    active: bool = Field(description="does it serve now?")
    created_at: datetime
    purpose: str
    intended_use: list[str]
    limits: list[str] = Field(description="what it is not, and what its numbers do not say")
    activations: list[ActivationRecord] = Field(description="when it came into service and when it went; the last 100")
    hashes: Hashes
    software: dict[str, str] | None = Field(description="versions that made it; null: not recorded then")
    links: Links = Field({}, description="paths of this service: the card itself, and what it speaks of")


class ObservedBaseRate(Noun):
    """The default rate of the accounts that a theta was learned from: counted, where a market's is declared."""

    value: float = Field(description="n_defaults of n_rows, as a share")
    low: float | None = Field(
        description="lower end of the interval, over markets: as far as chance chose these markets and no others; "
        "null: of a single market, or without a default or a good"
    )
    high: float | None = Field(description="upper end; null as `low` is")
    interval: float = Field(description="probability of the interval")
    n_defaults: int
    n_rows: int
    n_markets: int
    source: Literal["observed in the source markets"] = "observed in the source markets"


class ThetaCard(_Card):
    """The card of a theta."""

    data: SourceSummary | None = Field(description="the source rows it was learned from; null: not recorded then")
    base_rate: ObservedBaseRate | None = Field(
        description="of those rows, as they were collected. A new market may have another and declares its own; null: "
        "they were not recorded then"
    )
    recipe: ThetaRecipe
    seed: int
    results: dict[str, Any] = Field(
        description="its report. `leave_markets_out`: log loss and AUC (from 50 defaults on) of each market, by a "
        "theta that had not seen it; `over_markets_left_out`: their means with 95 % intervals over markets; "
        "`expected_gain`: what adapting gained there by number of accounts, with 95 % intervals. Gains were measured "
        "on " + MEASURED_ON
    )
    theta_primes: list[AdaptedVersion] = Field(description="what was adapted from it, by market; the first 1,000")


class SampleSummary(Noun):
    """The samples that a theta_prime was adapted on."""

    n_samples: int
    n_defaults: int
    design: Design
    first_vintage: str = Field(description="month of the earliest opening, YYYY-MM")
    last_vintage: str = Field(description="month of the latest opening, YYYY-MM")
    first_observed_on: date
    last_observed_on: date


class CardTheta(Noun):
    """The theta that a theta_prime was adapted from."""

    version: int
    sha256: str
    created_at: datetime


class ThetaPrimeCard(_Card):
    """The card of a theta_prime."""

    market: CardMarket
    theta: CardTheta
    data: SampleSummary
    base_rate: BaseRate | None = Field(description="as declared when it was adapted; null: none was")
    recipe: AdaptationRecipe
    seed: int
    verdict: Verdict
    reasons: list[str] = Field(description="what the verdict rests on")
    results: dict[str, Any] = Field(
        description="its report: level, evidence, `cross_fitted` losses on rows left out, with 90 % intervals of the "
        "gains and, from 50 defaults on, of the AUCs; the gain `expected` with a 95 % interval. That was measured on "
        + MEASURED_ON
    )
