"""Accounts with gaps under an imputer: what is filled, what the network is told, scores, intervals and reasons."""

from dataclasses import replace

import numpy as np
import pytest

from meta.adaptation import MarketRows, adapt_markets, posterior_of
from meta.checkpoint import sha256
from meta.errors import CorruptArtifact
from meta.imputers import FITS
from meta.imputers.conditional_fit import ConditionalSettings, fit_conditional
from meta.imputers.gain import GainSettings, fit_gain
from meta.imputers.typical import fit_typical
from meta.reading import N_DRAWS, Reading, layout_of
from meta.serving import ServedModel, serve
from meta.source import HIDDEN_SHARE, SourceTable, column_values
from meta.thetas import Theta, pack_theta_prime, theta_sha256
from tests.meta.toy import TOY_COLUMNS, honest_support, sigmoid, slot_of, toy_source, toy_theta

QUICK = ConditionalSettings(n_steps=250, width=32, n_bins=12)


def values_of(theta: Theta) -> np.ndarray:
    source = toy_source()
    columns = {c.name: column_values(c, source[c.name]) for c in theta.encoder.columns}
    return layout_of(theta.encoder).values(columns)


@pytest.fixture(scope="module")
def plain() -> Theta:
    return toy_theta()


@pytest.fixture(scope="module")
def theta(plain: Theta) -> Theta:
    fitted = fit_conditional(layout_of(plain.encoder), values_of(plain), 0, QUICK)
    return replace(plain, imputer=fitted)


@pytest.fixture(scope="module")
def model(theta: Theta) -> ServedModel:
    return serve(theta, theta_sha256(theta), None)


@pytest.fixture(scope="module", params=sorted(FITS))
def any_theta(request: pytest.FixtureRequest, plain: Theta, theta: Theta) -> Theta:
    """One with each imputer; GAIN needs gaps to learn from."""
    layout, values = layout_of(plain.encoder), values_of(plain)
    values[np.random.default_rng(2).random(values.shape) < 0.2] = np.nan
    if request.param == "gain":
        return replace(plain, imputer=fit_gain(layout, values, 0, GainSettings(n_steps=200)))
    return theta if request.param == "conditional" else replace(plain, imputer=fit_typical(layout, values))


@pytest.fixture(scope="module")
def accounts(theta: Theta) -> dict:
    """Whole ones, one without debt, one without job, one without anything, one of an unseen job."""
    columns = {
        name: list(values) for name, values in honest_support(theta, 40, np.random.default_rng(1)).columns.items()
    }
    columns["debt"][1] = None
    columns["job"][2] = None
    for values in columns.values():
        values[3] = None
    columns["job"][4] = "astronaut"
    return columns


def picked(columns: dict, rows) -> dict:
    return {name: [values[i] for i in rows] for name, values in columns.items()}


def test_the_layout_is_the_encoders_numeric_columns_first(theta: Theta) -> None:
    layout = layout_of(theta.encoder)
    assert layout.names == ("debt", "income", "job")
    assert layout.categories == (None, None, ("clerk", "nurse"))


def test_a_filled_value_is_encoded_beside_the_flag_that_it_was_missing(plain: Theta, accounts: dict) -> None:
    mean = fit_typical(layout_of(plain.encoder), values_of(plain))
    encoder = plain.encoder
    x = Reading(encoder, mean).encode(accounts)
    filled = encoder.encode(picked({**accounts, "debt": [mean.typical[0]] * 40}, [1]))[0]
    filled[encoder.missing_slots[encoder.column_names.index("debt")]] = 1.0
    np.testing.assert_array_equal(x[1], filled)
    np.testing.assert_array_equal(x[[0, 5]], encoder.encode(picked(accounts, [0, 5])))
    assert x[3, encoder.missing_slots].tolist() == [1.0, 1.0, 1.0]


def test_an_unseen_category_was_given_and_is_left_alone(theta: Theta, accounts: dict) -> None:
    x = theta.reading.encode(accounts)
    np.testing.assert_array_equal(x[4], theta.encoder.encode(picked(accounts, [4]))[0])
    assert theta.reading.n_filled(accounts) == {"debt": 2, "income": 1, "job": 2}
    assert theta.reading.filled(accounts)[4].tolist() == [False, False, False]


def test_without_an_imputer_nothing_is_filled(plain: Theta, accounts: dict) -> None:
    assert plain.reading.n_filled(accounts) == {}
    read = plain.reading.read(accounts)
    assert len(read.gapped) == 0
    np.testing.assert_array_equal(read.x, plain.encoder.encode(accounts))


