"""Prototypes and distances by hand."""

import torch

from meta.learners.in_context import SCALE
from meta.learners.prototypical import Prototypical, prototypes, squared_distances
from meta.types import LabelledRows
from tests.meta.conftest import draw_rows
from tests.meta.learners.in_context_tasks import IDENTITY, SMALL, as_published, for_credit, opened

# class 0: (0, 0) and (2, 0), class 1: (0, 3); the last row is padding
SUPPORT = LabelledRows.of(
    torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [9.0, 9.0]]]),
    torch.tensor([[0, 0, 1, 1]]),
    mask=torch.tensor([[1.0, 1.0, 1.0, 0.0]]),
)


def test_a_row_is_scored_by_its_squared_distance_from_each_mean() -> None:
    learner = as_published(Prototypical)
    adapted = learner.adapt(IDENTITY, SUPPORT)
    assert adapted["seen.prototypes"].tolist() == [[[1.0, 0.0], [0.0, 3.0]]]
    # (1, 1): one above the first, and (1, -2) from the second
    assert learner.predict(adapted, torch.tensor([[[1.0, 1.0]]])).tolist() == [[[-1.0, -5.0]]]


def test_rows_may_belong_to_classes_in_parts_and_weigh_unlike() -> None:
    rows = torch.tensor([[[0.0], [4.0]]])
    labels = torch.tensor([[[0.75, 0.25], [0.25, 0.75]]])
    # class 0: 3/4 * 1 of the row at 0 and 1/4 * 3 of the row at 4, so halfway; class 1: 1/4 and 9/4
    found = prototypes(rows, labels, torch.tensor([[1.0, 3.0]]))
    torch.testing.assert_close(found, torch.tensor([[[2.0], [3.6]]]))
    assert squared_distances(torch.tensor([[1.0]]), found[0]).tolist()[0][0] == 1.0


def test_on_credit_the_prototypes_that_the_network_expects_are_taken_off() -> None:
    learner = for_credit(Prototypical)
    theta = opened(learner.init(torch.Generator().manual_seed(0)))
    rows, x = draw_rows(2, 30, seed=4), draw_rows(2, 5, seed=5).x
    found = learner.predict(learner.adapt(theta, rows), x)[0]
    e, y = SMALL.represent(theta, rows.x)[0] @ theta["own.embed"], rows.y[0]
    e_query = SMALL.represent(theta, x)[0] @ theta["own.embed"]
    n = y.sum(), (1 - y).sum()
    pd = torch.sigmoid(SMALL.readout(SMALL.forward(theta, rows.x))[0] + (n[1] / n[0]).log())
    weight = y / n[0] + (1 - y) / n[1]
    evidence = n[0] * n[1] / 30
    labels = pd + evidence / (evidence + 20.0) * (y - pd)

    def log_odds(share: torch.Tensor) -> torch.Tensor:
        means = [(w.unsqueeze(-1) * e).sum(0) / w.sum() for w in (weight * share, weight * (1 - share))]
        far = [(e_query - mean).square().sum(-1) for mean in means]
        return far[1] - far[0]

    gate = SCALE * theta["own.gate"]
    expected = SMALL.readout(SMALL.forward(theta, x))[0] + gate * (log_odds(labels) - log_odds(pd))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
