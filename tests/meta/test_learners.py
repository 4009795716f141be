"""One contract, held by every learner of the registry.

Bits: a market adapted by itself, which is how the service adapts, has the same bits each time, and an account scores
the same bits alone and in any batch. Markets adapted side by side, in trials and on folds, agree with that to a
tolerance.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from app.domain.recipes import LEARNER_OPTIONS, LearnerName
from meta.adaptation import AdaptedMarket, MarketRows, adapt_markets, market_logits, posterior_of
from meta.checkpoint import pack, sha256, unpack
from meta.errors import InvalidRecipe
from meta.learners import OPTIONS, REGISTRY, USUAL, build_learner
from meta.learners.meta_sgd import MetaSgd
from meta.learners.protocol import SEEN, Learner
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.serving import ServedModel, served_model
from meta.strength import shrink
from meta.thetas import Theta, pack_theta_prime, theta_sha256
from meta.trainer import Schedule, TrainerState, train
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows
from tests.meta.toy import honest_support, picked, toy_theta

NO_DERIVATIVE = {"fomaml", "reptile"}  # their outer gradients are no derivatives of the query loss, by design
PRIOR_APART = {"map_bayes"}  # its prior is learned on held-out markets, not by the outer gradient


@dataclass(frozen=True)
class Case:
    """A learner, and a theta in which everything that could move something does."""

    name: str
    learner: Learner
    theta: Params

    def adapted(self, support: LabelledRows) -> Params:
        return self.learner.adapt(self.theta, support)

    def logits(self, support: LabelledRows, x: torch.Tensor) -> torch.Tensor:
        return self.learner.predict(self.adapted(support), x)


def stirred(theta: Params, by: float = 0.05) -> Params:
    """Move every number a little: what training starts from has zeros that hide a part of a learner."""
    generator = torch.Generator().manual_seed(99)
    return {n: v + by * torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in theta.items()}


def make_case(name: str, network: Ensemble) -> Case:
    learner = build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=3)
    theta = learner.init(torch.Generator().manual_seed(0))
    return Case(name, learner, theta if name in PRIOR_APART else stirred(theta))


@pytest.fixture(params=sorted(REGISTRY))
def case(request: pytest.FixtureRequest, network: Ensemble) -> Case:
    return make_case(request.param, network)


@pytest.fixture(scope="module")
def toy() -> Theta:
    return toy_theta()


@pytest.fixture(scope="module", params=sorted(REGISTRY))
def stored_theta(request: pytest.FixtureRequest, toy: Theta) -> Theta:
    """All that serving reads; its network has odd widths, at which one product of all rows has other bits."""
    settings = replace(toy.settings, learner=request.param, inner_lr=0.3, inner_steps=3, n_members=3, widths=(33, 33))
    params = settings.build(toy.encoder.n_features).init(torch.Generator().manual_seed(0))
    params = params if request.param in PRIOR_APART else stirred(params)
    return replace(toy, settings=settings, params=params).informed_by(toy.level_prior, toy.effects)


def posted_to(theta: Theta, n_rows: int, seed: int) -> MarketRows:
    return honest_support(theta, n_rows, np.random.default_rng(seed)).rows


def model_after(theta: Theta, rows: MarketRows) -> ServedModel:
    (adapted,) = adapt_markets(theta, [rows])
    weights = {name: value.numpy() for name, value in adapted.theta_prime.items()}
    return served_model(theta, weights, posterior_of(theta, rows, adapted))


def hash_after(theta: Theta, rows: MarketRows) -> str:
    (adapted,) = adapt_markets(theta, [rows])
    return sha256(pack_theta_prime(adapted.theta_prime, posterior_of(theta, rows, adapted), theta_sha256(theta)))


def row(rows: LabelledRows, task: int) -> LabelledRows:
    """One task of a batch, as a batch of its own."""
    return LabelledRows(*(t[task : task + 1] for t in (rows.x, rows.y, rows.mask, rows.offset)))


def padded(rows: LabelledRows, n_more: int) -> LabelledRows:
    """The same rows behind others that are masked out."""

    def longer(values: torch.Tensor, fill: float) -> torch.Tensor:
        shape = (len(values), n_more, *values.shape[2:])
        return torch.cat([values, torch.full(shape, fill, dtype=values.dtype)], dim=1)

    return LabelledRows(longer(rows.x, 7.0), longer(rows.y, 1.0), longer(rows.mask, 0.0), longer(rows.offset, 3.0))


def test_the_recipe_names_every_learner() -> None:
    assert sorted(get_args(LearnerName)) == sorted(REGISTRY)
    assert set(USUAL) <= set(REGISTRY)


def test_the_recipe_names_every_option_with_its_usual_value(network: Ensemble) -> None:
    assert LEARNER_OPTIONS == OPTIONS
    for name, options in OPTIONS.items():
        learner = build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=3)
        assert {option: getattr(learner, option) for option in options} == options


def test_options_make_another_learner(network: Ensemble) -> None:
    def built(name: str, **options: bool | float) -> Any:
        return build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=3, options=options)

    assert "log_h.w0" not in built("meta_sgd", by_evidence=False).init(torch.Generator())
    changed = built("maml_plus_plus", multi_step_loss=False, annealing_share=0.25)
    assert (changed.multi_step_loss, changed.annealing_share, changed.per_step_sizes) == (False, 0.25, True)
    with pytest.raises(InvalidRecipe, match=r"options of maml are none, got 'by_evidence'"):
        built("maml", by_evidence=False)
    with pytest.raises(InvalidRecipe, match=r"options of meta_sgd are \['by_evidence'\], got 'first_order'"):
        built("meta_sgd", first_order=True)
    with pytest.raises(InvalidRecipe, match=r"option 'multi_step_loss' of maml_plus_plus must be true or false, got 1"):
        built("maml_plus_plus", multi_step_loss=1)
    with pytest.raises(InvalidRecipe, match=r"option 'annealing_share' of maml_plus_plus must be a number, got True"):
        built("maml_plus_plus", annealing_share=True)


def test_shapes(case: Case, episode: Episode) -> None:
    adapted, at_rest = case.adapted(episode.support), case.learner.at_rest(case.theta)
    found = {n: v.shape[2:] if n.startswith(SEEN) else v.shape[1:] for n, v in adapted.items()}
    assert found == {n: v.shape[1:] if n.startswith(SEEN) else v.shape for n, v in at_rest.items()}
    assert {len(v) for v in adapted.values()} == {4}
    assert case.learner.predict(adapted, episode.query.x).shape == episode.query.y.shape
    assert case.learner.predict(at_rest, episode.query.x[0]).shape == episode.query.y[0].shape
    gradient = case.learner.outer_grad(case.theta, episode).gradient
    assert {n: v.shape for n, v in gradient.items()} == {n: v.shape for n, v in case.theta.items()}
    assert all(torch.isfinite(v).all() for v in gradient.values())


def test_a_theta_starts_as_the_network_that_it_starts_from(network: Ensemble, episode: Episode) -> None:
    weights = network.init(torch.Generator().manual_seed(3))
    expected = network.readout(network.forward(weights, episode.query.x[0]))
    for name in REGISTRY:
        learner = build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=3)
        theta = learner.start_from(weights, torch.Generator().manual_seed(1))
        found = learner.predict(learner.at_rest(theta), episode.query.x[0])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)


def test_no_rows_leave_theta_at_rest(case: Case, episode: Episode) -> None:
    empty = LabelledRows.of(torch.zeros(1, 0, N_FEATURES), torch.zeros(1, 0))
    masked = row(replace(episode.support, mask=torch.zeros_like(episode.support.mask)), 0)
    at_rest = case.learner.at_rest(case.theta)
    expected = case.learner.predict(at_rest, episode.query.x[0])
    for rows in (empty, masked):
        adapted = case.adapted(rows)
        for name, value in at_rest.items():
            if not name.startswith(SEEN) and name != "share":
                assert torch.equal(adapted[name][0], value), name
        found = case.learner.predict({n: v[0] for n, v in adapted.items()}, episode.query.x[0])
        assert torch.equal(found, expected)


def test_adapting_moves_the_prediction(case: Case, episode: Episode) -> None:
    at_rest = case.learner.predict(case.learner.at_rest(case.theta), episode.query.x[0])
    assert not torch.allclose(case.logits(episode.support, episode.query.x)[0], at_rest, atol=1e-5)


def test_adapting_leaves_theta_untouched(case: Case, episode: Episode) -> None:
    before = {name: value.clone() for name, value in case.theta.items()}
    case.adapted(episode.support)
    case.learner.outer_grad(case.theta, episode)
    assert all(torch.equal(value, before[n]) and not value.requires_grad for n, value in case.theta.items())


def test_order_of_support_rows_does_not_matter(case: Case, episode: Episode) -> None:
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    shuffled = LabelledRows.of(episode.support.x[:, order], episode.support.y[:, order])
    expected = case.logits(episode.support, episode.query.x)
    torch.testing.assert_close(case.logits(shuffled, episode.query.x), expected, rtol=1e-4, atol=1e-5)


def test_padding_says_nothing(case: Case, episode: Episode) -> None:
    found, other = (case.logits(rows, episode.query.x) for rows in (episode.support, padded(episode.support, 5)))
    torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5)


def test_a_task_is_adapted_to_a_tolerance_as_it_would_be_alone(case: Case, episode: Episode) -> None:
    # not to the bit: a batched product may sum in another order than one task's
    together = case.logits(episode.support, episode.query.x)
    for task in range(4):
        alone = case.logits(row(episode.support, task), episode.query.x[task : task + 1])
        torch.testing.assert_close(alone[0], together[task], rtol=1e-4, atol=1e-5)


def test_one_class_gives_finite_predictions(case: Case, episode: Episode) -> None:
    for label in (0.0, 1.0):
        rows = LabelledRows.of(episode.support.x, torch.full_like(episode.support.y, label))
        assert all(torch.isfinite(v).all() for v in case.adapted(rows).values())
        assert torch.isfinite(case.logits(rows, episode.query.x)).all()


def test_one_row_gives_finite_predictions(case: Case, episode: Episode) -> None:
    first = episode.support
    rows = LabelledRows.of(first.x[:, :1], first.y[:, :1])
    assert torch.isfinite(case.logits(rows, episode.query.x)).all()


def test_the_same_answer_twice(case: Case, episode: Episode) -> None:
    first, second = case.adapted(episode.support), case.adapted(episode.support)
    assert all(torch.equal(first[name], second[name]) for name in first)
    gradients = [case.learner.outer_grad(case.theta, episode) for _ in range(2)]
    assert all(torch.equal(gradients[0].gradient[name], gradients[1].gradient[name]) for name in case.theta)


def test_a_market_adapted_by_itself_has_the_same_bits_twice(stored_theta: Theta) -> None:
    rows, other = posted_to(stored_theta, 40, seed=0), posted_to(stored_theta, 33, seed=1)
    first = hash_after(stored_theta, rows)
    content = stored_theta.pack()
    read = Theta.unpack(content, sha256(content), stored_theta.schema_sha256)
    torch.manual_seed(1)  # nothing may be drawn from what the whole program draws from
    assert hash_after(read, other) != first
    assert hash_after(read, rows) == first


def test_markets_adapted_side_by_side_agree_to_a_tolerance_with_each_by_itself(stored_theta: Theta) -> None:
    markets = [posted_to(stored_theta, n_rows, seed) for seed, n_rows in enumerate((40, 25, 33))]
    x = posted_to(stored_theta, 20, seed=9).x

    def logits(adapted: AdaptedMarket) -> np.ndarray:
        return market_logits(stored_theta.learner(), adapted.theta_prime, x) + adapted.level

    for market, together in zip(markets, adapt_markets(stored_theta, markets, minimum_defaults=1), strict=True):
        (alone,) = adapt_markets(stored_theta, [market], minimum_defaults=1)
        assert together.share == alone.share == 1.0
        np.testing.assert_allclose(logits(together), logits(alone), rtol=1e-4, atol=1e-4)


def test_an_account_scores_the_same_bits_alone_in_any_batch_and_in_any_order(stored_theta: Theta) -> None:
    model = model_after(stored_theta, posted_to(stored_theta, 40, seed=0))
    columns = honest_support(stored_theta, 64, np.random.default_rng(9)).columns
    columns = {**columns, "debt": [None, *columns["debt"][1:]]}  # one account has a gap

    def scores(accounts: Iterable[int]) -> np.ndarray:
        found = model.pd_interval(picked(columns, accounts))
        return np.stack([found.pd, found.low, found.high], axis=1)

    alone = np.concatenate([scores([i]) for i in range(64)])
    assert len(np.unique(alone[:, 0])) > 32
    for n_rows in (1, 7, 64):
        np.testing.assert_array_equal(scores(range(n_rows)), alone[:n_rows])
    order = np.random.default_rng(2).permutation(64)
    np.testing.assert_array_equal(scores(order), alone[order])
    # what is compared is the market's own model, not theta at rest
    rest, x = stored_theta.learner().at_rest(stored_theta.params), stored_theta.reading.encode(columns)
    moved = model.logits(x) - market_logits(stored_theta.learner(), rest, x)
    assert np.ptp(moved) > 1e-3


def test_stored_and_read_again_it_predicts_the_same_bits(case: Case, episode: Episode) -> None:
    alone = {name: value[0].contiguous() for name, value in case.adapted(episode.support).items()}
    content = pack(alone, {})
    read, _ = unpack(content, sha256(content))
    assert all(torch.equal(read[name], value) for name, value in alone.items())
    x = episode.query.x[0]
    assert torch.equal(case.learner.predict(read, x), case.learner.predict(alone, x))


def test_a_share_of_the_move_lies_between_theta_and_the_whole_of_it(case: Case, episode: Episode) -> None:
    at_rest, adapted = case.learner.at_rest(case.theta), case.adapted(episode.support)

    def logits(share: float) -> torch.Tensor:
        return case.learner.predict(shrink(at_rest, adapted, torch.full((4,), share)), episode.query.x)

    rest = case.learner.predict(at_rest, episode.query.x[0])
    assert torch.equal(logits(0.0)[0], rest)
    torch.testing.assert_close(logits(1.0), case.learner.predict(adapted, episode.query.x))
    little, whole = ((logits(share)[0] - rest).abs().mean() for share in (0.1, 1.0))
    assert 0 < little < whole


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - NO_DERIVATIVE))
def test_the_outer_gradient_is_the_derivative_of_the_loss(name: str, network: Ensemble, episode: Episode) -> None:
    case = make_case(name, network)
    theta = {name: value.double() for name, value in case.theta.items()}
    support, query = (
        LabelledRows(*(t.double() for t in (rows.x, rows.y, rows.mask, rows.offset)))
        for rows in (episode.support, episode.query)
    )
    exact = Episode(support, query)
    found = case.learner.outer_grad(theta, exact).gradient
    generator = torch.Generator().manual_seed(5)
    along = {n: torch.randn(v.shape, generator=generator, dtype=v.dtype) for n, v in theta.items()}
    if case.name in PRIOR_APART:
        along = {n: v * (not n.startswith("prior.")) for n, v in along.items()}
    step = 1e-6  # shorter than the way to the next kink of a ReLU
    ends = [
        case.learner.outer_grad({n: v + sign * step * along[n] for n, v in theta.items()}, exact).loss
        for sign in (1, -1)
    ]
    slope = float(sum((found[n] * along[n]).sum() for n in theta))
    assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-9)


def test_meta_training_lowers_the_loss_after_adaptation(case: Case) -> None:
    def gradient_at(params: Params, step: int):
        # tasks share one weak rule (feature 0) and differ in their second (feature 1)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 40, N_FEATURES, generator=generator)
        own = torch.randn(8, 1, generator=generator)
        y = (torch.rand(8, 40, generator=generator) < torch.sigmoid(2 * x[..., 0] + own * x[..., 1])).float()
        return case.learner.outer_grad(
            params, Episode(LabelledRows.of(x[:, :20], y[:, :20]), LabelledRows.of(x[:, 20:], y[:, 20:]))
        )

    theta = case.learner.init(torch.Generator().manual_seed(0))
    state = train(TrainerState.at_start(theta), gradient_at, Schedule(80, 0.02))
    before = sum(float(gradient_at(theta, 10**4 + i).loss) for i in range(5))
    after = sum(float(gradient_at(state.best, 10**4 + i).loss) for i in range(5))
    assert after < 0.9 * before


@pytest.mark.parametrize("name", ["maml", "fomaml", "anil", "meta_sgd", "reptile", "map_bayes"])
def test_adapting_fits_the_support(name: str, network: Ensemble, episode: Episode) -> None:
    """What steps down the support's own loss fits it, from any theta; others learn how to read a support."""
    learner = build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=3)
    theta = learner.init(torch.Generator().manual_seed(0))

    def loss(theta_prime: Params) -> float:
        logits = learner.predict(theta_prime, episode.support.x).unsqueeze(-1)
        return float(binary_cross_entropy(logits, episode.support.y, episode.support.mask).mean())

    assert loss(learner.adapt(theta, episode.support)) < loss(learner.at_rest(theta))


def test_compiled_and_eager_outer_gradients_agree(network: Ensemble, episode: Episode) -> None:
    for name in ("maml", "fomaml", "meta_sgd"):
        learner = build_learner(name, network, binary_cross_entropy, inner_lr=0.1, inner_steps=2)
        theta = learner.init(torch.Generator().manual_seed(0))
        found = torch.compile(learner.outer_grad, backend="aot_eager")(theta, episode)
        eager = learner.outer_grad(theta, episode)
        for key in theta:
            torch.testing.assert_close(found.gradient[key], eager.gradient[key], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu(case: Case, episode: Episode) -> None:
    device = torch.device("cuda")
    there = {n: v.to(device) for n, v in case.theta.items()}
    adapted = case.learner.adapt(there, episode.support.to(device))
    found = case.learner.predict(adapted, episode.query.x.to(device)).cpu()
    torch.testing.assert_close(found, case.logits(episode.support, episode.query.x), rtol=1e-3, atol=1e-4)
    gradient = case.learner.outer_grad(there, episode.to(device)).gradient
    for name, value in case.learner.outer_grad(case.theta, episode).gradient.items():
        torch.testing.assert_close(gradient[name].cpu(), value, rtol=1e-2, atol=1e-4)


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
