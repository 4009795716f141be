"""How a theta is trained and how a market is adapted: settings that are stored with their results."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from app.domain.schema import Noun

LearnerName = Literal[
    "map_bayes",
    "maml",
    "fomaml",
    "maml_plus_plus",
    "anil",
    "meta_sgd",
    "reptile",
    "cavia",
    "leo",
    "prototypical",
    "matching",
    "memory_augmented",
    "neural_process",
]

# By learner, each with its usual value: what of a method its paper leaves to choose (meta.learners.OPTIONS).
LEARNER_OPTIONS: dict[str, dict[str, bool | float]] = {
    "maml_plus_plus": {
        "multi_step_loss": True,
        "per_step_sizes": True,
        "annealing_share": 0.0,
        "first_order": False,
    },
    "meta_sgd": {"by_evidence": True},
}

ImputerName = Literal["auto", "none", "mean", "gain", "conditional"]

LEARNERS: tuple[str, ...] = get_args(LearnerName)
IMPUTERS: tuple[str, ...] = get_args(ImputerName)


class ThetaRecipe(Noun):
    """Settings of one meta-training; the seed makes it reproducible."""

    learner: LearnerName = Field(
        "map_bayes", description="few-shot method; map_bayes was the best on held-out source markets of real portfolios"
    )
    learner_options: dict[str, bool | Annotated[float, Field(ge=0, le=1)]] = Field(
        {},
        description="options of the method: of maml_plus_plus multi_step_loss, per_step_sizes, first_order (true or "
        "false) and annealing_share (0 to 1), of meta_sgd by_evidence (docs/learners.md); else as usual",
    )
    imputer: ImputerName = Field(
        "auto",
        description="what stands in for values that an account does not give; none: missing is a state of its own; "
        "auto: conditional where a tenth of the source's values or more is missing, else none (docs/imputers.md)",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    inner_steps: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None, description="null: the method's own usual number (map_bayes 6 Newton steps, maml 3 gradient steps)"
    )
    inner_lr: Annotated[float, Field(gt=0, le=10)] | None = Field(
        None, description="step size of gradient-based methods; null: the method's own usual one"
    )
    n_folds: Annotated[int, Field(ge=2, le=20)] = Field(3, description="of source markets, each held out once")
    pooled_steps: Annotated[int, Field(ge=1, le=100_000)] = 600
    teacher_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="weight of boosted trees' PDs, made without the row's market, in the pooled labels; 0: none"
    )
    pooled_lr: Annotated[float, Field(gt=0, le=1)] = 0.015
    outer_steps: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        None,
        description="meta-batches at most, fewer where held-out markets gain no more; null: the method's usual",
    )
    outer_lr: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="step size of the outer loop; null: the method's own usual one"
    )
    meta_batch: Annotated[int, Field(ge=1, le=256)] = 8
    n_members: Annotated[int, Field(ge=1, le=64)] = 8
    width: Annotated[int, Field(ge=4, le=1024)] = 64
    device: Literal["cpu", "cuda"] = "cpu"
    compile: bool = Field(False, description="use torch.compile; pays only in long trainings")

    @model_validator(mode="after")
    def _options_are_the_learners(self) -> Self:
        known = LEARNER_OPTIONS.get(self.learner, {})
        for name, value in self.learner_options.items():
            if name not in known:
                raise ValueError(f"learner_options of {self.learner} are {', '.join(known) or 'none'}, got {name!r}")
            if isinstance(value, bool) != isinstance(known[name], bool):
                wanted = "true or false" if isinstance(known[name], bool) else "a number from 0 to 1"
                raise ValueError(f"learner_options.{name} must be {wanted}, got {value!r}")
        return self


class GuardRule(Noun):
    """How strict the guard is from a number of defaults on."""

    n_defaults: Annotated[int, Field(ge=0, le=1_000_000)] = Field(description="the rule holds from so many defaults on")
    hold_below: Annotated[float, Field(ge=0, le=1)] = Field(
        description="a column that looks turned round, less probably than this in an honest market, holds the version; "
        "ranking, gain and move hold it below 0.6, a third and a quarter of this"
    )
    refuse_below: Annotated[float, Field(ge=0, le=1)] = Field(description="less probable than this: it is refused")


USUAL_GUARD = (
    GuardRule(n_defaults=0, hold_below=0.03, refuse_below=0.0),
    GuardRule(n_defaults=5, hold_below=0.06, refuse_below=0.002),
    GuardRule(n_defaults=25, hold_below=0.025, refuse_below=0.002),
    GuardRule(n_defaults=100, hold_below=0.015, refuse_below=0.001),
)


class AdaptationRecipe(Noun):
    """Settings of one adaptation."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    inner_steps: Annotated[int, Field(ge=0, le=20)] | None = Field(
        None, description="null: as many as theta was trained with; 0: move the level only"
    )
    minimum_defaults: Annotated[int, Field(ge=0, le=1000)] = Field(
        5, description="with fewer defaults than this the ranking stays theta's"
    )
    guard: Annotated[tuple[GuardRule, ...], Field(strict=False, min_length=1, max_length=20)] = Field(
        USUAL_GUARD, description="rules by number of defaults; the last that starts at or below the number holds"
    )
