"""The engine's functions, as values: the wiring hands them to services, so that no service imports torch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pandas

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.domain.schema import FeatureSchema
from app.engine.contract import (
    Adaptation,
    Artifact,
    BaseRateBelief,
    CheckpointStore,
    CorruptArtifact,
    Explanation,
    FeatureColumns,
    InvalidColumns,
    InvalidEpisode,
    InvalidRecipe,
    OnProgress,
    PdColumns,
    RowInfluence,
    Support,
    TrainedTheta,
)
from app.errors import EngineRefused, StoredWeightsCorrupt


class TrainTheta(Protocol):
    def __call__(
        self,
        schema: FeatureSchema,
        source: pandas.DataFrame,
        recipe: ThetaRecipe,
        *,
        on_progress: OnProgress,
        checkpoints: CheckpointStore | None,
    ) -> TrainedTheta: ...


class Adapt(Protocol):
    def __call__(
        self,
        schema: FeatureSchema,
        theta: Artifact,
        support: Support,
        *,
        base_rate: BaseRateBelief | None,
        recipe: AdaptationRecipe,
        reference: Support | None,
    ) -> Adaptation: ...


class Influence(Protocol):
    def __call__(
        self,
        schema: FeatureSchema,
        theta: Artifact,
        support: Support,
        *,
        base_rate: BaseRateBelief | None,
        recipe: AdaptationRecipe,
        reference: Support | None,
    ) -> list[RowInfluence]:
        """One entry a row of ``support``, in its order."""
        ...


class Predictor(Protocol):
    def pd(self, columns: FeatureColumns) -> Sequence[float] | Any: ...

    def score(self, columns: FeatureColumns) -> PdColumns: ...

    def explain(self, columns: FeatureColumns) -> list[Explanation]: ...

    def unseen(self, columns: FeatureColumns) -> list[list[str]]: ...

    def filled(self, columns: FeatureColumns) -> list[list[str]]: ...


class LoadPredictor(Protocol):
    def __call__(self, schema: FeatureSchema, theta: Artifact, theta_prime: Artifact | None) -> Predictor: ...


@dataclass(frozen=True)
class Engine:
    """What the service asks of the engine; ``app.engine.contract`` says what each function promises."""

    train_theta: TrainTheta
    adapt: Adapt
    reference_row_ids: Callable[[Artifact], list[int]]
    load_predictor: LoadPredictor
    influence: Influence


@contextmanager
def answering_engine_faults() -> Iterator[None]:
    """Say in the service's words what the engine will not load or take.

    Raises: StoredWeightsCorrupt; EngineRefused: with the engine's own words, which name rules, columns and settings.
    """
    try:
        yield
    except CorruptArtifact as fault:
        raise StoredWeightsCorrupt() from fault
    except (InvalidColumns, InvalidEpisode, InvalidRecipe) as fault:
        raise EngineRefused(f"{str(fault).removesuffix('.')}.") from fault
