"""CAVIA: a task is a few context parameters, further inputs of the network; they alone move in the inner loop.

Source: Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019, arXiv:1810.03642, section 3.1: inner update of the context
phi from 0, outer update of the shared parameters through it; the context is concatenated to the input.
Deviations: a constant input acts as a bias, so the context is kept as what it adds to the first layer's biases: phi @
context_w, which makes a theta_prime plain weights. Members of an ensemble share one phi and have context weights
of their own, after their scalings: an Ensemble whose inputs had been longer from the start would scale the same rows
of its first matrix for each member.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from meta.functional import inner_loop, per_task, task_losses
from meta.learners.protocol import NET, OuterGradient, meta_gradient, named, under
from meta.nets import Network
from meta.types import Episode, LossFn, Params, SupportSet

FIRST_BIAS = "b0"


@dataclass(frozen=True)
class Cavia:
    """theta holds ``net.*`` (weights) and ``context_w`` (n_context, *shape of the first layer's biases).

    theta_prime: the network's weights, the context folded into the first layer's biases ``b0``. A ``context_scale``
    other than the paper's 1 multiplies what the context adds: on credit, where a dozen defaults pull weakly, contexts
    move too little else, and weights drawn larger would hardly be learned.
    """

    network: Network
    loss_fn: LossFn
    inner_lr: float
    inner_steps: int
    n_context: int = 8
    context_scale: float = 1.0
    first_order: bool = False

    def init(self, generator: torch.Generator) -> Params:
        return self.start_from(self.network.init(generator), generator)

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        """Draw the context's weights as those of the other inputs of a linear layer: U(+-1 / sqrt(fan in))."""
        bias = weights[FIRST_BIAS]
        bound = 1.0 / math.sqrt(self.network.n_inputs + self.n_context)
        drawn = (torch.rand((self.n_context, *bias.shape), generator=generator) * 2 - 1) * bound
        return named(NET, weights) | {"context_w": drawn.to(bias)}

    def informed_by(self, theta: Params, prior: Mapping[str, Tensor]) -> Params:
        return theta

    def at_rest(self, theta: Params) -> Params:
        return under(NET, theta)

    def adapt(self, theta: Params, support: SupportSet) -> Params:
        context = self.context(theta, support, first_order=True)
        with torch.no_grad():
            return per_task(self.at_rest(theta), len(support.x)) | self._folded(theta, context)

    def predict(self, theta_prime: Params, x: Tensor) -> Tensor:
        return self.network.readout(self.network.forward(theta_prime, x))

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        """Differentiate the query loss by the shared parameters, through the context's inner loop."""

        def meta_loss(start: Params) -> Tensor:
            context = self.context(start, episode.support, first_order=self.first_order)
            fast = self.at_rest(start) | self._folded(start, context)
            return task_losses(self.network.forward, fast, episode.query, self.loss_fn).mean()

        return meta_gradient(meta_loss, theta)

    def context(self, theta: Params, support: SupportSet, *, first_order: bool) -> Tensor:
        """phi of every task, (n_tasks, n_context): from 0 by ``inner_steps`` steps down the support's loss."""
        shared = self.at_rest(theta)

        def forward(fast: Params, x: Tensor) -> Tensor:
            return self.network.forward(shared | self._folded(theta, fast["context"]), x)

        start = {"context": theta["context_w"].new_zeros(len(support.x), self.n_context)}
        return inner_loop(
            start,
            support,
            forward=forward,
            loss_fn=self.loss_fn,
            inner_lr=self.inner_lr,
            inner_steps=self.inner_steps,
            first_order=first_order,
        )["context"]

    def _folded(self, theta: Params, context: Tensor) -> Params:
        """The first layer's biases of every task, (n_tasks, ...)."""
        added = torch.tensordot(context * self.context_scale, theta["context_w"], dims=1)
        return {FIRST_BIAS: theta[f"net.{FIRST_BIAS}"] + added}
