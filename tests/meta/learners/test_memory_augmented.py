"""Least recently used access by hand, and what a sequence leaves in memory."""

import math

import pytest
import torch

from meta.learners.memory_augmented import (
    MemoryAugmented,
    least_used,
    lstm,
    read_weights,
    used,
    write_weights,
    written,
)
from meta.types import LabelledRows, Params
from tests.meta.learners.in_context_tasks import as_published

E = math.e


def test_two_steps_of_reading_writing_and_usage() -> None:
    memory, read, usage = torch.zeros(1, 2, 2), torch.zeros(1, 1, 2), torch.zeros(1, 2)
    alpha, decay = torch.zeros(1), 0.5  # half to where was read, half to the least used slot

    # step 1, key (1, 0): nothing was read before, all slots are unused: half of the key to the first
    key = torch.tensor([[[1.0, 0.0]]])
    least = least_used(usage, 1)
    assert least.tolist() == [[[1.0, 0.0]]]
    write = write_weights(alpha, read, least)
    assert write.tolist() == [[[0.5, 0.0]]]
    memory = written(memory, key, write, least)
    assert memory.tolist() == [[[0.5, 0.0], [0.0, 0.0]]]
    read = read_weights(key, memory)  # cosines 1 and 0
    torch.testing.assert_close(read, torch.tensor([[[E / (E + 1), 1 / (E + 1)]]]))
    usage = used(usage, read, write, decay)
    torch.testing.assert_close(usage, torch.tensor([[E / (E + 1) + 0.5, 1 / (E + 1)]]))

    # step 2, key (0, 1): the second slot is the least used; the first was read, so it gets its share of the key
    key = torch.tensor([[[0.0, 1.0]]])
    least = least_used(usage, 1)
    assert least.tolist() == [[[0.0, 1.0]]]
    write = write_weights(alpha, read, least)
    first, second = 0.5 * E / (E + 1), 0.5 / (E + 1) + 0.5
    torch.testing.assert_close(write, torch.tensor([[[first, second]]]))
    memory = written(memory, key, write, least)
    torch.testing.assert_close(memory, torch.tensor([[[0.5, first], [0.0, second]]]))
    read = read_weights(key, memory)
    cosine = first / math.hypot(0.5, first)
    share = math.exp(cosine) / (math.exp(cosine) + E)
    torch.testing.assert_close(read, torch.tensor([[[share, 1 - share]]]))
    before = (E / (E + 1) + 0.5, 1 / (E + 1))
    expected = [0.5 * before[0] + share + first, 0.5 * before[1] + 1 - share + second]
    torch.testing.assert_close(used(usage, read, write, decay), torch.tensor([expected]))


def test_the_least_used_slot_is_emptied_before_it_is_written() -> None:
    memory = torch.tensor([[[1.0, 1.0], [4.0, 4.0]]])
    least = torch.tensor([[[0.0, 1.0]]])
    found = written(memory, torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]]), least)
    assert found.tolist() == [[[1.0, 1.0], [2.0, 3.0]]]


def test_each_head_has_a_least_used_slot_of_its_own() -> None:
    found = least_used(torch.tensor([[3.0, 1.0, 2.0, 1.0]]), 3)
    assert found.argmax(-1).tolist() == [[1, 3, 2]]


def test_one_step_of_the_controller() -> None:
    # input, forget and output gates half open, candidate tanh(1): cell 0.5 * 2 + 0.5 * tanh(1)
    hidden, cell = lstm(torch.tensor([0.0, 0.0, 0.0, 1.0]), torch.tensor([2.0]))
    assert float(cell) == pytest.approx(1.0 + 0.5 * math.tanh(1.0))
    assert float(hidden) == pytest.approx(0.5 * math.tanh(1.0 + 0.5 * math.tanh(1.0)))


def hearing(theta: Params) -> Params:
    """As after training: the controller starts deaf to what is recalled."""
    assert not theta["own.lstm_r"].any()
    drawn = torch.randn(theta["own.lstm_r"].shape, generator=torch.Generator().manual_seed(1))
    return theta | {"own.lstm_r": 0.3 * drawn}


SUPPORT = LabelledRows.of(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]]]), torch.tensor([[0, 1, 0]]))


def test_a_row_is_read_with_the_label_of_the_row_before() -> None:
    learner = as_published(MemoryAugmented)
    theta = learner.init(torch.Generator().manual_seed(0))
    adapted = learner.adapt(theta, SUPPORT)
    assert adapted["seen.label"].tolist() == [[1.0, 0.0]]
    # the last label is not read yet, so that another one leaves all but itself as it is
    other = learner.adapt(theta, LabelledRows.of(SUPPORT.x, torch.tensor([[0, 1, 1]])))
    for name in ("seen.memory", "seen.hidden", "seen.cell"):
        assert torch.equal(other[name], adapted[name])
    assert other["seen.label"].tolist() == [[0.0, 1.0]]
    # the second one's is read with the third row
    other = learner.adapt(theta, LabelledRows.of(SUPPORT.x, torch.tensor([[0, 0, 0]])))
    assert not torch.allclose(other["seen.memory"], adapted["seen.memory"])


