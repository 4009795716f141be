"""MAML++: its weighted losses and step sizes by hand, its meta-gradient against differences, MAML as a special case."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from meta.errors import InvalidRecipe
from meta.learners.maml import Maml
from meta.learners.maml_plus_plus import MamlPlusPlus
from meta.learners.protocol import gradient_by_step
from meta.losses import binary_cross_entropy, squared_error
from meta.nets import Ensemble, Mlp
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows
from tests.meta.learners.oracles import (
    gradient_matches_differences,
    in_float64,
    padding_changes_nothing,
    rows_without_any_leave_theta_at_rest,
)


class Line(Mlp):
    def forward(self, params: Params, x: Tensor) -> Tensor:
        return x @ params["w"]


# support (x = 1, y = 1), query (x = 1, y = 0), squared error, alpha = 0.1: a step goes a fifth of the way to 1,
# so from 0 to w1 = 0.2 and w2 = 0.36
BY_HAND = Episode(
    LabelledRows.of(torch.ones(1, 1, 1), torch.ones(1, 1)), LabelledRows.of(torch.ones(1, 1, 1), torch.zeros(1, 1))
)
LINE = MamlPlusPlus(Line(1, (), 1), squared_error, 0.1, 2)


def line_theta(learner: MamlPlusPlus = LINE) -> Params:
    return learner.start_from({"w": torch.zeros(1, 1)}, torch.Generator())


def test_every_inner_step_is_paid_for() -> None:
    # losses w1^2 = 0.04 and w2^2 = 0.1296, half each; slopes 2 w1 * 0.8 = 0.32 and 2 w2 * 0.64 = 0.4608, half each
    found = LINE.outer_grad(line_theta(), BY_HAND)
    assert found.loss.item() == pytest.approx(0.0848)
    assert found.gradient["net.w"].item() == pytest.approx(0.3904)


def test_each_step_size_has_its_own_slope() -> None:
    # w1 = 2 a1, w2 = w1 + 2 a2 (1 - w1); of (w1^2 + w2^2) / 2: by a2 0.36 * 2 * 0.8, by a1 0.2 * 2 + 0.36 * 2 * 0.8;
    # a number in theta is a size in units of SCALE * inner_lr = 1
    slopes = LINE.outer_grad(line_theta(), BY_HAND).gradient["lr.w"]
    torch.testing.assert_close(slopes, torch.tensor([0.976, 0.576]))


def test_annealing_moves_the_payment_to_the_last_step() -> None:
    # a quarter and three quarters: 0.25 * 0.04 + 0.75 * 0.1296
    halfway, done = replace(LINE, annealed=0.5), replace(LINE, annealed=1.0)
    assert halfway.outer_grad(line_theta(), BY_HAND).loss.item() == pytest.approx(0.1072)
    assert done.outer_grad(line_theta(), BY_HAND).loss.item() == pytest.approx(0.1296)
    with pytest.raises(InvalidRecipe, match=r"annealed must be between 0 and 1, got 1\.5"):
        replace(LINE, annealed=1.5)


def test_importances_are_annealed_in_tenths_of_the_share_and_then_stay() -> None:
    learner = replace(LINE, annealing_share=0.5)
    found = [learner.at_progress(progress).annealed for progress in (0.0, 0.04, 0.05, 0.26, 0.49, 0.5, 0.99)]
    assert found == [0.0, 0.0, 0.1, 0.5, 0.9, 1.0, 1.0]
    assert LINE.at_progress(0.7) is LINE
    with pytest.raises(InvalidRecipe, match=r"annealing_share must be between 0 and 1, got -1"):
        replace(LINE, annealing_share=-1)


def test_the_outer_gradient_of_a_step_is_annealed_as_far_as_that_step() -> None:
    gradient = gradient_by_step(replace(LINE, annealing_share=0.5), 100)
    for step, annealed in ((0, 0.0), (25, 0.5), (60, 1.0)):
        expected = replace(LINE, annealed=annealed).outer_grad(line_theta(), BY_HAND)
        found = gradient(line_theta(), BY_HAND, step)
        assert found.loss == expected.loss
        assert torch.equal(found.gradient["net.w"], expected.gradient["net.w"])


@pytest.mark.parametrize("inner_steps", [0, 1, 4])
@pytest.mark.parametrize("multi_step_loss", [True, False])
def test_importances_add_up_to_one(inner_steps: int, multi_step_loss: bool) -> None:
    learner = replace(LINE, inner_steps=inner_steps, multi_step_loss=multi_step_loss, annealed=0.25)
    assert len(learner.importances()) == inner_steps + 1
    assert sum(learner.importances()) == pytest.approx(1.0)


def test_steps_take_their_own_sizes_and_further_ones_the_last() -> None:
    # alphas 0.25 and 0.05 go half and a tenth of the way to 1: 0.5, 0.55; a third step goes a tenth again: 0.595
    theta = line_theta() | {"lr.w": torch.tensor([0.25, 0.05])}
    assert LINE.adapt(theta, BY_HAND.support)["w"].item() == pytest.approx(0.55)
    assert replace(LINE, inner_steps=3).adapt(theta, BY_HAND.support)["w"].item() == pytest.approx(0.595)
    assert replace(LINE, inner_steps=1).adapt(theta, BY_HAND.support)["w"].item() == pytest.approx(0.5)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("per_step_sizes", [False, True])
def test_without_its_stabilisers_it_is_maml(network: Ensemble, per_step_sizes: bool, first_order: bool) -> None:
    episode = Episode(draw_rows(4, 10, 1, torch.float64), draw_rows(4, 12, 2, torch.float64))
    maml = Maml(network, binary_cross_entropy, 0.3, 3, first_order)
    plain = MamlPlusPlus(network, binary_cross_entropy, 0.3, 3, first_order, False, per_step_sizes)
    weights = in_float64(network.init(torch.Generator().manual_seed(0)))
    theta = plain.start_from(weights, torch.Generator())
    adapted, found = plain.adapt(theta, episode.support), plain.outer_grad(theta, episode)
    expected = maml.outer_grad(weights, episode)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-12, atol=0.0)
    for name, value in maml.adapt(weights, episode.support).items():
        torch.testing.assert_close(adapted[name], value, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found.gradient[f"net.{name}"], expected.gradient[name], rtol=1e-10, atol=1e-13)
        if not per_step_sizes:  # the very same operations
            assert torch.equal(adapted[name], value)
            assert torch.equal(found.gradient[f"net.{name}"], expected.gradient[name])


def test_the_meta_gradient_matches_finite_differences() -> None:
    learner = MamlPlusPlus(Ensemble(N_FEATURES, (5,), n_members=2), binary_cross_entropy, 0.5, 3)
    theta = in_float64(learner.init(torch.Generator().manual_seed(3)))
    episode = Episode(draw_rows(3, 8, 4, torch.float64), draw_rows(3, 9, 5, torch.float64))
    gradient_matches_differences(learner, theta, episode)


def test_padding_and_missing_rows(network: Ensemble, episode: Episode) -> None:
    learner = MamlPlusPlus(network, binary_cross_entropy, 0.3, 2)
    theta = learner.init(torch.Generator().manual_seed(0))
    padding_changes_nothing(learner, theta, episode)
    rows_without_any_leave_theta_at_rest(learner, theta, episode.support)