def test_whole_rows_score_as_without_an_imputer(plain: Theta, model: ServedModel, accounts: dict) -> None:
    whole = picked(accounts, [0, 4, *range(5, 40)])
    found, expected = model.pd_interval(whole), serve(plain, theta_sha256(plain), None).pd_interval(whole)
    for end in ("low", "pd", "high"):
        np.testing.assert_array_equal(getattr(found, end), getattr(expected, end))


def test_a_gap_is_scored_by_what_is_expected_and_its_interval_by_draws(
    theta: Theta, model: ServedModel, accounts: dict
) -> None:
    read = theta.reading.read(accounts)
    assert read.gapped.tolist() == [1, 2, 3]
    assert read.whole.shape == (3, N_DRAWS, theta.encoder.n_features)
    assert not read.whole[:, :, theta.encoder.missing_slots].any()
    debts = read.whole[0, :, slot_of(theta.encoder, "debt")]
    assert len(np.unique(debts)) > N_DRAWS // 2
    np.testing.assert_allclose(model.pd(accounts), sigmoid(model.logits(read.x)), rtol=1e-12)
    found = model.pd_interval(accounts)
    logits, drawn = model.logits(read.x)[1], model.logits(read.whole[0])
    market_sd = np.sqrt((model.posterior.logit_sd(model.forward.logits(read.whole[0]), read.whole[0]) ** 2).mean())
    center = logits + drawn.mean() - np.log(sigmoid(drawn).mean() / (1 - sigmoid(drawn).mean()))
    low, high = model.posterior.interval_around(
        *(np.array([v]) for v in (center, market_sd, drawn.std(ddof=1) * np.sqrt(1 + 1 / N_DRAWS)))
    )
    np.testing.assert_allclose([found.low[1], found.high[1]], sigmoid(np.array([low[0], high[0]])), rtol=1e-9)


def test_a_missing_category_stands_as_its_probabilities(theta: Theta, accounts: dict) -> None:
    x = theta.reading.encode(accounts)
    slots = np.flatnonzero(theta.encoder.column_of_slot == 2)
    shares = theta.imputer.expected(theta.reading.layout.values(accounts))[2, 2:]
    np.testing.assert_allclose(x[2, slots], [*shares, 0.0, 1.0], rtol=1e-6)
    assert 0.2 < shares[0] < 0.8


def test_what_is_missing_widens_the_interval(model: ServedModel, accounts: dict) -> None:
    found = model.pd_interval(accounts)
    width = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    assert width[1] > 1.5 * width[0]  # debt matters
    assert width[3] > width[1]
    assert ((found.low > 0) & (found.low < found.pd) & (found.pd < found.high) & (found.high < 1)).all()


def test_the_true_pd_of_the_whole_row_is_held_as_often_as_it_says(theta: Theta, model: ServedModel) -> None:
    """Among accounts of a market like theta's own, debt or income missing in three of ten."""
    rng = np.random.default_rng(5)
    columns = honest_support(theta, 1500, rng, level=0.0).columns
    truth = sigmoid(serve(theta, theta_sha256(theta), None).logits(theta.encoder.encode(columns)))
    gapped = {
        name: [
            None if name != "job" and gone else value
            for value, gone in zip(values, rng.random(1500) < 0.3, strict=True)
        ]
        for name, values in columns.items()
    }
    found = model.pd_interval(gapped)
    held = (found.low <= truth) & (truth <= found.high)
    missing = theta.reading.filled(gapped).any(axis=1)
    assert held[missing].mean() > 0.85


def test_scores_with_gaps_have_the_same_bits_alone_and_in_any_batch(any_theta: Theta, accounts: dict) -> None:
    model = serve(any_theta, theta_sha256(any_theta), None)
    assert model.pd(accounts)[1] != model.pd({**accounts, "debt": [0.9] * 40})[1]  # its gap is filled, and matters
    together, explained = model.pd_interval(accounts), model.explain(picked(accounts, range(5)))
    order = np.random.default_rng(0).permutation(40)
    shuffled = model.pd_interval(picked(accounts, order))
    for end in ("low", "pd", "high"):
        np.testing.assert_array_equal(getattr(shuffled, end), getattr(together, end)[order])
    for i in range(5):
        alone = model.pd_interval(picked(accounts, [i]))
        assert (alone.low[0], alone.pd[0], alone.high[0]) == (together.low[i], together.pd[i], together.high[i])
        np.testing.assert_array_equal(model.explain(picked(accounts, [i]))[0].contributions, explained[i].contributions)


def test_contributions_add_up_to_the_score_of_a_row_with_gaps(model: ServedModel, accounts: dict) -> None:
    few = picked(accounts, range(5))
    for pd, found in zip(model.pd(few), model.explain(few), strict=True):
        assert found.base + found.contributions.sum() == pytest.approx(np.log(pd / (1 - pd)), abs=1e-9)


