"""The outer loop: convergence, early stopping, divergence, and resuming to the same bits."""

import pytest
import torch

from meta.errors import InvalidRecipe, TrainingDiverged
from meta.learners.protocol import OuterGradient
from meta.trainer import Schedule, TrainerState, train
from meta.types import Params

TARGET = torch.tensor([1.0, -2.0])


def gradient_at(theta: Params, step: int) -> OuterGradient:
    noise = torch.randn(2, generator=torch.Generator().manual_seed(step)) * 0.1
    error = theta["w"] - TARGET
    return OuterGradient(error.square().sum(), {"w": 2 * error + noise})


def start() -> TrainerState:
    return TrainerState.at_start({"w": torch.zeros(2)})


def test_reaches_the_optimum() -> None:
    state = train(start(), gradient_at, Schedule(400, 0.05))
    torch.testing.assert_close(state.best["w"], TARGET, atol=0.05, rtol=0)


def test_steps_as_torchs_adamw_does() -> None:
    weights = torch.zeros(2, 2, requires_grad=True)
    optimiser = torch.optim.AdamW([weights], lr=0.1, weight_decay=0.5)
    schedule = Schedule(1000, 0.1, weight_decay=0.5)
    state = TrainerState.at_start({"w": torch.zeros(2, 2)})
    gradients = [torch.randn(2, 2, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    for step, gradient in enumerate(gradients):
        optimiser.param_groups[0]["lr"] = schedule.lr_at(step)
        weights.grad = gradient
        optimiser.step()
    stopped = Schedule(1000, 0.1, weight_decay=0.5, stop_at=3)
    train(state, lambda theta, step: OuterGradient(torch.tensor(0.0), {"w": gradients[step]}), stopped)
    torch.testing.assert_close(state.theta["w"], weights.detach())


def test_stops_early_and_keeps_the_best() -> None:
    losses = iter([5.0, 3.0, 4.0, 4.5, 9.0, 9.0])
    seen = []
    state = train(
        start(),
        gradient_at,
        Schedule(100, 0.05, validate_every=10, patience=2),
        validate=lambda theta: next(losses),
        on_step=lambda report, state: seen.append(state.theta["w"]),
    )
    assert (state.step, state.best_step, state.best_loss) == (30, 10, 3.0)
    assert torch.equal(state.best["w"], seen[9])


def test_no_step_is_among_the_candidates() -> None:
    losses = iter([1.0, 2.0, 2.0, 2.0])
    state = train(start(), gradient_at, Schedule(30, 0.05, validate_every=10), validate=lambda theta: next(losses))
    assert state.best_step == 0
    assert torch.equal(state.best["w"], torch.zeros(2))


def test_resumes_to_the_same_bits() -> None:
    whole = train(start(), gradient_at, Schedule(60, 0.05))
    half = train(start(), gradient_at, Schedule(60, 0.05, stop_at=25))
    half.done = False
    resumed = train(half, gradient_at, Schedule(60, 0.05))
    assert torch.equal(resumed.theta["w"], whole.theta["w"])


def test_divergence_is_an_error() -> None:
    broken = OuterGradient(torch.tensor(float("nan")), {"w": torch.ones(2)})
    with pytest.raises(TrainingDiverged, match="outer step 0: loss nan"):
        train(start(), lambda theta, step: broken, Schedule(5, 0.1))


@pytest.mark.parametrize("bad", [{"n_steps": -1}, {"lr": 0.0}, {"patience": 0}, {"validate_every": 0}])
def test_bad_schedules_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidRecipe):
        Schedule(**({"n_steps": 5, "lr": 0.1} | bad))
