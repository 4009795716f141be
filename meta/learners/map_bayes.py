"""Hierarchical Bayes: a market's effects are random, theta holds their mean and spread, adapting finds their mode.

The statistician's entry: what gradient-based meta-learning approximates by a few steps from a learned start (Grant et
al. 2018, arXiv:1801.08930), done by Newton's method on the posterior itself, which a few dozen effects allow. The
network stays theta's; a market moves the scale of its logit and one slope for each of some inputs.

Source: Laird & Ware 1982, Biometrics 38(4), for the model; Newton steps as in Rasmussen & Williams 2006, section 3.4.
Deviations: a step is shortened where it would move any row's logit by more than MAX_LEAP; the level, which is
everybody's (``meta.level``), has a normal prior of LEVEL_SD around the support's offset while effects are sought.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from meta.learners.protocol import NET, OuterGradient, meta_gradient, named, under
from meta.nets import Network
from meta.types import Episode, LossFn, Params, SupportSet

LEVEL_SD = 0.3  # logits
MAX_LEAP = 2.0  # logits
FIRST_SD = 0.1  # before source markets have said how far markets differ
EFFECTS = ("slope", "scale", "shift")


@dataclass(frozen=True)
class MapBayes:
    """theta holds ``net.*`` (weights) and ``prior.*``: center and slope_sd (n_inputs,), logit_center and scale_sd (1,).

    theta_prime: the network's weights, ``slope`` (n_inputs,), ``scale`` (1,) and ``shift`` (1,), so that the logit is
    (1 + scale) * network + x @ slope + shift; shift makes up for inputs and logits that are not centred at 0.
    A slope_sd of 0 keeps an input's slope at 0. ``inner_steps`` counts Newton steps; ``inner_lr`` has no part.
    """

    network: Network
    loss_fn: LossFn
    inner_lr: float
    inner_steps: int

    def init(self, generator: torch.Generator) -> Params:
        return self.start_from(self.network.init(generator), generator)

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        like = next(iter(weights.values()))
        n_inputs = self.network.n_inputs
        prior = {
            "center": like.new_zeros(n_inputs),
            "slope_sd": like.new_full((n_inputs,), FIRST_SD),
            "logit_center": like.new_zeros(1),
            "scale_sd": like.new_full((1,), FIRST_SD),
        }
        return named(NET, weights) | {f"prior.{n}": v for n, v in prior.items()}

    def informed_by(self, theta: Params, prior: Mapping[str, Tensor]) -> Params:
        return theta | {f"prior.{name}": value.to(theta[f"prior.{name}"]) for name, value in prior.items()}

    def at_rest(self, theta: Params) -> Params:
        center = theta["prior.center"]
        still = {"slope": torch.zeros_like(center), "scale": center.new_zeros(1), "shift": center.new_zeros(1)}
        return self._weights(theta) | still

    @torch.no_grad()
    def adapt(self, theta: Params, support: SupportSet) -> Params:
        return self._adapted(theta, support)

    def predict(self, theta_prime: Params, x: Tensor) -> Tensor:
        weights = {name: value for name, value in theta_prime.items() if name not in EFFECTS}
        logits = self.network.readout(self.network.forward(weights, x))
        tilt = (x @ theta_prime["slope"].unsqueeze(-1)).squeeze(-1)
        return logits * (1.0 + theta_prime["scale"]) + tilt + theta_prime["shift"]

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        """Differentiate through the Newton steps; the prior is left to ``informed_by``, so its gradient is 0."""
        prior = {name: value for name, value in theta.items() if name.startswith("prior.")}

        def meta_loss(start: Params) -> Tensor:
            fast = self._adapted(start | prior, episode.support)
            logits = self.predict(fast, episode.query.x) + episode.query.offset
            return self.loss_fn(logits.unsqueeze(-1), episode.query.y, episode.query.mask).mean()

        return meta_gradient(meta_loss, theta)

    def _weights(self, theta: Params) -> Params:
        return under(NET, theta)

    def _adapted(self, theta: Params, support: SupportSet) -> Params:
        n_tasks, weights = len(support.x), self._weights(theta)
        logits = self.network.readout(self.network.forward(weights, support.x)).double()
        moving = torch.nonzero(theta["prior.slope_sd"], as_tuple=True)[0]
        sds = torch.cat([theta["prior.scale_sd"], theta["prior.slope_sd"][moving]]).double()
        center, logit_center = theta["prior.center"].double(), theta["prior.logit_center"].double()
        along = torch.cat(
            [(logits - logit_center).unsqueeze(-1), support.x[..., moving].double() - center[moving]], dim=-1
        )
        effects = sds * _mode(along * sds, logits, support, self.inner_steps)
        slope = effects.new_zeros(n_tasks, len(center)).index_copy(-1, moving, effects[:, 1:])
        shift = -(effects[:, :1] * logit_center + (slope @ center).unsqueeze(-1))
        found = {"slope": slope, "scale": effects[:, :1], "shift": shift}
        dtype = support.x.dtype
        still = {name: value.expand(n_tasks, *value.shape) for name, value in weights.items()}
        return still | {name: value.to(dtype) for name, value in found.items()}


def _mode(white: Tensor, logits: Tensor, support: SupportSet, n_steps: int) -> Tensor:
    """Find the posterior's mode by Newton: (n_tasks, k), in units of the sds, from white (n_tasks, n_rows, k)."""
    level = white.new_full((*white.shape[:-1], 1), LEVEL_SD)
    white = torch.cat([level, white], dim=-1)
    base, mask, y = logits + support.offset.double(), support.mask.double(), support.y.double()
    found = white.new_zeros(len(white), white.shape[-1])
    identity = torch.eye(white.shape[-1], dtype=white.dtype, device=white.device)
    for _ in range(n_steps):
        pd = torch.sigmoid(base + (white @ found.unsqueeze(-1)).squeeze(-1))
        slope = (white.mT @ ((y - pd) * mask).unsqueeze(-1)).squeeze(-1) - found
        curvature = (white.mT * (pd * (1.0 - pd) * mask).unsqueeze(-2)) @ white + identity
        step = torch.linalg.solve(curvature, slope)
        leap = ((white @ step.unsqueeze(-1)).squeeze(-1).abs() * mask).amax(-1, keepdim=True) if white.shape[1] else 0.0
        found = found + step * (MAX_LEAP / torch.as_tensor(leap).clamp(min=MAX_LEAP))
    return found[:, 1:]
