"""What the rest of ``app`` may ask of the engine, in plain values: rows and bytes in, bytes and reports out.

The functions behind these types are in ``training``, ``adapter`` and ``predictor`` beside this file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

# Re-exported, so that services need not open the door to meta themselves.
from meta.errors import (
    CorruptArtifact,
    InvalidColumns,
    InvalidEpisode,
    InvalidRecipe,
    MetaError,
    TrainingDiverged,
)
from meta.progress import Progress as ProgressEvent

Design = Literal["random", "case_control"]
Verdict = Literal["activate", "hold", "refuse"]
FeatureColumns = Mapping[str, Sequence[Any]]  # one equally long list per feature of the schema; None = missing


@dataclass(frozen=True)
class Artifact:
    """Weights at rest: safetensors bytes and the SHA-256 of those bytes, in hexadecimal."""

    weights: bytes
    sha256: str


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
