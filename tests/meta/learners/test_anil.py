"""ANIL: the head's steps by hand, and an outer gradient that reaches the body through them."""

from dataclasses import replace

import pytest
import torch

from meta.learners.anil import Anil
from meta.losses import squared_error
from meta.nets import Mlp
from meta.types import Episode, LabelledRows

# a body h = relu(w0 x + b0) of one unit and a head w1 h + b1; h is w0 + b0 = 2 at every row, and the output
# 0.5 * 2 = 1; alpha = 0.05
LINE = Anil(Mlp(1, (1,), 1), squared_error, 0.05, 1)
THETA = {
    "w0": torch.full((1, 1), 2.0),
    "b0": torch.zeros(1),
    "w1": torch.full((1, 1), 0.5),
    "b1": torch.zeros(1),
}
BY_HAND = Episode(
    LabelledRows.of(torch.ones(1, 1, 1), torch.full((1, 1), 3.0)),
    LabelledRows.of(torch.ones(1, 1, 1), torch.ones(1, 1)),
)


@pytest.mark.parametrize(("inner_steps", "w1", "b1"), [(1, 0.9, 0.2), (2, 1.1, 0.3)])
def test_the_heads_steps_by_hand(inner_steps: int, w1: float, b1: float) -> None:
    # (2 w1 + b1 - 3)^2 has slopes 4 (2 w1 + b1 - 3) by w1 and half of it by b1: -8 and -4 at first, so w1 goes from
    # 0.5 to 0.9 and b1 from 0 to 0.2; then the output is 2 and slopes are -4 and -2. The body's slope is not 0
    adapted = replace(LINE, inner_steps=inner_steps).adapt(THETA, BY_HAND.support)
    assert adapted["w1"].item() == pytest.approx(w1)
    assert adapted["b1"].item() == pytest.approx(b1)
    assert torch.equal(adapted["w0"][0], THETA["w0"])
    assert torch.equal(adapted["b0"][0], THETA["b0"])


def test_second_order_meta_gradient_by_hand() -> None:
    # w1' = w1 - 0.1 (w1 h + b1 - 3) h = 0.9, b1' = b1 - 0.1 (w1 h + b1 - 3) = 0.2; the query's residual is
    # e = w1' h + b1' - 1 = 1, its loss 1; slopes 2 e * de:
    # by h, and so by w0 and b0: w1' - 0.1 (2 w1 h + b1 - 3) h - 0.1 w1 = 0.9 + 0.2 - 0.05 = 1.05
    # by w1: (1 - 0.1 h^2) h - 0.1 h = 1.2 - 0.2 = 1; by b1: -0.1 h * h + 1 - 0.1 = -0.4 + 0.9 = 0.5
    found = LINE.outer_grad(THETA, BY_HAND)
    assert found.loss.item() == pytest.approx(1.0)
    slopes = {name: value.item() for name, value in found.gradient.items()}
    assert slopes == pytest.approx({"w0": 2.1, "b0": 2.1, "w1": 2.0, "b1": 1.0})


def test_first_order_takes_the_steps_as_given() -> None:
    # the head's moves are constants: de is w1' = 0.9 by h, h = 2 by w1, 1 by b1
    found = replace(LINE, first_order=True).outer_grad(THETA, BY_HAND).gradient
    slopes = {name: value.item() for name, value in found.items()}
    assert slopes == pytest.approx({"w0": 1.8, "b0": 1.8, "w1": 4.0, "b1": 2.0})
