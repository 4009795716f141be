"""One contract, held by every learner of the registry."""

import pytest
import torch

from meta.errors import InvalidRecipe
from meta.learners import REGISTRY, build_learner
from meta.learners.meta_sgd import MetaSgd
from meta.learners.protocol import Learner
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.trainer import Schedule, TrainerState, train
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows


@pytest.fixture(params=sorted(REGISTRY))
def learner(request: pytest.FixtureRequest, network: Ensemble) -> Learner:
    return build_learner(request.param, network, binary_cross_entropy, inner_lr=0.1, inner_steps=3)


@pytest.fixture
def theta(learner: Learner) -> Params:
    return learner.init(torch.Generator().manual_seed(0))


def test_shapes(learner: Learner, theta: Params, episode: Episode) -> None:
    adapted = learner.adapt(theta, episode.support)
    at_rest = learner.at_rest(theta)
    assert {n: v.shape[1:] for n, v in adapted.items()} == {n: v.shape for n, v in at_rest.items()}
    assert learner.predict(adapted, episode.query.x).shape == episode.query.y.shape
    assert learner.predict(at_rest, episode.query.x[0]).shape == episode.query.y[0].shape
    gradient = learner.outer_grad(theta, episode).gradient
    assert {n: v.shape for n, v in gradient.items()} == {n: v.shape for n, v in theta.items()}


def test_no_rows_leave_theta_at_rest(learner: Learner, theta: Params) -> None:
    empty = LabelledRows.of(torch.zeros(1, 0, N_FEATURES), torch.zeros(1, 0))
    adapted, at_rest = learner.adapt(theta, empty), learner.at_rest(theta)
    for name, value in at_rest.items():
        assert torch.equal(adapted[name][0], value), name


def test_adapting_leaves_theta_untouched(learner: Learner, theta: Params, episode: Episode) -> None:
    before = {name: value.clone() for name, value in theta.items()}
    learner.adapt(theta, episode.support)
    learner.outer_grad(theta, episode)
    assert all(torch.equal(theta[name], before[name]) and not theta[name].requires_grad for name in theta)


def test_adapting_fits_the_support(learner: Learner, theta: Params, episode: Episode) -> None:
    def loss(theta_prime: Params) -> float:
        logits = learner.predict(theta_prime, episode.support.x).unsqueeze(-1)
        return float(binary_cross_entropy(logits, episode.support.y, episode.support.mask).mean())

    assert loss(learner.adapt(theta, episode.support)) < loss(learner.at_rest(theta))


def test_order_of_support_rows_does_not_matter(learner: Learner, theta: Params, episode: Episode) -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    shuffled = LabelledRows.of(episode.support.x[:, order], episode.support.y[:, order])
    for name, value in learner.adapt(theta, episode.support).items():
        torch.testing.assert_close(learner.adapt(theta, shuffled)[name], value, rtol=1e-4, atol=1e-6)


def test_one_class_gives_finite_weights(learner: Learner, theta: Params, episode: Episode) -> None:
    for label in (0.0, 1.0):
        rows = LabelledRows.of(episode.support.x, torch.full_like(episode.support.y, label))
        assert all(torch.isfinite(v).all() for v in learner.adapt(theta, rows).values())


def test_the_same_answer_twice(learner: Learner, theta: Params, episode: Episode) -> None:
    first, second = learner.adapt(theta, episode.support), learner.adapt(theta, episode.support)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_meta_training_lowers_the_loss_after_adaptation(learner: Learner, theta: Params) -> None:
    def gradient_at(params: Params, step: int):
        # tasks share one weak rule (feature 0) and differ in their second (feature 1)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 40, N_FEATURES, generator=generator)
        own = torch.randn(8, 1, generator=generator)
        y = (torch.rand(8, 40, generator=generator) < torch.sigmoid(2 * x[..., 0] + own * x[..., 1])).float()
        return learner.outer_grad(
            params, Episode(LabelledRows.of(x[:, :20], y[:, :20]), LabelledRows.of(x[:, 20:], y[:, 20:]))
        )

    state = train(TrainerState.at_start(theta), gradient_at, Schedule(80, 0.02))
    before = sum(float(gradient_at(theta, 10**4 + i).loss) for i in range(5))
    after = sum(float(gradient_at(state.best, 10**4 + i).loss) for i in range(5))
    assert after < 0.9 * before


