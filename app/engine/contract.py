"""What the rest of ``app`` may ask of the engine, in plain values: rows and bytes in, bytes and reports out.

The functions behind these types are in ``training``, ``adapter`` and ``predictor`` beside this file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class PdColumns:
    """PDs of a batch with their 90 % intervals, one number a row each, as float64 arrays of one length."""

    pd: NDArray[np.float64]
    pd_low: NDArray[np.float64]
    pd_high: NDArray[np.float64]


@dataclass(frozen=True)
class Reason:
    """Why an account is riskier than the reference account.

    code: ``<feature>.above_reference``, ``.below_reference``, ``.value`` (the reference has none), ``.category``,
    ``.unseen_category`` or ``.not_provided``;
    contribution: what the feature's value adds to the logit of default, above 0.
    """

    code: str
    feature: str
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """One account's logit of default, taken apart: ``base`` (the reference account's) plus every contribution.

    contributions: logits by feature, in the order of the schema; their sum and ``base`` are the score's logit to 1e-6.
    reasons: at most four, the largest first, ties in the order of the schema.
    """

    base: float
    contributions: Mapping[str, float]
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class RowInfluence:
    """What one row of a support did to the adaptation: the whole minus an adaptation without it.

    level: the move of the level, in logits; ranking: root mean square, over the support's rows, of the move of
    their logits once the level's is taken out; loss: change of the row's own log loss (as a rule negative: a row
    is fitted better with itself among the support than without).
    """

    level: float
    ranking: float
    loss: float


OnProgress = Callable[[ProgressEvent], None]

__all__ = [
    "Adaptation",
    "Artifact",
    "BaseRateBelief",
    "CheckpointStore",
    "CorruptArtifact",
    "Design",
    "Explanation",
    "FeatureColumns",
    "InvalidColumns",
    "InvalidEpisode",
    "InvalidRecipe",
    "MetaError",
    "OnProgress",
    "PdColumns",
    "ProgressEvent",
    "Reason",
    "RowInfluence",
    "Support",
    "TrainedTheta",
    "TrainingDiverged",
    "Verdict",
]
