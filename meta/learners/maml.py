"""Model-agnostic meta-learning, second order and first order.

Source: Finn, Abbeel, Levine 2017, arXiv:1703.03400, Algorithm 2; ``first_order`` is the approximation of its
section 5.2. Deviations: the outer update is left to the trainer's optimiser (Adam in the authors' code, too).
"""

from dataclasses import dataclass

from meta.functional import StepSizes
from meta.learners.gradient_based import GradientBased
from meta.types import Params, SupportSet


@dataclass(frozen=True)
class Maml(GradientBased):
    """theta is the network's starting weights; every weight moves by the same alpha."""

    def step_sizes(self, theta: Params, support: SupportSet) -> StepSizes:
        return self.inner_lr
