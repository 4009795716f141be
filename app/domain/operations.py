"""What the operations desk sees of every market at once."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.domain.markets import Activation
from app.domain.schema import Noun
from app.domain.theta_primes import Verdict


class CrossFittedGain(Noun):
    """Log loss of theta and theta_prime on accounts that neither was adapted on; in nats an account."""

    theta_log_loss: float
    theta_prime_log_loss: float
    gain: float = Field(description="loss of theta less loss of theta_prime: above 0, theta_prime is better")
    gain_low: float = Field(description="lower end of the gain's interval")
    gain_high: float = Field(description="upper end of the gain's interval")


class MarketStatus(Noun):
    """One market: what serves it, what is newest, and what theta_prime gains there."""

    product: str = Field(examples=["classic-card"])
    market: str = Field(examples=["portugal"])
    activation: Activation
    basis: Literal["theta_prime", "theta"] | None = Field(description="what scores here; null: nothing can yet")
    active_version: int | None = Field(description="the theta_prime that serves; null: none does")
    age_days: float | None = Field(description="days since the serving theta_prime was made")
    latest_version: int | None = Field(description="the newest theta_prime; null: there is none")
    latest_verdict: Verdict | None
    latest_reason: str | None = Field(description="the first of the reasons for the newest verdict")
    latest_evidence: str | None = Field(
        description="the evidence level of the newest theta_prime, as its report has it; null: the report has none"
    )
    latest_at: datetime | None = Field(description="when the newest theta_prime was made, UTC")
    n_support: int = Field(description="labelled accounts that the newest theta_prime was adapted on")
    n_defaults: int = Field(description="how many of them defaulted")
    cross_fitted: CrossFittedGain | None = Field(description="of the newest theta_prime; null: too few to measure")
