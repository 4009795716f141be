"""CAVIA: the context's steps by hand, what it may move, its meta-gradient against differences."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from meta.learners.cavia import Cavia
from meta.losses import binary_cross_entropy, squared_error
from meta.nets import Ensemble, Mlp, Network
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows
from tests.meta.learners.oracles import (
    gradient_matches_differences,
    in_float64,
    padding_changes_nothing,
    rows_without_any_leave_theta_at_rest,
)

# a linear network w x + b with one context number c of weight 2: the output is x + 2 c
LINE = Cavia(Mlp(1, (), 1), squared_error, 0.05, 1, n_context=1)
THETA = {"net.w0": torch.ones(1, 1), "net.b0": torch.zeros(1), "context_w": torch.full((1, 1), 2.0)}
BY_HAND = Episode(
    LabelledRows.of(torch.ones(1, 1, 1), torch.full((1, 1), 2.0)),
    LabelledRows.of(torch.ones(1, 1, 1), torch.ones(1, 1)),
)


@pytest.mark.parametrize(("inner_steps", "context"), [(1, 0.2), (2, 0.32)])
def test_context_steps_by_hand(inner_steps: int, context: float) -> None:
    # (1 + 2c - 2)^2 has slope 4 (2c - 1): from c = 0 a step of 0.05 goes to 0.2, then to 0.2 + 0.2 * 0.6
    learner = replace(LINE, inner_steps=inner_steps)
    found = learner.context(THETA, BY_HAND.support, first_order=True)
    assert found.item() == pytest.approx(context)
    assert learner.adapt(THETA, BY_HAND.support)["b0"].item() == pytest.approx(2.0 * context)


def test_a_scale_is_as_good_as_larger_weights() -> None:
    learner = replace(LINE, context_scale=4.0)
    adapted = learner.adapt(THETA | {"context_w": torch.full((1, 1), 0.5)}, BY_HAND.support)
    assert adapted["b0"].item() == pytest.approx(0.4)


def test_second_order_meta_gradient_by_hand() -> None:
    # support (1, 2), query (1, 1): with v the context's weight, c = 0.05 * 2 v (2 - w - b), and the query's residual is
    # e = w + v c + b - 1 = w + 0.1 v^2 (2 - w - b) + b - 1 = 0.4 at w = 1, b = 0, v = 2
    # loss e^2 = 0.16; slopes 2 e * de: by b and w 1 - 0.1 v^2 = 0.6, by v 0.2 v (2 - w - b) = 0.4
    found = LINE.outer_grad(THETA, BY_HAND)
    assert found.loss.item() == pytest.approx(0.16)
    assert found.gradient["net.w0"].item() == pytest.approx(0.48)
    assert found.gradient["net.b0"].item() == pytest.approx(0.48)
    assert found.gradient["context_w"].item() == pytest.approx(0.32)


def test_first_order_takes_the_context_as_given() -> None:
    # c = 0.2 is a constant: de is 1 by w and b, c by v
    learner = replace(LINE, first_order=True)
    found = learner.outer_grad(THETA, BY_HAND).gradient
    assert found["net.w0"].item() == pytest.approx(0.8)
    assert found["context_w"].item() == pytest.approx(0.16)


def test_the_context_alone_moves(network: Ensemble, episode: Episode) -> None:
    learner = Cavia(network, binary_cross_entropy, 1.0, 3, n_context=2)
    theta = learner.init(torch.Generator().manual_seed(0))
    adapted = learner.adapt(theta, episode.support)
    moved = {name for name, value in adapted.items() if not torch.equal(value, theta[f"net.{name}"].expand_as(value))}
    assert moved == {"b0"}
    # four tasks' biases lie in the two directions that the context spans
    along = (adapted["b0"] - theta["net.b0"]).flatten(1)
    span = theta["context_w"].flatten(1)
    assert torch.linalg.matrix_rank(torch.cat([along, span]), rtol=1e-4) == 2


def test_the_context_is_a_further_input() -> None:
    # the same network, with the context as two more columns of x and the context's weights as two more rows of w0
    learner = Cavia(Mlp(N_FEATURES, (8, 8), 1), squared_error, 0.5, 2, n_context=2)
    theta = learner.init(torch.Generator().manual_seed(0))
    rows = draw_rows(3, 10, seed=1)
    context = learner.context(theta, rows, first_order=True)
    wider = learner.at_rest(theta) | {"w0": torch.cat([theta["net.w0"], theta["context_w"]])}
    x = torch.cat([rows.x, context.unsqueeze(1).expand(3, 10, 2)], dim=-1)
    expected = Mlp(N_FEATURES + 2, (8, 8), 1).forward(wider, x)
    torch.testing.assert_close(learner.predict(learner.adapt(theta, rows), rows.x), expected)
    assert context.abs().min() > 0


@pytest.mark.parametrize(
    ("network", "loss_fn"),
    [(Ensemble(N_FEATURES, (5,), n_members=2), binary_cross_entropy), (Mlp(N_FEATURES, (5, 4), 1), squared_error)],
)
def test_the_meta_gradient_matches_finite_differences(network: Network, loss_fn) -> None:
    learner = Cavia(network, loss_fn, 0.5, 3, n_context=3)
    theta = in_float64(learner.init(torch.Generator().manual_seed(3)))
    episode = Episode(draw_rows(3, 8, 4, torch.float64), draw_rows(3, 9, 5, torch.float64))
    gradient_matches_differences(learner, theta, episode)


def test_a_start_from_weights_is_at_rest_that_network(network: Ensemble, episode: Episode) -> None:
    learner = Cavia(network, binary_cross_entropy, 1.0, 3)
    weights = network.init(torch.Generator().manual_seed(0))
    at_rest = learner.at_rest(learner.start_from(weights, torch.Generator().manual_seed(1)))
    assert all(at_rest[name] is value for name, value in weights.items())
    assert set(at_rest) == set(weights)


def test_padding_and_missing_rows(network: Ensemble, episode: Episode) -> None:
    learner = Cavia(network, binary_cross_entropy, 1.0, 2)
    theta = learner.init(torch.Generator().manual_seed(0))
    padding_changes_nothing(learner, theta, episode)
    rows_without_any_leave_theta_at_rest(learner, theta, episode.support)


def test_tasks_do_not_touch_each_other(network: Ensemble, episode: Episode) -> None:
    learner = Cavia(network, binary_cross_entropy, 1.0, 2)
    theta = learner.init(torch.Generator().manual_seed(0))
    rows = episode.support
    together: Tensor = learner.adapt(theta, rows)["b0"]
    for task in range(4):
        alone: Params = learner.adapt(theta, LabelledRows.of(rows.x[task : task + 1], rows.y[task : task + 1]))
        torch.testing.assert_close(together[task], alone["b0"][0], rtol=1e-4, atol=1e-6)
