"""What every learner that reads the support promises, on credit and on the papers' problems."""

import math

import pytest
import torch

from meta.errors import InvalidRecipe
from meta.learners.in_context import InContext, balanced, shares_of
from meta.learners.matching import Matching
from meta.learners.memory_augmented import MemoryAugmented
from meta.learners.neural_process import NeuralProcess
from meta.learners.prototypical import Prototypical
from meta.losses import cross_entropy, squared_error
from meta.nets import Mlp
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows
from tests.meta.learners.in_context_tasks import (
    SMALL,
    as_published,
    for_credit,
    in_double,
    opened,
    padded,
    picked,
    with_offset,
    without_pseudo_rows,
)

KINDS = (Prototypical, Matching, MemoryAugmented, NeuralProcess)
WEIGHING = (Prototypical, Matching, NeuralProcess)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def learner(request: pytest.FixtureRequest) -> InContext:
    return for_credit(request.param)


@pytest.fixture
def theta(learner: InContext) -> Params:
    return opened(learner.init(torch.Generator().manual_seed(0)))


def doubles(rows: LabelledRows) -> LabelledRows:
    return LabelledRows(*(value.double() for value in vars(rows).values()))


def test_a_theta_starts_as_the_network_whatever_it_has_read(learner: InContext, episode: Episode) -> None:
    weights = SMALL.init(torch.Generator().manual_seed(3))
    theta = learner.start_from(weights, torch.Generator().manual_seed(0))
    expected = SMALL.readout(SMALL.forward(weights, episode.query.x))
    assert torch.equal(learner.predict(learner.at_rest(theta), episode.query.x[0]), expected[0])
    assert torch.equal(learner.predict(learner.adapt(theta, episode.support), episode.query.x), expected)
    assert float(learner.outer_grad(theta, episode).gradient["own.gate"].abs()) > 0


def test_what_is_read_moves_the_logits(learner: InContext, theta: Params, episode: Episode) -> None:
    at_rest = learner.predict(learner.at_rest(theta), episode.query.x[0])
    assert not torch.allclose(learner.predict(learner.adapt(theta, episode.support), episode.query.x)[0], at_rest)


def test_at_rest_keeps_the_very_tensors_of_theta(learner: InContext, theta: Params) -> None:
    at_rest = learner.at_rest(theta)
    assert all(at_rest[name] is value for name, value in theta.items())
    assert {name.partition(".")[0] for name in set(at_rest) - set(theta)} == {"seen", "share"}


def test_rows_that_are_all_padding_leave_theta_at_rest(learner: InContext, theta: Params) -> None:
    nobody = LabelledRows.of(torch.zeros(2, 0, N_FEATURES), torch.zeros(2, 0))
    x = draw_rows(2, 5, seed=9).x
    adapted, at_rest = learner.adapt(theta, padded(nobody, 4)), learner.at_rest(theta)
    assert torch.equal(learner.predict(adapted, x)[1], learner.predict(at_rest, x[1]))
    for name, value in at_rest.items():
        if adapted[name][0].shape == value.shape:
            assert torch.equal(adapted[name][0], value), name
        else:  # rows are kept as padding
            assert not adapted[name].any(), name


def test_padding_changes_nothing(learner: InContext, theta: Params, episode: Episode) -> None:
    adapted, more = (learner.adapt(theta, rows) for rows in (episode.support, padded(episode.support, 3)))
    found = learner.predict(more, episode.query.x)
    torch.testing.assert_close(found, learner.predict(adapted, episode.query.x), rtol=1e-5, atol=1e-6)


def test_the_order_of_rows_does_not_matter(learner: InContext, theta: Params, episode: Episode) -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    adapted, shuffled = (learner.adapt(theta, rows) for rows in (episode.support, picked(episode.support, order)))
    found = learner.predict(shuffled, episode.query.x)
    torch.testing.assert_close(found, learner.predict(adapted, episode.query.x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_adds_nothing(learner: InContext, theta: Params, episode: Episode, label: float) -> None:
    rows = LabelledRows.of(episode.support.x, torch.full_like(episode.support.y, label))
    expected = learner.predict(learner.at_rest(theta), episode.query.x[0])
    torch.testing.assert_close(learner.predict(learner.adapt(theta, rows), episode.query.x)[0], expected)


@pytest.mark.parametrize("kind", WEIGHING)
def test_goods_drawn_twice_as_often_say_the_same(kind: type[InContext], episode: Episode) -> None:
    learner = for_credit(kind)
    theta = in_double(without_pseudo_rows(opened(learner.init(torch.Generator().manual_seed(0)))))
    support, x = doubles(episode.support), episode.query.x.double()
    goods_again = LabelledRows(support.x, support.y, 1.0 - support.y, support.offset)
    both = LabelledRows(
        *(torch.cat(pair, dim=1) for pair in zip(vars(support).values(), vars(goods_again).values(), strict=True))
    )
    # drawing twice as many goods halves the odds of default, and the offset says so
    oversampled = with_offset(both, -math.log(2.0))
    expected = learner.predict(learner.adapt(theta, support), x)
    torch.testing.assert_close(learner.predict(learner.adapt(theta, oversampled), x), expected, rtol=0, atol=1e-12)
    assert not torch.allclose(learner.predict(learner.adapt(theta, both), x), expected, rtol=0, atol=1e-6)


def test_few_rows_of_a_class_are_trusted_less(episode: Episode) -> None:
    learner = for_credit(Prototypical)
    theta = opened(learner.init(torch.Generator().manual_seed(0)))
    x, rest = episode.query.x, learner.predict(learner.at_rest(theta), episode.query.x[0])
    moves = []
    for log_h in (-100.0, 0.1, 0.3, 0.5):
        adapted = learner.adapt(theta | {"own.log_h": torch.tensor([log_h])}, episode.support)
        moves.append(float((learner.predict(adapted, x)[0] - rest).abs().mean()))
    assert moves == sorted(moves, reverse=True)
    assert moves[-1] < 0.1 * moves[0]


def test_balanced_rows_weigh_a_half_a_class_and_pds_follow() -> None:
    y = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0]])
    rows = LabelledRows(torch.zeros(1, 5, 1), y, torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]]), torch.full((1, 5), -1.0))
    weights, pd = balanced(rows, torch.full((1, 5), 1.0 - math.log(3.0)))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3, 0.0]]))
    torch.testing.assert_close(pd, torch.full((1, 5), 0.5))  # logit 1 - ln 3, offset -1, three goods a default