def test_no_usable_rows_give_theta_at_rest_bit_for_bit(theta: Theta, accounts: dict) -> None:
    empty = MarketRows(np.zeros((0, theta.encoder.n_features), np.float32), np.zeros(0), "random")
    (adapted,) = adapt_markets(theta, [empty])
    content = pack_theta_prime(adapted.theta_prime, posterior_of(theta, empty, adapted), theta_sha256(theta))
    served = serve(theta, theta_sha256(theta), (content, sha256(content)))
    np.testing.assert_array_equal(served.pd(accounts), serve(theta, theta_sha256(theta), None).pd(accounts))


def test_theta_carries_its_imputer_and_notices_tampering(any_theta: Theta, plain: Theta, accounts: dict) -> None:
    content = any_theta.pack()
    assert content == replace(any_theta).pack()
    assert content != plain.pack()
    found = Theta.unpack(content, sha256(content), any_theta.schema_sha256)
    np.testing.assert_array_equal(found.reading.encode(accounts), any_theta.reading.encode(accounts))
    assert found.pack() == content
    assert found.imputer.report == any_theta.imputer.report
    largest = max(any_theta.imputer.arrays().values(), key=lambda value: value.nbytes)
    place = content.index(largest.tobytes()[:16])
    broken = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    with pytest.raises(CorruptArtifact, match="do not match their hash"):
        Theta.unpack(broken, sha256(content), any_theta.schema_sha256)


@pytest.mark.parametrize("name", ["mean", "gain"])
def test_the_same_source_rows_and_seed_give_the_same_theta(
    name: str, plain: Theta, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = GainSettings(n_steps=60)
    monkeypatch.setitem(FITS, "gain", lambda layout, values, seed: fit_gain(layout, values, seed, quick))
    source = toy_source(n_markets=2)
    source.loc[::4, "debt"] = np.nan
    tables = [SourceTable.from_frame(TOY_COLUMNS, source, name, seed=seed) for seed in (3, 3, 4)]
    packed = [replace(plain, imputer=table.imputer).pack() for table in tables]
    assert packed[0] == packed[1]
    assert (packed[0] == packed[2]) == (name == "mean")  # a mean has no luck
    np.testing.assert_array_equal(tables[0].x, tables[1].x)


def test_source_rows_are_filled_and_rare_gaps_are_made() -> None:
    source = toy_source()
    source.loc[::4, "debt"] = np.nan
    table = SourceTable.from_frame(TOY_COLUMNS, source, "mean", seed=3)
    assert table.imputer is not None
    flags = table.x[:, table.encoder.missing_slots]
    shares = dict(zip(table.encoder.column_names, flags.mean(axis=0), strict=True))
    assert shares["debt"] == pytest.approx(0.25)
    for name in ("income", "job"):
        assert shares[name] == pytest.approx(HIDDEN_SHARE, abs=0.006)
    again = SourceTable.from_frame(TOY_COLUMNS, source, "mean", seed=3)
    np.testing.assert_array_equal(again.x, table.x)
    without = SourceTable.from_frame(TOY_COLUMNS, source)
    assert without.imputer is None
    np.testing.assert_array_equal(
        without.x, without.encoder.encode({c.name: column_values(c, source[c.name]) for c in TOY_COLUMNS})
    )


def test_altering_one_column_leaves_what_was_filled_elsewhere(plain: Theta) -> None:
    rng = np.random.default_rng(0)
    debt = 0.5 + 0.1 * rng.normal(size=2000)
    values = np.stack([debt, 3000.0 + 4000.0 * (debt - 0.5), np.zeros(2000)], axis=1)  # income follows debt
    reading = Reading(plain.encoder, fit_conditional(layout_of(plain.encoder), values, 0, QUICK))
    columns = {"debt": [0.4, 0.6, None], "income": [None, 3100.0, None], "job": ["clerk"] * 3}
    x, altered = reading.encode(columns), reading.encode_altered(columns, "debt", [0.7, 0.7, np.nan])
    of_debt = plain.encoder.column_of_slot == 0
    np.testing.assert_array_equal(altered[:, ~of_debt], x[:, ~of_debt])
    np.testing.assert_array_equal(altered[2], x[2])
    expected = plain.encoder.encode({"debt": [0.7, 0.7], "income": [1.0, 1.0], "job": ["clerk"] * 2})
    np.testing.assert_array_equal(altered[:2, of_debt], expected[:, of_debt])
    without = plain.reading.encode_altered(columns, "debt", [0.7, 0.7, np.nan])
    np.testing.assert_array_equal(without, plain.encoder.encode({**columns, "debt": [0.7, 0.7, None]}))
