"""What the rest of ``app`` may ask of the engine, in plain values: rows and bytes in, bytes and reports out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Design = Literal["random", "case_control"]
Verdict = Literal["activate", "hold", "refuse"]
FeatureColumns = Mapping[str, Sequence[Any]]  # one equally long list per feature of the schema; None = missing


@dataclass(frozen=True)
class Artifact:
    """Weights at rest: safetensors bytes and the SHA-256 of those bytes, in hexadecimal."""

    weights: bytes
    sha256: str


@dataclass(frozen=True)
class ProgressEvent:
    """One step of a training, for a terminal, an API answer or a log."""

    phase: str
    step: int
    n_steps: int
    loss: float | None
    validation_loss: float | None
    elapsed_s: float
    eta_s: float | None


class CheckpointStore(Protocol):
    """Where a training keeps its latest state; a file or a Postgres row."""

    def save(self, state: bytes) -> None: ...
    def load(self) -> bytes | None: ...


@dataclass(frozen=True)
class TrainedTheta:
    artifact: Artifact
    report: dict[str, Any]


@dataclass(frozen=True)
class Support:
    """A market's usable labelled accounts: feature columns and labels, equally long."""

    columns: FeatureColumns
    defaulted: Sequence[bool]
    design: Design


@dataclass(frozen=True)
class BaseRateBelief:
    """The market's declared default rate as a share, with its range."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Adaptation:
    """A theta_prime, what is known about it, and whether it should serve."""

    artifact: Artifact
    verdict: Verdict
    reasons: list[str]
    report: dict[str, Any] = field(default_factory=dict)


OnProgress = Callable[[ProgressEvent], None]

# The functions behind these types (see app/engine/training.py, adapter.py and predictor.py):
#
#   train_theta(schema: FeatureSchema, source: pandas.DataFrame, recipe: ThetaRecipe, *,
#               on_progress: OnProgress, checkpoints: CheckpointStore | None) -> TrainedTheta
#       `source` has the columns `row_id` (int), `market` (str), `defaulted` (bool) and one per feature
#       (float with NaN, or object with None).
#
#   adapt(schema, theta: Artifact, support: Support, *, base_rate: BaseRateBelief | None,
#         recipe: AdaptationRecipe, reference: Support | None) -> Adaptation
#       `reference`: labelled source rows in theta's `reference_row_ids(theta)` order, read only when the
#       support has no goods. Deterministic: same inputs, same bytes.
#
#   reference_row_ids(theta: Artifact) -> list[int]
#
#   Predictor(schema, theta: Artifact, theta_prime: Artifact | None)      loads once, checks hash and finiteness
#       .pd(columns: FeatureColumns) -> numpy float64 array, one PD a row; same bits alone and in any batch
#       .unseen(columns) -> list[list[str]]     per row, names of the features whose category theta never saw
#
# Faults: meta.errors.MetaError subclasses, re-exported here so that services need not import meta.
from meta.errors import (  # noqa: E402
    CorruptArtifact,
    InvalidColumns,
    InvalidEpisode,
    InvalidRecipe,
    MetaError,
    TrainingDiverged,
)

__all__ = [
    "Adaptation",
    "Artifact",
    "BaseRateBelief",
    "CheckpointStore",
    "CorruptArtifact",
    "Design",
    "FeatureColumns",
    "InvalidColumns",
    "InvalidEpisode",
    "InvalidRecipe",
    "MetaError",
    "OnProgress",
    "ProgressEvent",
    "Support",
    "TrainedTheta",
    "TrainingDiverged",
    "Verdict",
]
