"""Reptile: its inner loop on all rows of a task, and the direction that it hands the outer optimiser, by hand."""

from dataclasses import replace

import pytest
import torch

from meta.learners.reptile import Reptile
from meta.losses import squared_error
from meta.nets import Mlp
from meta.types import Episode, LabelledRows

# a line w x + b with squared error, every x = 1, from w = b = 0: the output p = w + b has, by w as by b, the slope
# 2 (p - the mean label), so a step of alpha = 0.05 takes p a fifth of the way to that mean, half of it by w, half by b
LINE = Reptile(Mlp(1, (), 1), squared_error, 0.05, 2)
THETA = {"w0": torch.zeros(1, 1), "b0": torch.zeros(1)}
# two tasks of one support row and two query rows: all rows of the first have the mean 1, all of the second 3
BY_HAND = Episode(
    LabelledRows.of(torch.ones(2, 1, 1), torch.tensor([[3.0], [6.0]])),
    LabelledRows.of(torch.ones(2, 2, 1), torch.tensor([[0.0, 0.0], [3.0, 0.0]])),
)


@pytest.mark.parametrize(("inner_steps", "outputs"), [(1, (0.6, 1.2)), (2, (1.08, 2.16))])
def test_adapting_steps_down_the_supports_loss_by_hand(inner_steps: int, outputs: tuple[float, float]) -> None:
    # a market's own rows are its support alone, 3 and 6: p = 3 / 5, then 3 / 5 + (3 - 3 / 5) / 5, and twice as much
    adapted = replace(LINE, inner_steps=inner_steps).adapt(THETA, BY_HAND.support)
    expected = torch.tensor(outputs).reshape(2, 1, 1) / 2.0
    torch.testing.assert_close(adapted["w0"], expected)
    torch.testing.assert_close(adapted["b0"], expected[:, 0])


@pytest.mark.parametrize(("inner_steps", "direction"), [(0, 0.0), (1, -4.0), (2, -3.6)])
def test_the_direction_is_the_mean_move_a_unit_of_path_by_hand(inner_steps: int, direction: float) -> None:
    # all rows, 1 and 3 in the mean: p after one step 0.2 and 0.6, after two 0.36 and 1.08, half of it each in w and b,
    # in the mean over tasks 0.2 and 0.36; (theta - that) / (alpha * steps): -0.2 / 0.05 and -0.36 / 0.1
    found = replace(LINE, inner_steps=inner_steps).outer_grad(THETA, BY_HAND).gradient
    assert found["w0"].item() == pytest.approx(direction)
    assert found["b0"].item() == pytest.approx(direction)


def test_the_loss_is_that_of_all_rows_after_the_last_step_by_hand() -> None:
    # variances of the labels 3, 0, 0 and 6, 3, 0 are 2 and 6; p ends 0.64 and 1.92 from their means: the two tasks'
    # losses 2 + 0.4096 and 6 + 3.6864, 6.048 in the mean
    assert LINE.outer_grad(THETA, BY_HAND).loss.item() == pytest.approx(6.048)