def test_what_a_row_recalls_reaches_the_controller_with_the_next_row() -> None:
    learner = as_published(MemoryAugmented)
    theta = hearing(learner.init(torch.Generator().manual_seed(0)))
    keys = theta["own.key"].flip(1)  # other keys: the memory is another, and so is what is recalled of it
    one = LabelledRows.of(SUPPORT.x[:, :1], SUPPORT.y[:, :1])
    first, first_by_other = learner.adapt(theta, one), learner.adapt(theta | {"own.key": keys}, one)
    assert not torch.allclose(first["seen.recalled"], first_by_other["seen.recalled"])
    assert torch.equal(first["seen.hidden"], first_by_other["seen.hidden"])  # nothing had been recalled before it
    two = LabelledRows.of(SUPPORT.x[:, :2], SUPPORT.y[:, :2])
    second, second_by_other = learner.adapt(theta, two), learner.adapt(theta | {"own.key": keys}, two)
    assert not torch.allclose(second["seen.hidden"], second_by_other["seen.hidden"])
    deaf = theta | {"own.lstm_r": torch.zeros_like(theta["own.lstm_r"])}
    torch.testing.assert_close(
        learner.adapt(deaf, two)["seen.hidden"], learner.adapt(deaf | {"own.key": keys}, two)["seen.hidden"]
    )


def test_what_was_recalled_last_reaches_the_answer() -> None:
    learner = as_published(MemoryAugmented)
    theta = hearing(learner.init(torch.Generator().manual_seed(0)))
    adapted = learner.adapt(theta, SUPPORT)
    # by hand: the controller's inputs for a query row, one after the other
    own = {name.removeprefix("own."): value for name, value in theta.items()}
    x = learner.network.forward(theta, SUPPORT.x)[:, :1]
    width = x.shape[-1]
    into = x @ own["lstm_x"][:width] + adapted["seen.label"][:, None] @ own["lstm_x"][width:] + own["lstm_b"]
    into = into + adapted["seen.hidden"][:, None] @ own["lstm_h"] + adapted["seen.recalled"][:, None] @ own["lstm_r"]
    hidden, _ = lstm(into, adapted["seen.cell"][:, None])
    keys = torch.tanh(hidden @ own["key"] + own["key_b"]).unsqueeze(-2)
    memory = adapted["seen.memory"][:, None]
    read = (read_weights(keys, memory) @ memory).flatten(-2)
    expected = torch.cat([hidden, read], dim=-1) @ own["out"] + own["out_b"]
    torch.testing.assert_close(learner.predict(adapted, SUPPORT.x[:, :1]), expected)


def test_a_theta_of_before_the_controller_heard_what_was_recalled_answers_as_it_did() -> None:
    learner = as_published(MemoryAugmented)
    theta = hearing(learner.init(torch.Generator().manual_seed(0)))
    before = {name: value for name, value in theta.items() if name != "own.lstm_r"}
    deaf = theta | {"own.lstm_r": torch.zeros_like(theta["own.lstm_r"])}
    adapted, expected = learner.adapt(before, SUPPORT), learner.adapt(deaf, SUPPORT)
    stored = {name: value for name, value in adapted.items() if name != "seen.recalled"}
    torch.testing.assert_close(learner.predict(stored, SUPPORT.x), learner.predict(expected, SUPPORT.x))


def test_padding_in_the_middle_of_a_sequence_is_passed_over() -> None:
    learner = as_published(MemoryAugmented)
    theta = learner.init(torch.Generator().manual_seed(0))
    x, y = SUPPORT.x[:, [0, 0, 1, 2]], torch.tensor([[0, 1, 1, 0]])
    gap = LabelledRows.of(x, y, mask=torch.tensor([[1.0, 0.0, 1.0, 1.0]]))
    expected, found = learner.adapt(theta, SUPPORT), learner.adapt(theta, gap)
    without = learner.adapt(theta, LabelledRows.of(x, y))
    for name in expected:  # rows are embedded together, four here and three there: some processors round otherwise
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(without["seen.memory"], expected["seen.memory"], rtol=1e-5, atol=1e-6)


def test_answering_writes_nothing_and_hears_of_no_other_row() -> None:
    learner = as_published(MemoryAugmented)
    theta = learner.init(torch.Generator().manual_seed(0))
    adapted = learner.adapt(theta, SUPPORT)
    together = learner.predict(adapted, SUPPORT.x)
    for i in range(3):
        torch.testing.assert_close(learner.predict(adapted, SUPPORT.x[:, i : i + 1]), together[:, i : i + 1])


def test_more_heads_read_more_slots() -> None:
    learner = as_published(MemoryAugmented, n_heads=4, n_slots=8)
    theta = learner.init(torch.Generator().manual_seed(0))
    assert theta["own.out"].shape == (32 + 4 * 40, 2)
    # the first row writes one key a head, each to a slot of its own
    adapted = learner.adapt(theta, LabelledRows.of(SUPPORT.x[:, :1], SUPPORT.y[:, :1]))
    assert (adapted["seen.memory"][0].abs().sum(-1) > 0).tolist() == [True] * 4 + [False] * 4


def test_as_published_the_order_of_the_support_matters() -> None:
    learner = as_published(MemoryAugmented)
    theta = learner.init(torch.Generator().manual_seed(0))
    order = torch.tensor([2, 0, 1])
    turned = LabelledRows.of(SUPPORT.x[:, order], SUPPORT.y[:, order])
    assert not torch.allclose(learner.adapt(theta, turned)["seen.memory"], learner.adapt(theta, SUPPORT)["seen.memory"])


def test_a_row_may_come_with_its_own_label() -> None:
    learner = as_published(MemoryAugmented, labels_follow=False)
    theta = learner.init(torch.Generator().manual_seed(0))
    adapted = learner.adapt(theta, SUPPORT)
    assert adapted["seen.label"].tolist() == [[0.0, 0.0]]
    # the last row's label is heard, too
    other = learner.adapt(theta, LabelledRows.of(SUPPORT.x, torch.tensor([[0, 1, 1]])))
    assert not torch.allclose(other["seen.memory"], adapted["seen.memory"])
