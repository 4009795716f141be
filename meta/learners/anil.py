"""Almost no inner loop: only the head adapts to the task, the body is shared.

Source: Raghu, Raghu, Bengio, Vinyals 2019, arXiv:1909.09157, section 4. Deviations: none.
"""

from dataclasses import dataclass

import torch

from meta.functional import StepSizes
from meta.learners.gradient_based import GradientBased
from meta.types import Params, SupportSet


@dataclass(frozen=True)
class Anil(GradientBased):
    """MAML whose inner loop moves the network's last layer alone; the outer loop still moves everything."""

    def step_sizes(self, theta: Params, support: SupportSet) -> StepSizes:
        return {name: torch.full_like(theta[name], self.inner_lr) for name in self.network.head}
