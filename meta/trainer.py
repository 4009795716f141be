"""The outer loop: it asks for gradients, steps an optimiser, stops early, reports and checkpoints.

It knows no learner by name: whatever yields (loss, gradient) of theta at a step can be trained, pooled rows and
meta-batches alike. Everything random is drawn from (seed, step), so a run resumed at a checkpoint ends in the same
bits as one that was never interrupted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from meta.errors import InvalidRecipe, TrainingDiverged
from meta.learners.protocol import OuterGradient
from meta.products import quick_products
from meta.types import Params

GradientAt = Callable[[Params, int], OuterGradient]
Validate = Callable[[Params], float]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: ``n_steps`` of AdamW at ``lr``, decayed by half a cosine to zero after ``warmup``.

    Every ``validate_every`` steps the validation loss is taken; after ``patience`` takes without a new best the run
    stops. With ``averaging`` > 0 the result is not the
    last theta but a running average of it, in which a step's weight fades by that factor a step (Polyak averaging:
    noise of single batches cancels).
    """

    n_steps: int
    lr: float
    weight_decay: float = 0.0
    validate_every: int = 50
    patience: int = 6
    clip_norm: float = 10.0
    warmup: int = 0
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if self.n_steps < 0 or self.validate_every < 1 or self.patience < 1:
            raise InvalidRecipe("n_steps must be >= 0, validate_every and patience >= 1")
        if not self.lr > 0:
            raise InvalidRecipe(f"lr must be positive, got {self.lr}")

    def lr_at(self, step: int) -> float:
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        return warm * self.lr * 0.5 * (1 + math.cos(math.pi * step / max(self.n_steps, 1)))

    def ending_at(self, step: int) -> "Schedule":
        """Plan a whole run, decay and all, that walks as far (sum of step sizes) as this one had at ``step``."""
        walked = sum(self.lr_at(s) for s in range(step)) / self.lr
        return replace(self, n_steps=min(round(2 * walked), self.n_steps))


@dataclass
class TrainerState:
    """Everything a resumed run needs.

    theta: where the optimiser stands; average: its running average; best: the average with the lowest validation loss.
    """

    step: int
    theta: Params
    average: Params
    best: Params
    best_loss: float = math.inf
    best_step: int = 0
    waited: int = 0
    first_moment: Params = field(default_factory=dict)
    second_moment: Params = field(default_factory=dict)
    done: bool = False

    @classmethod
    def at_start(cls, theta: Params) -> "TrainerState":
        theta = {name: value.detach().clone() for name, value in theta.items()}
        zeros = {name: torch.zeros_like(value) for name, value in theta.items()}
        return cls(
            0,
            theta,
            dict(theta),
            dict(theta),
            first_moment=zeros,
            second_moment={n: z.clone() for n, z in zeros.items()},
        )


@dataclass(frozen=True)
class StepReport:
    """What a listener hears after a step; ``validation_loss`` is the latest taken, None before the first."""

    step: int
    n_steps: int
    loss: float
    validation_loss: float | None


@quick_products()
def train(
    state: TrainerState,
    gradient_at: GradientAt,
    schedule: Schedule,
    *,
    validate: Validate | None = None,
    on_step: Callable[[StepReport, TrainerState], None] = lambda report, state: None,
) -> TrainerState:
    """Run the outer loop from ``state`` to its end; the result is ``best`` (the last theta without ``validate``).

    ``on_step`` is called after every step with a state that may be saved and handed in again.
    Raises:  TrainingDiverged: the loss or a gradient became NaN or infinite.
    """
    if validate is not None and state.step == 0:
        _keep_best(state, validate(state.average), schedule.patience)
    validation_loss = None if validate is None else state.best_loss
    while state.step < schedule.n_steps and not state.done:
        loss, gradient = gradient_at(state.theta, state.step)
        _adamw_step(state, gradient, float(loss), schedule)
        state.step += 1
        _take_average(state, schedule.averaging)
        if validate is None:
            state.best, state.best_step = state.average, state.step
        elif state.step % schedule.validate_every == 0 or state.step == schedule.n_steps:
            validation_loss = validate(state.average)
            _keep_best(state, validation_loss, schedule.patience)
        on_step(StepReport(state.step, schedule.n_steps, float(loss), validation_loss), state)
    state.done = True
    return state


def _keep_best(state: TrainerState, validation_loss: float, patience: int) -> None:
    if validation_loss < state.best_loss:
        state.best, state.best_loss, state.best_step, state.waited = state.average, validation_loss, state.step, 0
    else:
        state.waited += 1
        state.done = state.waited >= patience


@torch.no_grad()
def _take_average(state: TrainerState, fading: float) -> None:
    """Move the average towards theta; early on by more, so that the starting weights are soon forgotten."""
    share = max(1.0 - fading, 1.0 / state.step)
    state.average = {n: torch.lerp(state.average[n], value, share) for n, value in state.theta.items()}


@torch.no_grad()
def _adamw_step(state: TrainerState, gradient: Params, loss: float, schedule: Schedule) -> None:
    """One AdamW update with decoupled decay of matrices only (Loshchilov & Hutter 2019, arXiv:1711.05101)."""
    names = sorted(gradient)
    grads = [gradient[name] for name in names]
    norm = float(torch.nn.utils.get_total_norm(grads))
    if not math.isfinite(norm) or not math.isfinite(loss):
        raise TrainingDiverged(f"outer step {state.step}: loss {loss}, gradient norm {norm}; lower the step sizes")
    scale = min(1.0, schedule.clip_norm / (norm + 1e-12))
    lr, t = schedule.lr_at(state.step), state.step + 1
    theta = [state.theta[name].clone() for name in names]
    first = [state.first_moment[name] for name in names]
    second = [state.second_moment[name] for name in names]
    grads = list(torch._foreach_mul(grads, scale))
    torch._foreach_lerp_(first, grads, 0.1)
    torch._foreach_mul_(second, 0.999)
    torch._foreach_addcmul_(second, grads, grads, 0.001)
    if schedule.weight_decay:
        torch._foreach_mul_([v for v in theta if v.dim() >= 2], 1.0 - lr * schedule.weight_decay)
    root = torch._foreach_sqrt(torch._foreach_div(second, 1.0 - 0.999**t))
    torch._foreach_add_(root, 1e-8)
    torch._foreach_addcdiv_(theta, torch._foreach_div(first, 1.0 - 0.9**t), root, -lr)
    state.theta = dict(zip(names, theta, strict=True))
