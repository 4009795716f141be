"""How a theta is trained and how a market is adapted: settings that are stored with their results."""

from typing import Annotated, Literal

from pydantic import Field

from app.domain.schema import Noun

LearnerName = Literal["maml", "fomaml", "anil", "meta_sgd", "reptile"]


class ThetaRecipe(Noun):
    """Settings of one meta-training; the seed makes it reproducible."""

    learner: LearnerName = "meta_sgd"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    inner_steps: Annotated[int, Field(ge=1, le=20)] = 3
    inner_lr: Annotated[float, Field(gt=0, le=10)] = 1.5
    n_folds: Annotated[int, Field(ge=2, le=20)] = Field(3, description="of source markets, each held out once")
    pooled_steps: Annotated[int, Field(ge=1, le=100_000)] = 600
    pooled_lr: Annotated[float, Field(gt=0, le=1)] = 0.015
    outer_steps: Annotated[int, Field(ge=0, le=100_000)] = 60
    outer_lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    meta_batch: Annotated[int, Field(ge=1, le=256)] = 8
    n_members: Annotated[int, Field(ge=1, le=64)] = 8
    width: Annotated[int, Field(ge=4, le=1024)] = 64
    device: Literal["cpu", "cuda"] = "cpu"
    compile: bool = Field(False, description="use torch.compile; pays only in long trainings")


class AdaptationRecipe(Noun):
    """Settings of one adaptation."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    inner_steps: Annotated[int, Field(ge=0, le=20)] | None = Field(
        None, description="null: as many as theta was trained with; 0: move the level only"
    )
    minimum_defaults: Annotated[int, Field(ge=0, le=1000)] = Field(
        5, description="with fewer defaults than this the ranking stays theta's"
    )
