"""theta: what is learned from a product's mature markets, and the training that learns it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.domain.recipes import ThetaRecipe
from app.domain.schema import Noun

TrainingStatus = Literal["queued", "running", "succeeded", "failed"]


class Theta(Noun):
    """A version of theta: first a queued training, then the theta that it learned."""

    product: str
    version: int
    status: TrainingStatus
    active: bool = Field(description="does this version serve the product's markets?")
    recipe: ThetaRecipe
    progress: dict[str, Any] | None = Field(description="phase, step of n_steps, losses, seconds elapsed and to go")
    error: str | None = Field(description="why the training failed")
    attempts: int = Field(description="how often a worker has started it; more than 1 after a crash")
    report: dict[str, Any] | None = Field(description="what is known about theta; null until it is learned")
    sha256: str | None = Field(description="hash of its weights; null until it is learned")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
