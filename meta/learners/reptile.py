"""Reptile: move theta towards where each task's own training ends; no query set, no second derivative.

Source: Nichol, Achiam, Schulman 2018, arXiv:1803.02999, Algorithm 2 (batched) with the serial inner loop of
plain SGD. The returned gradient is theta minus the mean of the adapted weights, divided by alpha times the number
of steps: the form that an adaptive outer optimiser takes.
Deviations: every inner step takes all rows of a task, support and query alike, where the paper's take another
minibatch each, so that no order of rows and no draw of them moves a result. What its section 5.1 finds in the second
order, a rise of the inner product of different minibatches' gradients, is thus a rise of one gradient's product with
itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from meta.functional import StepSizes, task_losses
from meta.learners.gradient_based import GradientBased
from meta.learners.protocol import OuterGradient
from meta.types import Episode, LabelledRows, Params, SupportSet


@dataclass(frozen=True)
class Reptile(GradientBased):
    """theta is the network's starting weights; training adapts on all rows of a task, support and query alike."""

    def step_sizes(self, theta: Params, support: SupportSet) -> StepSizes:
        return self.inner_lr

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        everything = _joined(episode.support, episode.query)
        fast = self._fast_weights(theta, everything, first_order=True)
        with torch.no_grad():
            loss = task_losses(self.network.forward, fast, everything, self.loss_fn).mean()
            length = self.inner_lr * max(self.inner_steps, 1)
            return OuterGradient(loss, {n: (theta[n] - fast[n].mean(0)) / length for n in theta})


def _joined(support: LabelledRows, query: LabelledRows) -> LabelledRows:
    def along_rows(a: Tensor, b: Tensor, rows_dim: int) -> Tensor:
        return torch.cat([a, b], dim=rows_dim)

    return LabelledRows(
        along_rows(support.x, query.x, -2),
        along_rows(support.y, query.y, -1),
        along_rows(support.mask, query.mask, -1),
        along_rows(support.offset, query.offset, -1),
    )
