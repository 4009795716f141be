"""The inner loop against numbers worked by hand, a plain loop over tasks, and finite differences."""

import math

import pytest
import torch
from torch import Tensor

from meta.errors import InvalidRecipe
from meta.functional import inner_loop, inner_step, per_task, task_losses
from meta.learners.anil import Anil
from meta.learners.maml import Maml
from meta.learners.meta_sgd import MetaSgd
from meta.losses import binary_cross_entropy, cross_entropy, squared_error
from meta.nets import Ensemble, Mlp
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows


def linear(params: Params, x: Tensor) -> Tensor:
    return x @ params["w"]


def test_one_step_of_logistic_regression_by_hand() -> None:
    # one row x = 2, y = 1, w = 0: pd = 1/2, gradient = (pd - y) * x = -1, so w' = 0 + 0.5 * 1
    rows = LabelledRows.of(torch.tensor([[[2.0]]]), torch.tensor([[1.0]]))
    stepped = inner_step({"w": torch.zeros(1, 1, 1)}, rows, forward=linear, loss_fn=binary_cross_entropy, inner_lr=0.5)
    assert stepped["w"].item() == pytest.approx(0.5)


def test_two_steps_of_regression_by_hand() -> None:
    # mean of (w*1 - 1)^2 and (w*3 - 3)^2: gradient = 10 (w - 1); alpha = 0.05 halves the distance to 1 each step
    rows = LabelledRows.of(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[1.0, 3.0]]))
    params = inner_loop(
        {"w": torch.zeros(1, 1, 1)}, rows, forward=linear, loss_fn=squared_error, inner_lr=0.05, inner_steps=2
    )
    assert params["w"].item() == pytest.approx(0.75)


def test_second_order_meta_gradient_by_hand() -> None:
    # support (x=1, y=1), query (x=1, y=0), squared error, alpha = 0.1: w' = w - 0.2 (w - 1); loss = w'^2
    # d loss / d w = 2 w' * (1 - 0.2); at w = 0: w' = 0.2, so 0.32. First order: 2 w' = 0.4
    class Line(Mlp):
        def forward(self, params: Params, x: Tensor) -> Tensor:
            return x @ params["w"]

    episode = Episode(
        LabelledRows.of(torch.tensor([[[1.0]]]), torch.tensor([[1.0]])),
        LabelledRows.of(torch.tensor([[[1.0]]]), torch.tensor([[0.0]])),
    )
    theta = {"w": torch.zeros(1, 1)}
    network = Line(1, (), 1)
    exact = Maml(network, squared_error, 0.1, 1).outer_grad(theta, episode)
    first = Maml(network, squared_error, 0.1, 1, first_order=True).outer_grad(theta, episode)
    assert exact.loss.item() == pytest.approx(0.04)
    assert exact.gradient["w"].item() == pytest.approx(0.32)
    assert first.gradient["w"].item() == pytest.approx(0.4)


def test_offsets_enter_the_loss() -> None:
    # y = 1, logit 0 + offset ln 3: pd = 3/4, loss = ln(4/3)
    rows = LabelledRows.of(torch.zeros(1, 1, 1), torch.ones(1, 1), offset=torch.full((1, 1), math.log(3.0)))
    loss = task_losses(linear, {"w": torch.zeros(1, 1, 1)}, rows, binary_cross_entropy)
    assert loss.item() == pytest.approx(math.log(4 / 3))


def test_padding_changes_nothing(network: Ensemble) -> None:
    rows = draw_rows(2, 10, seed=3)
    padded = LabelledRows(
        torch.cat([rows.x, torch.full((2, 5, N_FEATURES), 9.0)], 1),
        torch.cat([rows.y, torch.ones(2, 5)], 1),
        torch.cat([rows.mask, torch.zeros(2, 5)], 1),
        torch.cat([rows.offset, torch.zeros(2, 5)], 1),
    )
    learner = Maml(network, binary_cross_entropy, 0.1, 3)
    theta = learner.init(torch.Generator().manual_seed(0))
    plain, masked = learner.adapt(theta, rows), learner.adapt(theta, padded)
    for name in theta:
        torch.testing.assert_close(plain[name], masked[name])


def test_tasks_in_a_batch_adapt_as_if_alone(network: Ensemble, episode: Episode) -> None:
    learner = Maml(network, binary_cross_entropy, 0.1, 3)
    theta = learner.init(torch.Generator().manual_seed(0))
    together = learner.adapt(theta, episode.support)
    for task in range(4):
        alone = _plain_sgd(network, theta, episode.support.x[task], episode.support.y[task], 0.1, 3)
        for name in theta:
            torch.testing.assert_close(together[name][task], alone[name], rtol=1e-5, atol=1e-6)