def test_compiled_and_eager_outer_gradients_agree(network: Ensemble, episode: Episode) -> None:
    for name in ("maml", "fomaml", "meta_sgd"):
        learner = build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=2)
        theta = learner.init(torch.Generator().manual_seed(0))
        compiled = torch.compile(learner.outer_grad, backend="aot_eager")(theta, episode)
        eager = learner.outer_grad(theta, episode)
        for key in theta:
            torch.testing.assert_close(compiled.gradient[key], eager.gradient[key], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu(learner: Learner, theta: Params, episode: Episode) -> None:
    device = torch.device("cuda")
    there = learner.adapt({n: v.to(device) for n, v in theta.items()}, episode.support.to(device))
    for name, value in learner.adapt(theta, episode.support).items():
        torch.testing.assert_close(there[name].cpu(), value, rtol=1e-3, atol=1e-5)


def test_first_order_maml_differs_from_second_order(network: Ensemble, episode: Episode) -> None:
    exact, approximate = (
        build_learner(name, network, binary_cross_entropy, inner_lr=0.5, inner_steps=3) for name in ("maml", "fomaml")
    )
    theta = exact.init(torch.Generator().manual_seed(0))
    gradients = [maker.outer_grad(theta, episode).gradient["w0"] for maker in (exact, approximate)]
    assert not torch.allclose(*gradients, rtol=1e-2)


def test_anil_moves_the_head_alone(network: Ensemble, episode: Episode) -> None:
    learner = build_learner("anil", network, binary_cross_entropy, inner_lr=0.1, inner_steps=3)
    theta = learner.init(torch.Generator().manual_seed(0))
    adapted = learner.adapt(theta, episode.support)
    moved = {name for name, value in adapted.items() if not torch.equal(value[0], theta[name])}
    assert moved == {"head_w", "head_b", "wide"}


def test_meta_sgd_steps_grow_with_the_number_of_defaults(network: Ensemble) -> None:
    learner = MetaSgd(network, binary_cross_entropy, 0.1, 1, by_evidence=True)
    theta = learner.init(torch.Generator().manual_seed(0))
    rows = draw_rows(2, 50, seed=1)
    y = torch.zeros(2, 50)
    y[0, :5], y[1, :20] = 1.0, 1.0
    steps = learner.step_sizes(theta, LabelledRows.of(rows.x, y))["head_b"]
    # half points start at 20 defaults: 5 / 25 and 20 / 40 of alpha = 0.1
    torch.testing.assert_close(steps[:, 0], torch.tensor([0.02, 0.05]))


def test_reptile_points_from_theta_to_the_adapted_mean(network: Ensemble, episode: Episode) -> None:
    learner = build_learner("reptile", network, binary_cross_entropy, inner_lr=0.1, inner_steps=1)
    theta = learner.init(torch.Generator().manual_seed(0))
    everything = LabelledRows.of(
        torch.cat([episode.support.x, episode.query.x], 1), torch.cat([episode.support.y, episode.query.y], 1)
    )
    adapted = learner.adapt(theta, everything)["w1"].mean(0)
    torch.testing.assert_close(learner.outer_grad(theta, episode).gradient["w1"], (theta["w1"] - adapted) / 0.1)


def test_an_unknown_learner_is_refused(network: Ensemble) -> None:
    with pytest.raises(InvalidRecipe, match=r"learner must be one of .*'maml'.*got 'mamml'"):
        build_learner("mamml", network, binary_cross_entropy, inner_lr=0.1, inner_steps=1)
