"""theta as one value: encoder, learner, weights, level prior and strength; and how it is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meta.checkpoint import pack, sha256, unpack, unpack_arrays
from meta.errors import CorruptArtifact
from meta.features import Encoder
from meta.inference import EnsembleForward
from meta.learners import Learner, build_learner
from meta.level import LevelPrior
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.strength import Strength
from meta.types import Column, Params


@dataclass(frozen=True)
class LearnerSettings:
    """Which few-shot method over which network; enough to build both again."""

    learner: str
    inner_lr: float
    inner_steps: int
    n_members: int
    widths: tuple[int, ...]

    def network(self, n_inputs: int) -> Ensemble:
        return Ensemble(n_inputs, self.widths, self.n_members)

    def build(self, n_inputs: int, inner_steps: int | None = None) -> Learner:
        """Make the learner; ``inner_steps`` overrides the trained number."""
        steps = self.inner_steps if inner_steps is None else inner_steps
        return build_learner(
            self.learner, self.network(n_inputs), binary_cross_entropy, inner_lr=self.inner_lr, inner_steps=steps
        )


@dataclass(frozen=True)
class Theta:
    """What mature markets taught: everything a new market needs, and nothing about any single account.

    params: the learner's theta; reference_row_ids: source rows that may complete a support of defaulters alone.
    """

    schema_sha256: str
    settings: LearnerSettings
    encoder: Encoder
    params: Params
    level_prior: LevelPrior
    strength: Strength
    reference_row_ids: tuple[int, ...] = ()

    def learner(self, inner_steps: int | None = None) -> Learner:
        return self.settings.build(self.encoder.n_features, inner_steps)

    def at_rest(self) -> Params:
        """Give the theta_prime that has seen nothing: theta's own weights, the level most likely beforehand."""
        return with_level(self.learner().at_rest(self.params), self.level_prior.mean)

    def pack(self) -> bytes:
        """Serialise; equal thetas give equal bytes. Raises CorruptArtifact if a weight is not finite."""
        encoder = self.encoder
        finite_edges = np.where(np.isfinite(encoder.edges), encoder.edges, 0.0)
        tensors = {f"params.{name}": value for name, value in self.params.items()} | {
            "encoder.edges": torch.from_numpy(finite_edges),
            "encoder.n_edges": torch.from_numpy(np.isfinite(encoder.edges).sum(axis=1)),
            "encoder.center": torch.from_numpy(encoder.center),
            "encoder.scale": torch.from_numpy(encoder.scale),
            "reference_row_ids": torch.tensor(self.reference_row_ids, dtype=torch.int64),
        }
        return pack(tensors, self._metadata())

    def _metadata(self) -> dict[str, Any]:
        return {
            "kind": "theta",
            "schema_sha256": self.schema_sha256,
            "settings": asdict(self.settings),
            "columns": [asdict(column) for column in self.encoder.columns],
            "categories": self.encoder.categories,
            "level_prior": asdict(self.level_prior),
            "strength": asdict(self.strength),
        }

    @classmethod
    def unpack(cls, content: bytes, expected_sha256: str, schema_sha256: str) -> "Theta":
        """Read what ``pack`` wrote.

        Raises:  CorruptArtifact: a byte has changed, the content is no theta, or it belongs to another schema.
        """
        tensors, metadata = unpack(content, expected_sha256)
        _require_kind(metadata, "theta")
        if metadata["schema_sha256"] != schema_sha256:
            raise CorruptArtifact(f"theta was learned on schema {metadata['schema_sha256']}, not on {schema_sha256}")
        settings = metadata["settings"] | {"widths": tuple(metadata["settings"]["widths"])}
        strength = {name: tuple(values) for name, values in metadata["strength"].items()}
        return cls(
            schema_sha256=schema_sha256,
            settings=LearnerSettings(**settings),
            encoder=_encoder_from({n: t.numpy() for n, t in tensors.items()}, metadata),
            params={n.removeprefix("params."): t for n, t in tensors.items() if n.startswith("params.")},
            level_prior=LevelPrior(**metadata["level_prior"]),
            strength=Strength(**strength),
            reference_row_ids=tuple(tensors["reference_row_ids"].tolist()),
        )


@dataclass(frozen=True)
class ServedModel:
    """A theta's encoder and a theta_prime's weights, ready to score without torch."""

    encoder: Encoder
    forward: EnsembleForward

    def pd(self, columns: Mapping[str, Any]) -> NDArray[np.float64]:
        """Probabilities of default, one a row; the same bits alone and in any batch."""
        return self.forward.pd(self.encoder.encode(columns))


def pack_theta_prime(theta_prime: Params, theta_sha256: str) -> bytes:
    """Serialise one market's weights, bound to the theta they came from."""
    return pack(theta_prime, {"kind": "theta_prime", "theta_sha256": theta_sha256})


def serve(theta: Theta, theta_sha256: str, theta_prime: tuple[bytes, str] | None) -> ServedModel:
    """Prepare scoring with (content, sha256) of a theta_prime, or with theta at rest.

    Raises:  CorruptArtifact: a byte has changed, or the weights came from another theta or network.
    """
    at_rest = theta.at_rest()
    if theta_prime is None:
        weights = {name: value.numpy() for name, value in at_rest.items()}
    else:
        weights, metadata = unpack_arrays(*theta_prime)
        _require_kind(metadata, "theta_prime")
        if metadata["theta_sha256"] != theta_sha256:
            raise CorruptArtifact(f"theta_prime came from theta {metadata['theta_sha256']}, not from {theta_sha256}")
        if {n: v.shape for n, v in weights.items()} != {n: tuple(v.shape) for n, v in at_rest.items()}:
            raise CorruptArtifact("theta_prime does not have the tensors of its theta's network")
    return ServedModel(theta.encoder, EnsembleForward(weights, len(theta.settings.widths)))


def with_level(weights: Params, level: float) -> Params:
    """Add the market's level, shape (1,) float64, to network weights."""
    return {**weights, "level": torch.tensor([level], dtype=torch.float64)}


def theta_sha256(theta: Theta) -> str:
    """Hash a theta's stored form."""
    return sha256(theta.pack())


def _require_kind(metadata: Mapping[str, Any], kind: str) -> None:
    if metadata.get("kind") != kind:
        raise CorruptArtifact(f"expected a {kind}, found {metadata.get('kind')!r}")


def _encoder_from(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Encoder:
    edges = arrays["encoder.edges"].copy()
    for row, n_edges in enumerate(arrays["encoder.n_edges"]):
        edges[row, n_edges:] = np.inf
    columns = [
        Column(c["name"], c["kind"], tuple(c["categories"]) if c["categories"] is not None else None)
        for c in metadata["columns"]
    ]
    categories = tuple(tuple(known) for known in metadata["categories"])
    return Encoder(tuple(columns), edges, arrays["encoder.center"], arrays["encoder.scale"], categories)