def _plain_sgd(network: Ensemble, theta: Params, x: Tensor, y: Tensor, lr: float, n_steps: int) -> Params:
    """The oracle: torch's own SGD on one task."""
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    optimiser = torch.optim.SGD(leaves.values(), lr=lr)
    for _ in range(n_steps):
        optimiser.zero_grad()
        binary_cross_entropy(network.forward(leaves, x), y, torch.ones_like(y)).backward()
        optimiser.step()
    return {name: value.detach() for name, value in leaves.items()}


@pytest.mark.parametrize("make", [Maml, Anil, MetaSgd], ids=["maml", "anil", "meta_sgd"])
def test_meta_gradient_matches_finite_differences(make) -> None:
    network = Ensemble(N_FEATURES, (5,), n_members=2)
    learner = make(network, binary_cross_entropy, 0.2, 3)
    start = learner.init(torch.Generator().manual_seed(3))
    theta = {name: value.double() for name, value in start.items()}
    episode = Episode(draw_rows(3, 8, 4, torch.float64), draw_rows(3, 9, 5, torch.float64))
    found = learner.outer_grad(theta, episode).gradient
    step = 1e-6
    for name, value in theta.items():
        index = tuple(size // 2 for size in value.shape)
        moved = []
        for sign in (1, -1):
            nudged = {n: v.clone() for n, v in theta.items()}
            nudged[name][index] += sign * step
            moved.append(learner.outer_grad(nudged, episode).loss.item())
        assert found[name][index].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-4, abs=1e-8), name


def test_meta_gradient_equals_vmap_of_grad(network: Ensemble, episode: Episode) -> None:
    learner = Maml(network, binary_cross_entropy, 0.1, 2)
    theta = learner.init(torch.Generator().manual_seed(0))

    def one_task(start: Params, sx: Tensor, sy: Tensor, qx: Tensor, qy: Tensor) -> Tensor:
        fast = start
        for _ in range(2):
            gradient = torch.func.grad(lambda p: binary_cross_entropy(network.forward(p, sx), sy, torch.ones_like(sy)))(
                fast
            )
            fast = {name: value - 0.1 * gradient[name] for name, value in fast.items()}
        return binary_cross_entropy(network.forward(fast, qx), qy, torch.ones_like(qy))

    def meta_loss(start: Params) -> Tensor:
        tasks = torch.vmap(one_task, in_dims=(None, 0, 0, 0, 0))
        return tasks(start, episode.support.x, episode.support.y, episode.query.x, episode.query.y).mean()

    oracle = torch.func.grad(meta_loss)(theta)
    found = learner.outer_grad(theta, episode).gradient
    for name in theta:
        torch.testing.assert_close(found[name], oracle[name], rtol=1e-4, atol=1e-6)


def test_the_same_engine_runs_classification_and_regression() -> None:
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(1))
    for n_outputs, y, loss_fn in (
        (3, torch.tensor([[0, 1, 2, 0, 1, 2]] * 2), cross_entropy),
        (1, x.sum(-1), squared_error),
    ):
        learner = Maml(Mlp(4, (16,), n_outputs), loss_fn, 0.1, 5)
        theta = learner.init(torch.Generator().manual_seed(0))
        rows = LabelledRows.of(x, y)
        before = task_losses(learner.network.forward, per_task(theta, 2), rows, loss_fn)
        after = task_losses(learner.network.forward, learner.adapt(theta, rows), rows, loss_fn)
        assert (after < before).all()


@pytest.mark.parametrize("inner_lr", [0.0, -1.0, float("nan")])
def test_a_step_that_is_not_positive_is_refused(inner_lr: float) -> None:
    with pytest.raises(InvalidRecipe, match="inner_lr must be positive"):
        inner_step(
            {"w": torch.zeros(1, 1, 1)},
            LabelledRows.of(torch.zeros(1, 1, 1), torch.zeros(1, 1)),
            forward=linear,
            loss_fn=squared_error,
            inner_lr=inner_lr,
        )


def test_negative_inner_steps_are_refused() -> None:
    rows = LabelledRows.of(torch.zeros(1, 1, 1), torch.zeros(1, 1))
    with pytest.raises(InvalidRecipe, match="inner_steps"):
        inner_loop({}, rows, forward=linear, loss_fn=squared_error, inner_lr=0.1, inner_steps=-1)
