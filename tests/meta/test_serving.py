"""A market's model as it serves: intervals with the same bits everywhere, and artifacts that cannot be swapped."""

import numpy as np
import pytest
import torch

from meta.adaptation import AdaptedMarket, MarketRows, adapt_markets, market_logits, posterior_of
from meta.checkpoint import pack, sha256
from meta.errors import CorruptArtifact
from meta.serving import ServedModel, serve
from meta.thetas import Theta, pack_theta_prime, theta_sha256
from tests.meta.toy import PRIOR, honest_support, pd_of, picked, sigmoid, toy_theta

N_ROWS = 65


@pytest.fixture(scope="module")
def theta() -> Theta:
    return toy_theta()


@pytest.fixture(scope="module")
def rows(theta: Theta) -> MarketRows:
    return honest_support(theta, 120, np.random.default_rng(0)).rows


@pytest.fixture(scope="module")
def adapted(theta: Theta, rows: MarketRows) -> AdaptedMarket:
    return adapt_markets(theta, [rows])[0]


@pytest.fixture(scope="module")
def stored(theta: Theta, rows: MarketRows, adapted: AdaptedMarket) -> bytes:
    return pack_theta_prime(adapted.theta_prime, posterior_of(theta, rows, adapted), theta_sha256(theta))


@pytest.fixture(scope="module")
def model(theta: Theta, stored: bytes) -> ServedModel:
    return serve(theta, theta_sha256(theta), (stored, sha256(stored)))


@pytest.fixture(scope="module")
def accounts(theta: Theta) -> dict:
    columns = honest_support(theta, 900, np.random.default_rng(1)).columns
    return {**columns, "debt": [None, *columns["debt"][1:]], "job": ["astronaut", *columns["job"][1:]]}


@pytest.mark.parametrize("n", [1, 2, 7, 65])
def test_intervals_have_the_same_bits_alone_and_in_a_batch_of(n: int, model: ServedModel, accounts: dict) -> None:
    together = model.pd_interval(picked(accounts, range(n)))
    for i in range(n):
        alone = model.pd_interval(picked(accounts, [i]))
        found = (together.low[i], together.pd[i], together.high[i])
        assert found == (alone.low[0], alone.pd[0], alone.high[0])
    np.testing.assert_array_equal(together.pd, model.pd(picked(accounts, range(n))))


def test_intervals_have_the_same_bits_shuffled(model: ServedModel, accounts: dict) -> None:
    found = model.pd_interval(accounts)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(found.pd))
        shuffled = model.pd_interval(picked(accounts, order))
        for end in ("low", "pd", "high"):
            np.testing.assert_array_equal(getattr(shuffled, end), getattr(found, end)[order])


def test_an_interval_holds_its_pd_and_reaches_as_far_as_the_posterior(model: ServedModel, accounts: dict) -> None:
    found = model.pd_interval(accounts)
    assert ((found.low > 0) & (found.low < found.pd) & (found.pd < found.high) & (found.high < 1)).all()
    x = model.reading.encoder.encode(accounts)
    low, high = model.posterior.interval(model.forward.logits(x), x, model.logits(x))
    np.testing.assert_allclose(np.log(found.high / (1 - found.high)), high, rtol=1e-9)
    np.testing.assert_allclose(np.log(found.low / (1 - found.low)), low, rtol=1e-9)


def test_the_mean_of_accounts_is_surer_than_any_account(model: ServedModel, accounts: dict) -> None:
    found = model.pd_interval(accounts)
    low, high = model.mean_pd_interval(accounts)
    assert low < found.pd.mean() < high
    in_logits = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    assert np.log(high / (1 - high)) - np.log(low / (1 - low)) < in_logits.min()


def test_rows_make_a_market_surer(theta: Theta, model: ServedModel, accounts: dict) -> None:
    at_rest = serve(theta, theta_sha256(theta), None)
    x = model.reading.encoder.encode(accounts)
    network = model.forward.logits(x)
    assert (model.posterior.logit_sd(network, x) < at_rest.posterior.logit_sd(network, x)).all()


def test_serving_says_what_the_learner_says(theta: Theta, adapted: AdaptedMarket, model: ServedModel, rows) -> None:
    expected = market_logits(theta.learner(), adapted.theta_prime, rows.x) + adapted.level
    np.testing.assert_allclose(model.logits(rows.x), expected, rtol=1e-5, atol=1e-5)
    assert adapted.theta_prime["slope"].abs().max() > 0
    assert adapted.theta_prime["scale"].abs() > 0


def test_at_rest_it_is_theta(theta: Theta, rows: MarketRows, accounts: dict) -> None:
    model = serve(theta, theta_sha256(theta), None)
    np.testing.assert_array_equal(sigmoid(model.logits(rows.x)), pd_of(theta, theta.at_rest(), rows.x))
    np.testing.assert_array_equal(np.diag(model.posterior.root)[1:], theta.effects.sds.astype(np.float32))
    assert model.posterior.level_sd == pytest.approx(PRIOR.sd)


