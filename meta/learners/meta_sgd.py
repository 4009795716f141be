"""Meta-SGD: the step size and direction of every single parameter is learned with the starting weights.

Source: Li, Zhou, Chen, Li 2017, arXiv:1707.09835, Algorithm 1 and Eq. 3.
Deviations: alpha starts at ``inner_lr`` everywhere (the paper draws it from [0.005, 0.1]), and with
``by_evidence`` a parameter tensor's steps are multiplied by n_defaults / (n_defaults + h), h > 0 learned per tensor:
a step that suits 100 defaults harms at 5.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from meta.functional import StepSizes
from meta.learners.gradient_based import GradientBased
from meta.learners.protocol import NET, named, under
from meta.types import Params, SupportSet

START_HALF_POINT = 20.0  # defaults at which a step starts at half its full length
SCALE = 10.0  # learned step sizes are kept so small that an outer step of 0.001 changes them by about one percent


@dataclass(frozen=True)
class MetaSgd(GradientBased):
    """theta holds ``net.*`` (weights), ``lr.*`` (alpha / inner_lr / SCALE, in the weights' shapes) and
    ``log_h.*`` (ln h / SCALE, one number each).
    """

    by_evidence: bool = False

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        theta = named(NET, weights)
        theta |= {f"lr.{name}": torch.full_like(value, 1.0 / SCALE) for name, value in weights.items()}
        if self.by_evidence:
            theta |= {
                f"log_h.{name}": value.new_tensor(math.log(START_HALF_POINT) / SCALE) for name, value in weights.items()
            }
        return theta

    def network_part(self, theta: Params) -> Params:
        return under(NET, theta)

    def step_sizes(self, theta: Params, support: SupportSet) -> StepSizes:
        weights = self.network_part(theta)
        alpha = {name: theta[f"lr.{name}"] * (SCALE * self.inner_lr) for name in weights}
        if not self.by_evidence:
            return alpha
        return {n: alpha[n] * self._share(theta[f"log_h.{n}"], support, weights[n]) for n in weights}

    @staticmethod
    def _share(log_h: Tensor, support: SupportSet, weight: Tensor) -> Tensor:
        """Give n_defaults / (n_defaults + h) per task, shaped to multiply (n_tasks, *weight.shape)."""
        n_defaults = support.n_defaults
        share = n_defaults / (n_defaults + (SCALE * log_h).exp())
        return share.reshape(-1, *[1] * weight.dim())
