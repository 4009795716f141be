"""What MAML and its relatives share: fast weights by an inner loop, an outer gradient through it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from meta.functional import StepSizes, inner_loop, per_task, task_losses
from meta.learners.protocol import OuterGradient, meta_gradient
from meta.nets import Network
from meta.types import Episode, LossFn, Params, SupportSet


@dataclass(frozen=True)
class GradientBased(ABC):
    """A learner whose theta_prime is the network's weights after ``inner_steps`` gradient steps.

    A subclass says which parameters move and how far (``step_sizes``); it may keep more in theta than the network
    (``network_part`` picks the network's tensors out).
    """

    network: Network
    loss_fn: LossFn
    inner_lr: float
    inner_steps: int
    first_order: bool = False

    @abstractmethod
    def step_sizes(self, theta: Params, support: SupportSet) -> StepSizes:
        """Say how far each parameter moves against its gradient."""

    def network_part(self, theta: Params) -> Params:
        """Pick the network's own tensors out of theta."""
        return theta

    def init(self, generator: torch.Generator) -> Params:
        return self.start_from(self.network.init(generator), generator)

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        return weights

    def informed_by(self, theta: Params, prior: Mapping[str, Tensor]) -> Params:
        return theta

    def at_rest(self, theta: Params) -> Params:
        return self.network_part(theta)

    def adapt(self, theta: Params, support: SupportSet) -> Params:
        return self._fast_weights(theta, support, first_order=True)

    def predict(self, theta_prime: Params, x: Tensor) -> Tensor:
        return self.network.readout(self.network.forward(theta_prime, x))

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        def meta_loss(start: Params) -> Tensor:
            fast = self._fast_weights(start, episode.support, first_order=self.first_order)
            return task_losses(self.network.forward, fast, episode.query, self.loss_fn).mean()

        return meta_gradient(meta_loss, theta)

    def _fast_weights(self, theta: Params, support: SupportSet, *, first_order: bool) -> Params:
        return inner_loop(
            per_task(self.network_part(theta), len(support.x)),
            support,
            forward=self.network.forward,
            loss_fn=self.loss_fn,
            inner_lr=self.step_sizes(theta, support),
            inner_steps=self.inner_steps,
            first_order=first_order,
        )