def test_contributions_and_base_make_up_the_score(model: ServedModel, accounts: dict) -> None:
    few = picked(accounts, range(5))
    base = model.logits(model.reference[None])[0]
    for logit, found in zip(model.logits(model.reading.encoder.encode(few)), model.explain(few), strict=True):
        assert found.base == base
        assert found.base + found.contributions.sum() == pytest.approx(logit, abs=1e-9)
        assert len(found.contributions) == len(model.reading.encoder.column_names)


def test_the_typical_account_is_the_reference(theta: Theta, model: ServedModel) -> None:
    typical = {name: [value] for name, value in theta.profiles.typical.items()}
    (found,) = model.explain(typical)
    assert not found.contributions.any()
    assert found.base == model.logits(model.reading.encoder.encode(typical))[0]


def test_a_changed_byte_is_refused(theta: Theta, stored: bytes) -> None:
    broken = stored[:-1] + bytes([stored[-1] ^ 1])
    with pytest.raises(CorruptArtifact, match="do not match their hash"):
        serve(theta, theta_sha256(theta), (broken, sha256(stored)))


def repacked(theta: Theta, tensors: dict) -> tuple[bytes, str]:
    content = pack(tensors, {"kind": "theta_prime", "theta_sha256": theta_sha256(theta)})
    return content, sha256(content)


def test_a_root_of_another_shape_or_none_is_refused(theta: Theta, adapted: AdaptedMarket) -> None:
    k = 2 + len(theta.effects.slots)
    for root in ({"posterior.root": torch.eye(k - 1)}, {"posterior.root": torch.ones(k)}, {}):
        with pytest.raises(CorruptArtifact, match="does not have the tensors"):
            serve(theta, theta_sha256(theta), repacked(theta, adapted.theta_prime | root))
    with pytest.raises(CorruptArtifact, match="NaN or infinity"):
        repacked(theta, adapted.theta_prime | {"posterior.root": torch.full((k, k), torch.nan)})


def test_weights_of_another_network_are_refused(theta: Theta, adapted: AdaptedMarket) -> None:
    k = 2 + len(theta.effects.slots)
    whole = adapted.theta_prime | {"posterior.root": torch.eye(k)}
    assert serve(theta, theta_sha256(theta), repacked(theta, whole)).posterior.root.shape == (k, k)
    lacking = {name: value for name, value in whole.items() if name != "slope"}
    for tensors in (lacking, whole | {"more": torch.zeros(1)}, whole | {"w0": torch.zeros(3, 2)}):
        with pytest.raises(CorruptArtifact, match="does not have the tensors"):
            serve(theta, theta_sha256(theta), repacked(theta, tensors))


def test_a_theta_prime_of_another_theta_or_kind_is_refused(theta: Theta, stored: bytes) -> None:
    with pytest.raises(CorruptArtifact, match="came from theta"):
        serve(theta, "7" * 64, (stored, sha256(stored)))
    content = theta.pack()
    with pytest.raises(CorruptArtifact, match="expected a theta_prime, found 'theta'"):
        serve(theta, theta_sha256(theta), (content, sha256(content)))


def test_sure_logits_stay_probabilities(theta: Theta, accounts: dict) -> None:
    for level in (-800.0, 800.0):
        weights = theta.at_rest() | {"level": torch.tensor([level], dtype=torch.float64)}
        k = 2 + len(theta.effects.slots)
        model = serve(theta, theta_sha256(theta), repacked(theta, weights | {"posterior.root": torch.eye(k)}))
        found = model.pd_interval(accounts)
        for end in (found.low, found.pd, found.high):
            assert np.isfinite(end).all()
            assert ((end >= 0.0) & (end <= 1.0)).all()


def test_a_theta_of_hierarchical_bayes_survives_storage(theta: Theta) -> None:
    content = theta.pack()
    found = Theta.unpack(content, sha256(content), theta.schema_sha256)
    assert found.pack() == content
    np.testing.assert_array_equal(found.effects.sds, theta.effects.sds)
    assert found.effects.slots.tolist() == theta.effects.slots.tolist()
    assert (found.effects.logit_center, found.effects.theta_sd) == (-1.5, 0.05)
    np.testing.assert_array_equal(found.profiles.statistics, theta.profiles.statistics)
    assert found.profiles.typical == theta.profiles.typical
    assert [c.direction for c in found.encoder.columns] == ["increases", None, "decreases"]


def test_learners_that_move_weights_serve_without_effects() -> None:
    theta = toy_theta("maml")
    rows = honest_support(theta, 80, np.random.default_rng(2)).rows
    (adapted,) = adapt_markets(theta, [rows])
    content = pack_theta_prime(adapted.theta_prime, posterior_of(theta, rows, adapted), theta_sha256(theta))
    model = serve(theta, theta_sha256(theta), (content, sha256(content)))
    assert set(model.effects) == {"level"}
    expected = market_logits(theta.learner(), adapted.theta_prime, rows.x) + adapted.level
    np.testing.assert_allclose(model.logits(rows.x), expected, rtol=1e-5, atol=1e-5)