def test_shares_count_a_row_as_often_as_it_weighs() -> None:
    shares = shares_of(torch.tensor([0.0, math.log(2.0), 500.0]), torch.tensor([2.0, 1.0, 0.0]))
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.5, 0.0]))
    assert not shares_of(torch.tensor([3.0, 9.0]), torch.zeros(2)).any()
    assert shares_of(torch.zeros(4, 0), torch.zeros(0)).shape == (4, 0)


def assert_true_gradient(learner: InContext, theta: Params, episode: Episode) -> None:
    """Compare outer_grad with central differences at the entry of each tensor that the loss feels most."""
    found = learner.outer_grad(theta, episode).gradient
    for name, gradient in found.items():
        place = int(gradient.abs().argmax())
        losses = []
        for step in (1e-6, -1e-6):
            moved = theta[name].clone()
            moved.view(-1)[place] += step
            losses.append(float(learner.outer_grad(theta | {name: moved}, episode).loss))
        expected = (losses[0] - losses[1]) / 2e-6
        assert float(gradient.reshape(-1)[place]) == pytest.approx(expected, rel=1e-4, abs=1e-8), name


def test_gradients_on_credit(learner: InContext, theta: Params) -> None:
    episode = Episode(*(padded(with_offset(draw_rows(2, 7, s, torch.float64), -0.3), 2) for s in (1, 2)))
    assert_true_gradient(learner, in_double(theta), episode)


def published(kind: type[InContext], n_classes: int) -> InContext:
    loss_fn = squared_error if n_classes == 1 else cross_entropy
    return kind(Mlp(N_FEATURES, (8,), 4), loss_fn, 0.1, 0, n_classes=n_classes, on_credit=False)


def n_way_rows(n_rows: int, seed: int) -> LabelledRows:
    rows = draw_rows(2, n_rows, seed, torch.float64)
    return LabelledRows.of(rows.x, torch.arange(n_rows).remainder(3).expand(2, n_rows))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_three_ways(kind: type[InContext]) -> None:
    learner = published(kind, 3)
    theta = in_double(learner.init(torch.Generator().manual_seed(0)))
    episode = Episode(n_way_rows(6, 1), n_way_rows(5, 2))
    assert learner.predict(learner.adapt(theta, episode.support), episode.query.x).shape == (2, 5, 3)
    assert_true_gradient(learner, theta, episode)


@pytest.mark.parametrize("kind", [MemoryAugmented, NeuralProcess])
def test_gradients_of_regression(kind: type[InContext]) -> None:
    learner = published(kind, 1)
    theta = in_double(learner.init(torch.Generator().manual_seed(0)))
    support, query = (draw_rows(2, n, seed, torch.float64) for n, seed in ((6, 1), (5, 2)))
    episode = Episode(LabelledRows.of(support.x, support.x[..., 0]), LabelledRows.of(query.x, query.x[..., 0]))
    assert learner.predict(learner.adapt(theta, episode.support), episode.query.x).shape == (2, 5, 1)
    assert_true_gradient(learner, theta, episode)


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_rows_and_no_rows_at_all_give_finite_answers(kind: type[InContext]) -> None:
    learner = published(kind, 5)
    theta = in_double(learner.init(torch.Generator().manual_seed(0)))
    rows = n_way_rows(6, 1)
    for support in (rows, picked(rows, torch.arange(0)), LabelledRows.of(rows.x, rows.y, torch.zeros(2, 6))):
        assert torch.isfinite(learner.predict(learner.adapt(theta, support), rows.x)).all()
        gradient = learner.outer_grad(theta, Episode(support, rows)).gradient
        assert all(torch.isfinite(value).all() for value in gradient.values())


def test_credit_has_two_classes() -> None:
    with pytest.raises(InvalidRecipe, match="n_classes must be 2 on credit"):
        for_credit(Prototypical, n_classes=5)
    with pytest.raises(InvalidRecipe, match="at least 1 elsewhere, got 0"):
        as_published(Prototypical, n_classes=0)
