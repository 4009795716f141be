"""A portfolio small enough to work by hand, and a theta that knows its true PDs: its network is exactly linear."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas
import torch

from meta.adaptation import MarketRows
from meta.columns import fit_profiles
from meta.effects import EffectsPrior
from meta.features import Encoder, fit_encoder
from meta.level import LevelPrior
from meta.serving import ServedModel, served_model
from meta.source import column_values
from meta.strength import Strength
from meta.thetas import LearnerSettings, Theta
from meta.types import Column, Params

TOY_COLUMNS = (
    Column("debt", "numeric", None, "increases"),
    Column("job", "categorical", ("clerk", "nurse")),
    Column("income", "numeric", None, "decreases"),
)
WEIGHTS = {"debt": 1.5, "income": -1.0}
BIAS = -1.5
PRIOR = LevelPrior(mean=0.0, sd=0.3, base_rate=0.25, declared_sd=0.15)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits))


def toy_source(n_markets: int = 8, n_rows: int = 300, seed: int = 0) -> pandas.DataFrame:
    """Draw source rows: debt in shares, income in currency; a row's logit follows WEIGHTS."""
    rng = np.random.default_rng(seed)
    n = n_markets * n_rows
    z = rng.normal(size=(n, 2))
    market = np.repeat([f"M{i}" for i in range(n_markets)], n_rows)
    pd = sigmoid(BIAS + WEIGHTS["debt"] * z[:, 0] + WEIGHTS["income"] * z[:, 1])
    return pandas.DataFrame(
        {
            "row_id": np.arange(n),
            "market": market,
            "defaulted": rng.random(n) < pd,
            "debt": 0.5 + 0.1 * z[:, 0],
            "job": rng.choice(["clerk", "nurse"], n),
            "income": 3000.0 + 500.0 * z[:, 1],
        }
    )


def linear_network(encoder: Encoder, weights: Mapping[str, float], bias: float) -> Params:
    """One member whose logit is bias + sum of weight * scaled value: a pair of ReLUs, of which one is at work."""
    along = torch.zeros(encoder.n_features, 1)
    for name, weight in weights.items():
        along[slot_of(encoder, name)] = weight
    return {
        "r": torch.ones(1, encoder.n_features),
        "w0": torch.cat([along, -along], dim=1),
        "s0": torch.ones(1, 2),
        "b0": torch.zeros(1, 2),
        "head_w": torch.tensor([[1.0, -1.0]]),
        "head_b": torch.tensor([bias]),
        "wide": torch.zeros(encoder.n_features),
    }


def slot_of(encoder: Encoder, name: str) -> int:
    """The slot of a numeric column's scaled value."""
    owner = encoder.column_names.index(name)
    return int(np.flatnonzero((encoder.column_of_slot == owner) & (encoder.kind_of_slot == "scaled"))[0])


def toy_theta(
    learner: str = "map_bayes", slope_sd: float = 0.1, scale_sd: float = 0.1, source: pandas.DataFrame | None = None
) -> Theta:
    """A theta that has the true weights; markets' effects have the sds given."""
    source = toy_source() if source is None else source
    encoder = fit_encoder(TOY_COLUMNS, source)
    x = encode(encoder, source)
    settings = LearnerSettings(learner, inner_lr=1.0, inner_steps=6, n_members=1, widths=(2,))
    effects = EffectsPrior.uninformed(encoder, x)
    effects = replace(
        effects, slope_sd=np.full(len(effects.slots), slope_sd), scale_sd=scale_sd, logit_center=BIAS, theta_sd=0.05
    )
    params = settings.build(encoder.n_features).start_from(
        linear_network(encoder, WEIGHTS, BIAS), torch.Generator().manual_seed(0)
    )
    profiles = fit_profiles(encoder, source, seed=0)
    strength = Strength((5.0,), (1.0,))
    theta = Theta("5" * 64, settings, encoder, params, PRIOR, effects, strength, profiles, (1, 2, 3))
    return theta.informed_by(PRIOR, effects)


def encode(encoder: Encoder, frame: pandas.DataFrame) -> np.ndarray:
    return encoder.encode({c.name: column_values(c, frame[c.name]) for c in encoder.columns})


@dataclass(frozen=True)
class Posted:
    """A support as posted and as encoded; moves: what its market adds to theta's logits of encoded rows, if drawn."""

    columns: Mapping[str, Sequence[Any]]
    rows: MarketRows
    moves: Callable[[np.ndarray], np.ndarray] = lambda x: np.zeros(len(x))


def toy_logits(theta: Theta, x: np.ndarray) -> np.ndarray:
    """theta's true logits of encoded rows."""
    return BIAS + sum(weight * x[:, slot_of(theta.encoder, name)] for name, weight in WEIGHTS.items())


def honest_support(theta: Theta, n_rows: int, rng: np.random.Generator, level: float | None = None) -> Posted:
    """Draw a support from a market whose level and effects are drawn from theta's own priors."""
    z = rng.normal(size=(n_rows, 2))
    columns = {
        "debt": (0.5 + 0.1 * z[:, 0]).tolist(),
        "job": rng.choice(["clerk", "nurse"], n_rows).tolist(),
        "income": (3000.0 + 500.0 * z[:, 1]).tolist(),
    }
    x = theta.encoder.encode(columns)
    effects = theta.effects.sds * rng.normal(size=len(theta.effects.sds))
    own_level = theta.level_prior.sd * rng.normal() if level is None else level

    def moves(x: np.ndarray) -> np.ndarray:
        return own_level + theta.effects.directions(toy_logits(theta, x), x) @ effects

    y = (rng.random(n_rows) < sigmoid(toy_logits(theta, x) + moves(x))).astype(np.float64)
    return Posted(columns, MarketRows(x, y, "random"), moves)


def picked(columns: Mapping[str, Sequence[Any]], rows: Iterable[int]) -> dict[str, list[Any]]:
    """Some of these accounts, in this order."""
    return {name: [values[int(i)] for i in rows] for name, values in columns.items()}


def model_of(theta: Theta, theta_prime: Params) -> ServedModel:
    """The served model of a theta_prime that was never stored."""
    return served_model(theta, {n: v.numpy() for n, v in theta_prime.items()}, theta.posterior_at_rest())


def pd_of(theta: Theta, theta_prime: Params, x: np.ndarray) -> np.ndarray:
    """PDs of encoded rows under a theta_prime, as they are served."""
    return sigmoid(model_of(theta, theta_prime).logits(x))
