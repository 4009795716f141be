"""Cross-attention by hand."""

import math

import torch

from meta.learners.neural_process import NeuralProcess, multihead
from meta.losses import squared_error
from meta.nets import Mlp
from meta.types import LabelledRows, Params

KEYS = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
VALUES = torch.tensor([[1.0, 10.0], [3.0, 30.0]])


def test_one_head_weighs_values_by_scaled_products() -> None:
    query = torch.tensor([[math.sqrt(2.0) * math.log(3.0) / 2.0, 5.0]])
    # products ln 3 * sqrt(2) and 0, over sqrt(2): the first row has three quarters
    found = multihead(query, KEYS, VALUES, torch.ones(2), n_heads=1)
    torch.testing.assert_close(found, torch.tensor([[1.5, 15.0]]))


def test_a_row_that_weighs_three_times_counts_like_three_rows() -> None:
    found = multihead(torch.zeros(1, 2), KEYS, VALUES, torch.tensor([3.0, 1.0]), n_heads=1)
    torch.testing.assert_close(found, torch.tensor([[1.5, 15.0]]))


def test_each_head_has_a_part_of_the_width_to_itself() -> None:
    query = torch.tensor([[math.log(3.0) / 2.0, 5.0]])
    # first head as above; the second sees only zeros in the keys, so that both rows count the same
    found = multihead(query, KEYS, VALUES, torch.ones(2), n_heads=2)
    torch.testing.assert_close(found, torch.tensor([[1.5, 20.0]]))


def test_without_rows_nothing_is_found() -> None:
    assert not multihead(torch.ones(3, 2), KEYS[:0], VALUES[:0], torch.ones(0), n_heads=1).any()
    assert not multihead(torch.ones(3, 2), KEYS, VALUES, torch.zeros(2), n_heads=2).any()


def through(theta: Params) -> Params:
    """Layers that hand on: the pair's label to the value, the value to the answer, and keys as queries alike."""
    layers = {name: torch.zeros_like(value) for name, value in theta.items() if name.startswith("own.")}
    for name, row in (("pair0", 1), ("pair1", 0), ("value", 0), ("merge", 0), ("decode0", 1), ("decode1", 0)):
        layers[f"own.{name}"][row, 0] = 1.0
    layers["own.query"][0, 0] = layers["own.key"][0, 0] = 1.0
    return theta | layers


def test_an_answer_is_the_label_of_the_rows_attended_to() -> None:
    learner = NeuralProcess(Mlp(1, (), 1), squared_error, 0.1, 0, n_classes=1, on_credit=False, hidden=1, n_heads=1)
    theta = through(learner.init(torch.Generator().manual_seed(0))) | {"w0": torch.ones(1, 1), "b0": torch.zeros(1)}
    support = LabelledRows.of(torch.tensor([[[2.0], [1.0]]]), torch.tensor([[6.0, 2.0]]))
    adapted = learner.adapt(theta, support)
    assert adapted["seen.keys"].tolist() == [[[2.0], [1.0]]]
    assert adapted["seen.values"].tolist() == [[[6.0], [2.0]]]
    # at x = ln 3 the first row is exp(ln 3) = 3 times as near: 3/4 * 6 + 1/4 * 2
    found = learner.predict(adapted, torch.tensor([[[math.log(3.0)], [0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[5.0], [4.0]]]))
