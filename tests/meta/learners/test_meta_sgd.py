"""Meta-SGD: its inner step, its meta-gradient and its step sizes' own gradient by hand, with evidence and without."""

import math
from dataclasses import replace

import pytest
import torch

from meta.learners.meta_sgd import SCALE, START_HALF_POINT, MetaSgd
from meta.losses import squared_error
from meta.nets import Mlp
from meta.types import Episode, LabelledRows, Params

# a line w x + b from w = b = 0 with squared error; support (x = 2, y = 1), query (x = 1, y = 0); alpha is 0.05 for w
# and 0.1 for b, which theta holds in units of SCALE * inner_lr = 2
LINE = MetaSgd(Mlp(1, (), 1), squared_error, 0.2, 1)
WEIGHTS = {"w0": torch.zeros(1, 1), "b0": torch.zeros(1)}
NET = {f"net.{name}": value for name, value in WEIGHTS.items()}
THETA = NET | {"lr.w0": torch.full((1, 1), 0.05 / 2.0), "lr.b0": torch.full((1,), 0.1 / 2.0)}
# one defaulter: h = 1 keeps 1 / (1 + 1) of a step of w, h = 3 keeps 1 / (1 + 3) of one of b
EVIDENCE = THETA | {"log_h.w0": torch.tensor(0.0), "log_h.b0": torch.tensor(math.log(3.0) / SCALE)}
BY_HAND = Episode(
    LabelledRows.of(torch.full((1, 1, 1), 2.0), torch.ones(1, 1)),
    LabelledRows.of(torch.ones(1, 1, 1), torch.zeros(1, 1)),
)


def numbers(tensors: Params) -> dict[str, float]:
    return {name: value.item() for name, value in tensors.items()}


@pytest.mark.parametrize(("inner_steps", "moved"), [(1, 0.2), (2, 0.28)])
def test_each_weight_takes_its_own_step_by_hand(inner_steps: int, moved: float) -> None:
    # (2 w + b - 1)^2 has slopes 4 (2 w + b - 1) by w and half of it by b: -4 and -2 at first, which alpha makes 0.2
    # of each; then the residual is 0.6 - 1 = -0.4, slopes are -1.6 and -0.8, and both go 0.08 further
    adapted = replace(LINE, inner_steps=inner_steps).adapt(THETA, BY_HAND.support)
    assert numbers(adapted) == pytest.approx({"w0": moved, "b0": moved})


def test_meta_gradient_and_that_of_the_step_sizes_by_hand() -> None:
    # with r = 2 w + b - 1 = -1: w' = w - a 4 r = 0.2, b' = b - c 2 r = 0.2; the query's residual is e = w' + b' = 0.4,
    # its loss 0.16; slopes 2 e * de = 0.8 de:
    # by w 1 - 8 a - 4 c = 0.2, by b -4 a + 1 - 2 c = 0.6; by a -4 r = 4, by c -2 r = 2, both doubled by their unit
    found = LINE.outer_grad(THETA, BY_HAND)
    assert found.loss.item() == pytest.approx(0.16)
    expected = {"net.w0": 0.16, "net.b0": 0.48, "lr.w0": 6.4, "lr.b0": 3.2}
    assert numbers(found.gradient) == pytest.approx(expected)


def test_first_order_takes_slopes_as_given_but_not_step_sizes() -> None:
    # r is a constant: de is 1 by w and b, and what it was by a and c
    found = replace(LINE, first_order=True).outer_grad(THETA, BY_HAND).gradient
    assert numbers(found) == pytest.approx({"net.w0": 0.8, "net.b0": 0.8, "lr.w0": 6.4, "lr.b0": 3.2})


def test_evidence_shortens_steps_and_half_points_are_learned_by_hand() -> None:
    # w' = 0.2 / 2 = 0.1, b' = 0.2 / 4 = 0.05: e = 0.15, loss 0.0225, slopes 2 e * de = 0.3 de
    # a share s = 1 / (1 + h) has the slope -s (1 - s) by ln h, SCALE = 10 times that by what theta holds:
    # by log_h of w 0.2 * -10 / 4 = -0.5, by that of b 0.2 * -10 * 3 / 16 = -0.375
    # by a and c as without evidence, but for shares: 8 / 2 = 4 and 4 / 4 = 1
    # by w 1 - 8 a / 2 - 4 c / 4 = 0.7, by b -4 a / 2 + 1 - 2 c / 4 = 0.85
    learner = replace(LINE, by_evidence=True)
    assert numbers(learner.adapt(EVIDENCE, BY_HAND.support)) == pytest.approx({"w0": 0.1, "b0": 0.05})
    found = learner.outer_grad(EVIDENCE, BY_HAND)
    assert found.loss.item() == pytest.approx(0.0225)
    assert numbers(found.gradient) == pytest.approx(
        {
            "net.w0": 0.21,
            "net.b0": 0.255,
            "lr.w0": 1.2,
            "lr.b0": 0.3,
            "log_h.w0": -0.15,
            "log_h.b0": -0.1125,
        }
    )


def test_step_sizes_start_at_the_inner_step_and_half_points_at_theirs() -> None:
    learner = replace(LINE, by_evidence=True)
    start = learner.start_from(WEIGHTS, torch.Generator())
    assert numbers({name: value for name, value in start.items() if name.startswith("net.")}) == numbers(NET)
    plain = LINE.step_sizes(start, BY_HAND.support)
    assert numbers(plain) == pytest.approx({"w0": 0.2, "b0": 0.2})
    kept = numbers(learner.step_sizes(start, BY_HAND.support))
    assert kept == pytest.approx(dict.fromkeys(WEIGHTS, 0.2 / (1.0 + START_HALF_POINT)))
