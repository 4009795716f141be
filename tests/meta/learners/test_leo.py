"""LEO: its loops and penalties by hand, what a code decodes to, what it samples by, its meta-gradient."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from meta.learners.leo import CODE_SD, SCALE, Gaussian, Leo, LeoRegression, Walk, _relations
from meta.losses import binary_cross_entropy, cross_entropy, squared_error
from meta.nets import Ensemble, Mlp
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows
from tests.meta.learners.oracles import (
    gradient_matches_differences,
    in_float64,
    padding_changes_nothing,
    rows_without_any_leave_theta_at_rest,
    with_padding,
)

CREDIT = Leo(Ensemble(N_FEATURES, (5,), n_members=2), binary_cross_entropy, 2.0, 2, n_latents=3, finetuning_lr=0.1)


def draw_theta(learner: Leo, seed: int = 0) -> Params:
    return learner.init(torch.Generator().manual_seed(seed))


def with_relations(theta: Params) -> Params:
    """A theta whose relation network says something: on credit its last layer starts at 0."""
    drawn = torch.randn(theta["relation.w2"].shape, generator=torch.Generator().manual_seed(9))
    return theta | {"relation.w2": drawn.to(theta["relation.w2"])}


# one feature x, two classes, a code of one number, decoder w = 2 z; encoder and relations are worked out below
TINY = Leo(Mlp(1, (), 2), cross_entropy, 0.5, 1, n_latents=1, finetuning_lr=0.2, finetuning_steps=1)
THETA: Params = {
    "encoder.w0": torch.tensor([[1.0]]),
    "relation.w0": torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
    "relation.w1": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
    "relation.w2": torch.tensor([[0.25, 0.0], [0.0, 0.0]]),
    "decoder.w0": torch.tensor([[2.0, 0.0]]),
    "lr.latent": torch.tensor([1.0 / SCALE]),
    "lr.finetuning": torch.tensor([1.0 / SCALE]),
}
TWO_ROWS = LabelledRows.of(torch.tensor([[[3.0], [1.0]]]), torch.tensor([[0, 1]]))


def test_codes_are_mean_relations() -> None:
    # relations are sums of x: row 3 with partners 3 and 1 has 6 and 4, mean 5; row 1 has 4 and 2, mean 3; a quarter
    code = TINY.code(THETA, TWO_ROWS)
    torch.testing.assert_close(code.mean, torch.tensor([[[1.25], [0.75]]]))
    torch.testing.assert_close(code.sd, torch.full((1, 2, 1), CODE_SD))


def test_partners_are_averaged_class_by_class() -> None:
    # class 0 has rows 3 and 5, class 1 has row 1: a partner's mean is (4 + 1) / 2, whatever the rows' own share
    rows = LabelledRows.of(torch.tensor([[[3.0], [5.0], [1.0]]]), torch.tensor([[0, 0, 1]]))
    torch.testing.assert_close(TINY.code(THETA, rows).mean, torch.tensor([[[6.5 / 4], [3.5 / 4]]]))


def test_a_latent_step_then_a_finetuning_step_by_hand() -> None:
    # rows x = 3 of class 0 and x = 1 of class 1, logits w x, p_x = the share of class 0: the mean loss has the slope
    # (3 (p_3 - 1) + p_1) / 2 by w_0 and minus that by w_1; z starts at 1.25 and 0.75, w = 2 z
    def slope(w: list[float]) -> float:
        p_3, p_1 = (1.0 / (1.0 + math.exp(-(w[0] - w[1]) * x)) for x in (3.0, 1.0))
        return (3.0 * (p_3 - 1.0) + p_1) / 2.0

    z = [1.25, 0.75]
    by_z = 2.0 * slope([2.0 * code for code in z])
    z = [z[0] - 0.5 * by_z, z[1] + 0.5 * by_z]
    w = [2.0 * z[0], 2.0 * z[1]]
    by_w = slope(w)
    w = [w[0] - 0.2 * by_w, w[1] + 0.2 * by_w]
    adapted = TINY.adapt(THETA, TWO_ROWS)
    torch.testing.assert_close(adapted["w0"], torch.tensor([[w]]))
    assert torch.count_nonzero(adapted["b0"]) == 0


def test_penalties_by_hand() -> None:
    # divergence of N(1, 1) from N(0, 1): 1/2; (z' - z)^2 = 4; squares of matrices: 1 + 2 + 2 + 1/16, the decoder's 50;
    # decoder rows (3, 4) and (4, 3) correlate by 24/25: two of four entries
    theta = THETA | {"decoder.w0": torch.tensor([[3.0, 4.0], [4.0, 3.0]])}
    one = torch.ones(1, 2, 1)
    walk = Walk(Gaussian(one, one), one, 3.0 * one, one)
    none = replace(TINY, kl_weight=0.0, encoder_weight=0.0, l2_weight=0.0, orthogonality_weight=0.0)
    expected = {"kl_weight": 0.5, "encoder_weight": 4.0, "l2_weight": 55.0625, "orthogonality_weight": 0.4608}
    for name, value in expected.items():
        assert replace(none, **{name: 1.0}).penalties(theta, walk).item() == pytest.approx(value), name


def test_the_encoder_penalty_moves_the_encoder_towards_the_code_that_was_found() -> None:
    only = replace(TINY, kl_weight=0.0, encoder_weight=1.0, l2_weight=0.0, orthogonality_weight=0.0)
    start, end = torch.zeros(1, 2, 1, requires_grad=True), torch.ones(1, 2, 1, requires_grad=True)
    only.penalties(THETA, Walk(Gaussian(start, torch.ones_like(start)), start, end, end)).backward()
    assert end.grad is None
    torch.testing.assert_close(start.grad, torch.full((1, 2, 1), -1.0))


def test_on_credit_the_decoded_head_is_added_to_each_members_own(network: Ensemble, episode: Episode) -> None:
    learner = Leo(network, binary_cross_entropy, 2.0, 2, n_latents=4, finetuning_lr=0.1)
    theta = with_relations(draw_theta(learner))
    walk = learner._walk(theta, episode.support, None, first_order=True)
    adapted = learner.adapt(theta, episode.support)
    moved = {name for name, value in adapted.items() if not torch.equal(value, theta[f"net.{name}"].expand_as(value))}
    assert moved == {"head_w", "wide"}
    # a logit by hand: theta's own, each member's slice of what it represents times its slice of w_1 - w_0, the inputs
    # times what is left of it
    represented = network.represent(learner.at_rest(theta), episode.query.x).unflatten(-1, (3, 16))
    between = walk.decoded[:, 1] - walk.decoded[:, 0]
    own = torch.einsum("trms,tms->trm", represented, between[:, :48].unflatten(-1, (3, 16)))
    linear = torch.einsum("tri,ti->tr", episode.query.x, between[:, 48:]).unsqueeze(-1)
    members = network.forward(learner.at_rest(theta), episode.query.x) + own + linear
    torch.testing.assert_close(network.forward(adapted, episode.query.x), members)
    seen = learner._read(theta, episode.query.x)
    torch.testing.assert_close(learner._outputs({"decoded": walk.decoded}, seen), members)


def test_fresh_from_pooled_rows_every_code_is_the_priors_mean(network: Ensemble, episode: Episode) -> None:
    learner = Leo(network, binary_cross_entropy, 2.0, 0, n_latents=4, finetuning_steps=0)
    weights = network.init(torch.Generator().manual_seed(0))
    theta = learner.start_from(weights, torch.Generator().manual_seed(1))
    at_rest = learner.at_rest(theta)
    assert set(at_rest) == set(weights)
    assert all(at_rest[name] is value for name, value in weights.items())
    assert torch.count_nonzero(learner.code(theta, replace(episode.support, x=torch.ones(4, 10, 54))).mean) == 0
    assert torch.equal(learner.adapt(theta, episode.support)["head_w"], weights["head_w"].expand(4, 3, 16))


def test_a_class_without_rows_has_the_code_zero() -> None:
    theta = with_relations(draw_theta(CREDIT))
    rows = draw_rows(2, 6, seed=1)
    goods = replace(rows, y=torch.zeros_like(rows.y), x=CREDIT._read(theta, rows.x))
    code = CREDIT.code(theta, goods).mean
    assert torch.count_nonzero(code[:, 1]) == 0
    assert torch.count_nonzero(code[:, 0]) > 0


@pytest.mark.parametrize("first_order", [False, True])
def test_equal_episodes_have_equal_gradients_and_others_other_noise(first_order: bool) -> None:
    learner, theta = replace(CREDIT, first_order=first_order), with_relations(draw_theta(CREDIT))
    episode = Episode(draw_rows(3, 8, 4), draw_rows(3, 9, 5))
    torch.manual_seed(1)
    first = learner.outer_grad(theta, episode).gradient
    torch.manual_seed(2)
    again = learner.outer_grad(theta, episode).gradient
    assert all(torch.equal(first[name], again[name]) for name in theta)
    noise, other = learner._noise(episode.support), learner._noise(episode.query)
    assert noise.code.std().item() == pytest.approx(1.0, abs=0.5)
    assert not torch.equal(noise.code, other.code)
    assert not torch.equal(noise.parameters[0], noise.parameters[1])


def test_training_samples_and_adapting_does_not() -> None:
    # with noise of 0 the walk is the one that adapting takes
    theta, support = with_relations(draw_theta(CREDIT)), draw_rows(3, 8, 4)
    noise = CREDIT._noise(support)
    means = CREDIT._walk(theta, support, None, first_order=True)
    silent = CREDIT._walk(theta, support, type(noise)(*(torch.zeros_like(n) for n in noise)), first_order=True)
    sampled = CREDIT._walk(theta, support, noise, first_order=True)
    torch.testing.assert_close(silent.decoded, means.decoded)
    torch.testing.assert_close(sampled.start, means.code.mean + means.code.sd * noise.code)
    assert not torch.allclose(sampled.decoded, means.decoded, atol=1e-4)


def test_large_supports_meet_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    theta = with_relations(draw_theta(CREDIT))
    codes, shares = torch.randn(2, 7, 3), torch.rand(2, 2, 7)
    whole = _relations(theta, codes, shares, codes, shares[:, 0])
    monkeypatch.setattr("meta.learners.leo.PAIRS_AT_ONCE", 30)  # two rows at once
    torch.testing.assert_close(_relations(theta, codes, shares, codes, shares[:, 0]), whole)


def test_the_meta_gradient_matches_finite_differences() -> None:
    # penalties all of a size that is seen; z' is held still in the encoder's, which differences cannot know
    learner = replace(CREDIT, kl_weight=0.1, encoder_weight=0.0, l2_weight=0.01, orthogonality_weight=0.1)
    theta = with_relations(in_float64(draw_theta(learner, seed=3)))
    episode = Episode(draw_rows(3, 8, 4, torch.float64), draw_rows(3, 9, 5, torch.float64))
    gradient_matches_differences(learner, theta, episode)


def classes(n_tasks: int, n_rows: int, seed: int, dtype: torch.dtype = torch.float32) -> LabelledRows:
    """Rows of three classes, one after the other."""
    x = draw_rows(n_tasks, n_rows, seed, dtype).x
    y = (torch.arange(n_rows) % 3).expand(n_tasks, n_rows)
    return LabelledRows.of(x + torch.nn.functional.one_hot(y, N_FEATURES), y)


def test_classification_decodes_a_softmax_head_and_learns() -> None:
    network = Mlp(N_FEATURES, (16,), 3)
    learner = Leo(network, cross_entropy, 1.0, 2, n_latents=4)
    theta = draw_theta(learner)
    assert {name for name in theta if name.startswith("net.")} == {"net.w0", "net.b0"}
    at_rest = learner.at_rest(theta)
    assert torch.count_nonzero(learner.predict(at_rest, torch.randn(5, N_FEATURES))) == 0
    rows_without_any_leave_theta_at_rest(learner, theta, classes(2, 6, 1))
    episode = Episode(classes(3, 6, 4, torch.float64), classes(3, 9, 5, torch.float64))
    gradient_matches_differences(replace(learner, encoder_weight=0.0), in_float64(theta), episode)
    adapted = learner.adapt(theta, classes(2, 6, 1))
    assert adapted["w1"].shape == (2, 16, 3)
    before, after = (
        cross_entropy(learner.predict(p, classes(2, 6, 1).x), classes(2, 6, 1).y, torch.ones(2, 6)).mean()
        for p in (at_rest, adapted)
    )
    assert after < before


def test_padding_and_missing_rows() -> None:
    theta = with_relations(draw_theta(CREDIT))
    episode = Episode(draw_rows(3, 8, 4), draw_rows(3, 9, 5))
    padding_changes_nothing(CREDIT, theta, episode)
    rows_without_any_leave_theta_at_rest(CREDIT, theta, episode.support)
    noise, padded = CREDIT._noise(episode.support), CREDIT._noise(with_padding(episode.support))
    assert torch.equal(noise.code, padded.code)


REGRESSION = LeoRegression(Mlp(1, (6, 5), 1), squared_error, 0.1, 2, n_latents=3, finetuning_lr=0.01, n_hidden=8)


def curves(n_tasks: int, n_rows: int, seed: int, dtype: torch.dtype = torch.float32) -> LabelledRows:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n_tasks, n_rows, 1, generator=generator, dtype=dtype) * 10 - 5
    size, shift = torch.rand(2, n_tasks, 1, generator=generator, dtype=dtype) * 3
    return LabelledRows.of(x, (size + 0.1) * torch.sin(x.squeeze(-1) + shift))


def test_regression_decodes_every_weight_and_starts_from_the_network() -> None:
    weights = REGRESSION.network.init(torch.Generator().manual_seed(0))
    theta = REGRESSION.start_from(weights, torch.Generator().manual_seed(1))
    at_rest, adapted = REGRESSION.at_rest(theta), REGRESSION.adapt(theta, curves(4, 5, 1))
    for name, value in weights.items():
        torch.testing.assert_close(at_rest[name], value)
        assert adapted[name].shape == (4, *value.shape)
        assert not torch.equal(adapted[name][0], adapted[name][1])
    rows = curves(4, 5, 1)
    assert REGRESSION.predict(adapted, rows.x).shape == (4, 5, 1)
    rows_without_any_leave_theta_at_rest(REGRESSION, theta, curves(1, 5, 1))


def test_regressions_meta_gradient_matches_finite_differences() -> None:
    learner = replace(REGRESSION, kl_weight=0.1, encoder_weight=0.0, l2_weight=0.01, orthogonality_weight=0.1)
    theta = in_float64(draw_theta(learner, seed=3))
    gradient_matches_differences(
        learner, theta, Episode(curves(3, 5, 1, torch.float64), curves(3, 9, 2, torch.float64))
    )


def test_a_regression_step_in_latent_space_is_a_step_through_the_decoder() -> None:
    # one step of the code, by autograd on the whole of it
    learner = replace(REGRESSION, inner_steps=1, finetuning_steps=0)
    theta, rows = draw_theta(learner), curves(2, 5, 1)
    z = learner.code(theta, rows).mean.detach().requires_grad_()

    def loss(code: Tensor) -> Tensor:
        weights = learner._placed(theta, learner._decode(theta, code, None, 0))
        return squared_error(learner.network.forward(weights, rows.x), rows.y, rows.mask)

    z_after = z.detach() - 0.1 * torch.autograd.grad(loss(z).sum(), z)[0]
    expected = learner._placed(theta, learner._decode(theta, z_after, None, 0))
    for name, value in learner.adapt(theta, rows).items():
        torch.testing.assert_close(value, expected[name])


def test_many_rows_meet_some_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = draw_rows(2, 30, seed=3)
    theta = with_relations(draw_theta(CREDIT))
    whole = CREDIT.adapt(theta, rows)["head_w"]
    monkeypatch.setattr("meta.learners.leo.MAX_PARTNERS", 29)  # as many as any class has: everybody is met
    torch.testing.assert_close(CREDIT.adapt(theta, rows)["head_w"], whole)
    monkeypatch.setattr("meta.learners.leo.MAX_PARTNERS", 6)
    some = CREDIT.adapt(theta, rows)["head_w"]
    assert not torch.allclose(some, whole, atol=1e-6)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = LabelledRows.of(rows.x[:, order], rows.y[:, order])
    torch.testing.assert_close(CREDIT.adapt(theta, shuffled)["head_w"], some, rtol=1e-4, atol=1e-6)
    padded = CREDIT.adapt(theta, with_padding(rows))["head_w"]
    torch.testing.assert_close(padded, some, rtol=1e-4, atol=1e-6)
