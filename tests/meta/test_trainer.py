"""The outer loop: convergence, early stopping, divergence, and resuming to the same bits."""

import pytest
import torch

from meta.errors import InvalidRecipe, TrainingDiverged
from meta.learners.protocol import OuterGradient
from meta.progress import Ledger, Progress
from meta.stages import StageRunner
from meta.trainer import Schedule, StepReport, TrainerState, train
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
    schedule = Schedule(3, 0.1, weight_decay=0.5)
    state = TrainerState.at_start({"w": torch.zeros(2, 2)})
    gradients = [torch.randn(2, 2, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    for step, gradient in enumerate(gradients):
        optimiser.param_groups[0]["lr"] = schedule.lr_at(step)
        weights.grad = gradient
        optimiser.step()
    train(state, lambda theta, step: OuterGradient(torch.tensor(0.0), {"w": gradients[step]}), schedule)
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
    class Killed(Exception):
        pass

    def die(report: StepReport, state: TrainerState) -> None:
        if report.step == 25:
            raise Killed

    schedule = Schedule(60, 0.05, averaging=0.9)
    whole, killed = train(start(), gradient_at, schedule), start()
    with pytest.raises(Killed):
        train(killed, gradient_at, schedule, on_step=die)
    resumed = train(killed, gradient_at, schedule)
    assert torch.equal(resumed.best["w"], whole.best["w"])


def test_averaging_forgets_at_the_given_rate() -> None:
    walked = iter([1.0, 2.0, 4.0])

    def walk(report: StepReport, state: TrainerState) -> None:
        state.theta = {"w": torch.full((2,), next(walked, 0.0))}

    # the average takes in what the step before was moved to: 0 (first), then 1, then 2, at a half each
    state = train(
        start(),
        lambda t, s: OuterGradient(torch.tensor(0.0), {"w": torch.zeros(2)}),
        Schedule(3, 0.1, averaging=0.5),
        on_step=walk,
    )
    torch.testing.assert_close(state.average["w"], torch.full((2,), (0.5 * (0.5 * 0.0 + 0.5 * 1.0) + 0.5 * 2.0)))


def test_a_shorter_run_walks_as_far() -> None:
    plan = Schedule(600, 0.01)
    shorter = plan.ending_at(300)
    assert sum(map(shorter.lr_at, range(shorter.n_steps))) == pytest.approx(sum(map(plan.lr_at, range(300))), rel=0.01)
    assert plan.ending_at(0).n_steps == 0
    assert plan.ending_at(600).n_steps == 600


def test_divergence_is_an_error() -> None:
    broken = OuterGradient(torch.tensor(float("nan")), {"w": torch.ones(2)})
    with pytest.raises(TrainingDiverged, match="outer step 0: loss nan"):
        train(start(), lambda theta, step: broken, Schedule(5, 0.1))


@pytest.mark.parametrize("bad", [{"n_steps": -1}, {"lr": 0.0}, {"patience": 0}, {"validate_every": 0}])
def test_bad_schedules_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidRecipe):
        Schedule(**({"n_steps": 5, "lr": 0.1} | bad))


def test_what_is_done_before_a_stage_is_no_steps_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher of ten minutes before the first step must not make ten minutes of every step to come."""
    now = [0.0]
    monkeypatch.setattr("meta.progress.time.monotonic", lambda: now[0])

    def one_second(theta: Params, step: int) -> OuterGradient:
        now[0] += 1.0
        return gradient_at(theta, step)

    seen: list[Progress] = []
    ledger = Ledger({"pooled rows": 5}, seen.append)
    ledger.announce("the teacher of pooled rows")
    now[0] += 600.0
    stages = StageRunner(None, {}, ledger)
    stages.run("fold 1 of 1: pooled rows", {"w": torch.zeros(2)}, one_second, Schedule(5, 0.1), None)
    assert [event.eta_s for event in seen[1:]] == [4.0, 3.0, 2.0, 1.0, 0.0]
