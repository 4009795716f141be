"""theta as one value: encoder, learner, weights, what is known of markets beforehand; and how it is stored."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meta.checkpoint import pack, sha256, unpack
from meta.columns import ColumnProfiles
from meta.effects import EffectsPrior
from meta.errors import CorruptArtifact
from meta.expectation import ExpectedGain
from meta.features import Encoder
from meta.imputers import FittedImputer, restore_imputer
from meta.learners import Learner, build_learner
from meta.level import LevelPrior
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.posterior import Posterior
from meta.reading import Reading, layout_of
from meta.strength import Strength
from meta.types import Column, Params

EFFECT_ARRAYS = ("slots", "center", "slope_sd")
EFFECT_NUMBERS = ("scale_sd", "logit_center", "theta_sd", "n_markets")


@dataclass(frozen=True)
class LearnerSettings:
    """Which few-shot method over which network; enough to build both again."""

    learner: str
    inner_lr: float
    inner_steps: int
    n_members: int
    widths: tuple[int, ...]
    options: tuple[tuple[str, bool | float], ...] = ()

    def network(self, n_inputs: int) -> Ensemble:
        return Ensemble(n_inputs, self.widths, self.n_members)

    def build(self, n_inputs: int, inner_steps: int | None = None) -> Learner:
        """Make the learner; ``inner_steps`` overrides the trained number."""
        steps = self.inner_steps if inner_steps is None else inner_steps
        return build_learner(
            self.learner,
            self.network(n_inputs),
            binary_cross_entropy,
            inner_lr=self.inner_lr,
            inner_steps=steps,
            options=dict(self.options),
        )


@dataclass(frozen=True)
class Theta:
    """What mature markets taught: everything a new market needs, and nothing about any single account.

    params: the learner's theta; level_prior, effects: how markets differ; strength: how much of a move to keep;
    profiles: what each column looks like in source markets; reference_row_ids: source rows that may complete a support
    of defaulters alone; expected: what adapting was worth to held-out source markets, empty where it was not kept;
    imputer: fills what accounts do not give, None where missing is a state of its own.
    """

    schema_sha256: str
    settings: LearnerSettings
    encoder: Encoder
    params: Params
    level_prior: LevelPrior
    effects: EffectsPrior
    strength: Strength
    profiles: ColumnProfiles
    reference_row_ids: tuple[int, ...] = ()
    expected: tuple[ExpectedGain, ...] = ()
    imputer: FittedImputer | None = None

    @cached_property
    def reading(self) -> Reading:
        return Reading(self.encoder, self.imputer)

    def learner(self, inner_steps: int | None = None) -> Learner:
        return self.settings.build(self.encoder.n_features, inner_steps)

    def informed_by(self, level_prior: LevelPrior, effects: EffectsPrior) -> "Theta":
        """Take in what held-out markets taught about how markets differ."""
        slots = torch.from_numpy(effects.slots)
        empty = torch.zeros(self.encoder.n_features, dtype=torch.float64)
        prior = {
            "center": empty.index_copy(0, slots, torch.from_numpy(effects.center)),
            "slope_sd": empty.index_copy(0, slots, torch.from_numpy(effects.slope_sd)),
            "logit_center": torch.tensor([effects.logit_center]),
            "scale_sd": torch.tensor([effects.scale_sd]),
        }
        params = self.learner().informed_by(self.params, prior)
        return replace(self, params=params, level_prior=level_prior, effects=effects)

    def at_rest(self) -> Params:
        """Give the theta_prime that has seen nothing: theta's own weights, the level most likely beforehand."""
        return with_level(self.learner().at_rest(self.params), self.level_prior.mean)

    def posterior_at_rest(self) -> Posterior:
        """What is known of a market before it has posted anything."""
        return Posterior.before_rows(self.effects, self.level_prior.sd * self.effects.widening)

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
        tensors |= {f"effects.{n}": torch.from_numpy(getattr(self.effects, n)) for n in EFFECT_ARRAYS}
        tensors |= {f"profiles.{n}": torch.from_numpy(v) for n, v in self.profiles.arrays().items()}
        if self.imputer is not None:
            tensors |= {f"imputer.{n}": torch.from_numpy(v) for n, v in self.imputer.arrays().items()}
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
            "effects": {name: getattr(self.effects, name) for name in EFFECT_NUMBERS},
            "typical": self.profiles.typical,
            "expected": [asdict(row) for row in self.expected],
        } | self._imputer_metadata()

    def _imputer_metadata(self) -> dict[str, Any]:
        if self.imputer is None:
            return {}
        return {"imputer": {"name": self.imputer.name, "settings": self.imputer.settings()}}

    @classmethod
    def unpack(cls, content: bytes, expected_sha256: str, schema_sha256: str) -> "Theta":
        """Read what ``pack`` wrote.

        Raises:  CorruptArtifact: a byte has changed, the content is no theta, or it belongs to another schema.
        """
        tensors, metadata = unpack(content, expected_sha256)
        require_kind(metadata, "theta")
        if metadata["schema_sha256"] != schema_sha256:
            raise CorruptArtifact(f"theta was learned on schema {metadata['schema_sha256']}, not on {schema_sha256}")
        settings = metadata["settings"] | {"widths": tuple(metadata["settings"]["widths"])}
        settings["options"] = tuple((name, value) for name, value in settings.get("options", ()))
        strength = {name: tuple(values) for name, values in metadata["strength"].items()}
        arrays = {n: t.numpy() for n, t in tensors.items()}
        encoder = _encoder_from(arrays, metadata)
        return cls(
            schema_sha256=schema_sha256,
            settings=LearnerSettings(**settings),
            encoder=encoder,
            params={n.removeprefix("params."): t for n, t in tensors.items() if n.startswith("params.")},
            level_prior=LevelPrior(**metadata["level_prior"]),
            effects=_effects_from(arrays, metadata["effects"]),
            strength=Strength(**strength),
            profiles=ColumnProfiles.from_arrays(_under("profiles.", arrays), metadata["typical"]),
            reference_row_ids=tuple(tensors["reference_row_ids"].tolist()),
            expected=tuple(ExpectedGain(**row) for row in metadata.get("expected", ())),
            imputer=_imputer_from(encoder, arrays, metadata.get("imputer")),
        )


