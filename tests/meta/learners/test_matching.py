"""Cosine attention by hand."""

import math

import pytest
import torch

from meta.learners.matching import Matching, attention
from meta.types import LabelledRows
from tests.meta.learners.in_context_tasks import IDENTITY, as_published

# two rows of class 0 along the axes, one of class 1 against the first; the last row is padding
SUPPORT = LabelledRows.of(
    torch.tensor([[[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0], [9.0, 9.0]]]),
    torch.tensor([[0, 0, 1, 1]]),
    mask=torch.tensor([[1.0, 1.0, 1.0, 0.0]]),
)


def test_a_class_has_the_attention_of_its_rows() -> None:
    learner = as_published(Matching)
    found = learner.predict(learner.adapt(IDENTITY, SUPPORT), torch.tensor([[[3.0, 0.0], [4.0, 3.0]]]))[0].exp()
    # cosines 1, 0, -1; and 0.8, 0.6, -0.8
    for row, cosines in enumerate(((1.0, 0.0, -1.0), (0.8, 0.6, -0.8))):
        first, second, third = (math.exp(c) for c in cosines)
        total = first + second + third
        torch.testing.assert_close(found[row], torch.tensor([(first + second) / total, third / total]))


def test_lengths_do_not_matter() -> None:
    learner = as_published(Matching)
    adapted = learner.adapt(IDENTITY, SUPPORT)
    short, long = (learner.predict(adapted, torch.tensor([[[4.0, 3.0]]]) * scale) for scale in (1.0, 50.0))
    torch.testing.assert_close(short, long)


def test_attention_is_the_softmax_of_cosines() -> None:
    found = attention(torch.tensor([[1.0, 0.5]]), torch.ones(2))
    torch.testing.assert_close(found, torch.softmax(torch.tensor([[1.0, 0.5]]), dim=-1))


def test_a_class_that_nobody_attends_to_is_improbable_not_impossible() -> None:
    learner = as_published(Matching, n_classes=3)
    found = learner.predict(learner.adapt(IDENTITY, SUPPORT), torch.tensor([[[3.0, 0.0]]]))[0, 0]
    assert float(found[2]) == pytest.approx(math.log(1e-6))
