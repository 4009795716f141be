"""MAML++: MAML with two stabilisers, a loss at every inner step and a learned step size per layer and step.

Source: Antoniou, Edwards, Storkey 2019, arXiv:1810.09502, section 4: "Multi-Step Loss Optimization" and "Learning
Per-Layer Per-Step Learning Rates" (LSLR).
Deviations: the importances are annealed in tenths of ``annealing_share`` of the outer steps (so that few gradients are
compiled), and not at all unless it is set; of the annealed derivative order there is ``first_order`` alone, which stays
what it is. A "layer" is a tensor: a matrix and its bias have a size each, as in the
authors' code. Step sizes are learned in units of ``inner_lr``, see ``SCALE``. Cosine annealing of the outer step is
the trainer's; the three changes to batch normalisation have no place in networks without any.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from meta.errors import InvalidRecipe
from meta.functional import StepSizes, inner_step, per_task, task_losses
from meta.learners.gradient_based import GradientBased
from meta.learners.protocol import NET, OuterGradient, meta_gradient, named, under
from meta.types import Episode, Params, SupportSet

SCALE = 10.0  # learned step sizes are kept so small that an outer step of 0.001 changes them by about one percent


@dataclass(frozen=True)
class MamlPlusPlus(GradientBased):
    """theta holds ``net.*`` (weights) and ``lr.*`` (inner_steps,): each tensor's alpha / inner_lr / SCALE by step.

    multi_step_loss: pay for the query after every inner step, not only after the last; annealing_share: of the outer
    steps, over which the importances go from all alike to the last alone, 0 if they stay; annealed: how far they have
    gone, 0 = all steps count alike, 1 = the last alone does; per_step_sizes: learn the step sizes, else ``inner_lr`` is
    all of them.
    """

    multi_step_loss: bool = True
    per_step_sizes: bool = True
    annealed: float = 0.0
    annealing_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("annealed", "annealing_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidRecipe(f"{name} must be between 0 and 1, got {getattr(self, name)}")

    def at_progress(self, progress: float) -> Self:
        if not self.annealing_share:
            return self
        return replace(self, annealed=min(math.floor(10 * progress / self.annealing_share) / 10, 1.0))

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        theta = named(NET, weights)
        if self.per_step_sizes:
            theta |= {f"lr.{name}": v.new_full((self.inner_steps,), 1.0 / SCALE) for name, v in weights.items()}
        return theta

    def network_part(self, theta: Params) -> Params:
        return under(NET, theta)

    def step_sizes(self, theta: Params, support: SupportSet) -> StepSizes:
        return self.step_sizes_at(theta, 0)

    def step_sizes_at(self, theta: Params, step: int) -> StepSizes:
        """Say how far each tensor moves in inner step ``step``; beyond those learned, as far as in the last one."""
        if not self.per_step_sizes:
            return self.inner_lr
        alphas = under("lr.", theta)
        return {name: alpha[min(step, len(alpha) - 1)] * (SCALE * self.inner_lr) for name, alpha in alphas.items()}

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        """Differentiate sum over i of v_i L(theta_i), where theta_i are the weights after i of the inner steps."""

        def meta_loss(start: Params) -> Tensor:
            path = self._path(start, episode.support, first_order=self.first_order)
            paid = zip(self.importances(), path, strict=True)
            losses = [
                v * task_losses(self.network.forward, fast, episode.query, self.loss_fn).mean() for v, fast in paid if v
            ]
            return torch.stack(losses).sum()

        return meta_gradient(meta_loss, theta)

    def importances(self) -> list[float]:
        """The v_i of the weights before any step (0 unless there is none) and after each; they add up to 1."""
        n = self.inner_steps
        early = (1.0 - self.annealed) / n if n and self.multi_step_loss else 0.0
        return [0.0] * min(n, 1) + [early] * (n - 1) + [1.0 - early * max(n - 1, 0)]

    def _fast_weights(self, theta: Params, support: SupportSet, *, first_order: bool) -> Params:
        *_, last = self._path(theta, support, first_order=first_order)
        return last

    def _path(self, theta: Params, support: SupportSet, *, first_order: bool) -> Iterator[Params]:
        """Walk the inner loop: the weights at its start, then after every step."""
        fast = per_task(self.network_part(theta), len(support.x))
        yield fast
        for step in range(self.inner_steps):
            fast = inner_step(
                fast,
                support,
                forward=self.network.forward,
                loss_fn=self.loss_fn,
                inner_lr=self.step_sizes_at(theta, step),
                first_order=first_order,
            )
            yield fast