def pack_theta_prime(theta_prime: Params, posterior: Posterior, theta_sha256: str) -> bytes:
    """Serialise one market's weights and what is uncertain about them, bound to the theta they came from."""
    root = {"posterior.root": torch.from_numpy(posterior.root)}
    return pack(theta_prime | root, {"kind": "theta_prime", "theta_sha256": theta_sha256})


def with_level(weights: Params, level: float) -> Params:
    """Add the market's level, shape (1,) float64, to network weights."""
    return {**weights, "level": torch.tensor([level], dtype=torch.float64)}


def theta_sha256(theta: Theta) -> str:
    """Hash a theta's stored form."""
    return sha256(theta.pack())


def require_kind(metadata: Mapping[str, Any], kind: str) -> None:
    """Raises CorruptArtifact where an artifact is of another kind."""
    if metadata.get("kind") != kind:
        raise CorruptArtifact(f"expected a {kind}, found {metadata.get('kind')!r}")


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _effects_from(arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> EffectsPrior:
    slots, center, slope_sd = (arrays[f"effects.{name}"] for name in EFFECT_ARRAYS)
    return EffectsPrior(slots, center, slope_sd, **numbers)


def _imputer_from(
    encoder: Encoder, arrays: Mapping[str, NDArray[Any]], stored: Mapping[str, Any] | None
) -> FittedImputer | None:
    if stored is None:
        return None
    return restore_imputer(stored["name"], layout_of(encoder), _under("imputer.", arrays), stored["settings"])


def _encoder_from(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Encoder:
    edges = arrays["encoder.edges"].copy()
    for row, n_edges in enumerate(arrays["encoder.n_edges"]):
        edges[row, n_edges:] = np.inf
    columns = [
        Column(c["name"], c["kind"], tuple(c["categories"]) if c["categories"] is not None else None, c["direction"])
        for c in metadata["columns"]
    ]
    categories = tuple(tuple(known) for known in metadata["categories"])
    return Encoder(tuple(columns), edges, arrays["encoder.center"], arrays["encoder.scale"], categories)
