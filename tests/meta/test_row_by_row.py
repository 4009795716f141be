"""Serving by the learner itself: each row's bits are its own, and they survive storage."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from meta.adaptation import MarketRows, adapt_markets, market_logits, posterior_of
from meta.checkpoint import pack, sha256, unpack
from meta.conflict import find_conflicts
from meta.errors import CorruptArtifact
from meta.evidence import cross_fit
from meta.inference import EnsembleForward
from meta.influence import leave_one_out
from meta.learners.in_context import SCALE
from meta.row_by_row import RowByRow
from meta.serving import ServedModel, serve
from meta.strength import Strength
from meta.thetas import Theta, pack_theta_prime, theta_sha256
from tests.meta.toy import Posted, honest_support, toy_theta

LEARNERS = ("prototypical", "matching", "memory_augmented", "neural_process")


@pytest.fixture(params=LEARNERS, scope="module")
def theta(request: pytest.FixtureRequest) -> Theta:
    found = toy_theta(request.param)
    gate = torch.full((1,), 0.5 / SCALE)
    return replace(found, params=found.params | {"own.gate": gate})


@pytest.fixture(scope="module")
def posted(theta: Theta) -> Posted:
    return honest_support(theta, 40, np.random.default_rng(0))


def stored(theta: Theta, rows: MarketRows) -> tuple[bytes, str]:
    (adapted,) = adapt_markets(theta, [rows])
    content = pack_theta_prime(adapted.theta_prime, posterior_of(theta, rows, adapted), theta_sha256(theta))
    return content, sha256(content)


def model_after(theta: Theta, rows: MarketRows) -> ServedModel:
    return serve(theta, theta_sha256(theta), stored(theta, rows))


def test_a_row_has_the_same_bits_alone_in_a_batch_and_shuffled(theta: Theta, posted: Posted) -> None:
    model = model_after(theta, posted.rows)
    assert isinstance(model.forward, RowByRow)
    x = honest_support(theta, 65, np.random.default_rng(1)).rows.x
    together = model.logits(x)
    np.testing.assert_array_equal(np.concatenate([model.logits(x[i : i + 1]) for i in range(len(x))]), together)
    order = np.random.default_rng(2).permutation(len(x))
    np.testing.assert_array_equal(model.logits(x[order]), together[order])


def test_a_row_has_the_same_bits_whatever_the_number_of_threads(theta: Theta) -> None:
    rows = honest_support(theta, 400, np.random.default_rng(0)).rows
    model, usual, found = model_after(theta, rows), torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 4):
            torch.set_num_threads(n_threads)
            found.append(model.logits(rows.x[:50]))
    finally:
        torch.set_num_threads(usual)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("n_rows", [12, 25, 40])
def test_what_any_number_of_rows_left_behind_is_served(theta: Theta, posted: Posted, n_rows: int) -> None:
    rows = replace(posted.rows, x=posted.rows.x[:n_rows], y=posted.rows.y[:n_rows])
    assert rows.y.sum() >= 1
    theta = replace(theta, strength=Strength((1.0,), (0.5,)))
    (adapted,) = adapt_markets(theta, [rows], minimum_defaults=1)
    content = pack_theta_prime(adapted.theta_prime, posterior_of(theta, rows, adapted), theta_sha256(theta))
    model = serve(theta, theta_sha256(theta), (content, sha256(content)))
    x = honest_support(theta, 9, np.random.default_rng(1)).rows.x
    expected = market_logits(theta.learner(), adapted.theta_prime, x) + adapted.level
    np.testing.assert_allclose(model.logits(x), expected, rtol=1e-5, atol=1e-5)
    assert float(adapted.theta_prime["share"]) == 0.5
    at_rest = market_logits(theta.learner(), theta.learner().at_rest(theta.params), x)
    assert np.abs(model.logits(x) - adapted.level - at_rest).max() > 1e-4


def test_at_rest_the_learner_serves_as_its_network(theta: Theta) -> None:
    model = serve(theta, theta_sha256(theta), None)
    x = honest_support(theta, 20, np.random.default_rng(1)).rows.x
    weights = {name: theta.params[name].numpy() for name in ("r", "w0", "s0", "b0", "head_w", "head_b", "wide")}
    network = EnsembleForward(weights, 1).logits(x)
    np.testing.assert_array_equal(model.logits(x), network + theta.level_prior.mean)


def test_rows_beside_each_other_in_a_batch_leave_their_own_traces(theta: Theta, posted: Posted) -> None:
    short = posted.rows.without(np.arange(15))
    both, (alone,) = adapt_markets(theta, [posted.rows, short]), adapt_markets(theta, [short])
    learner, x = theta.learner(), posted.rows.x
    expected = market_logits(learner, alone.theta_prime, x)
    np.testing.assert_allclose(market_logits(learner, both[1].theta_prime, x), expected, rtol=1e-4, atol=1e-5)
    assert both[1].level == pytest.approx(alone.level, abs=1e-4)


def test_the_guards_questions_are_answered(theta: Theta, posted: Posted) -> None:
    found = cross_fit(theta, posted.rows, 0, None, 5)
    assert found is not None
    assert np.isfinite(found.gains()).all()
    assert np.abs(found.logits["theta_prime"] - found.logits["base_rate_only"]).max() > 1e-4
    assert all(0 < c.p_value <= 1 for c in find_conflicts(theta, posted.rows, posted.columns, 0))
    influences = leave_one_out(theta, posted.rows, 6, None, 5)
    assert all(np.isfinite([i.level, i.ranking, i.loss]).all() and i.ranking > 0 for i in influences)


def test_a_theta_survives_storage(theta: Theta) -> None:
    content = theta.pack()
    assert Theta.unpack(content, sha256(content), theta.schema_sha256).pack() == content


def test_traces_of_another_learner_or_size_are_refused(theta: Theta, posted: Posted) -> None:
    tensors, metadata = unpack(*stored(theta, posted.rows))
    name = next(n for n in sorted(tensors) if n.startswith("seen.") and tensors[n].dim() >= 2)
    wider = torch.cat([tensors[name], tensors[name]], dim=-1)
    lacking = {n: v for n, v in tensors.items() if n != name}
    for wrong in (lacking, lacking | {name: wider}, tensors | {"own.more": torch.zeros(1)}):
        content = pack(wrong, metadata)
        with pytest.raises(CorruptArtifact, match="does not have the tensors"):
            serve(theta, theta_sha256(theta), (content, sha256(content)))
