"""The conditional imputer: bins and inverse distribution functions by hand, what it learns, joint draws."""

from dataclasses import replace

import numpy as np
import pytest

from meta.errors import InvalidColumns
from meta.generator import fit_generator
from meta.imputers.coding import N_EDGES, N_KNOTS, Coding, fit_coding
from meta.imputers.conditional import OF_MEANS, FittedConditional
from meta.imputers.conditional_fit import (
    ConditionalSettings,
    _Rows,
    _rows_of,
    _sureness,
    _teach,
    fit_conditional,
    with_adversary,
)
from meta.imputers.table import Layout
from meta.types import Params

NUMBERS = Layout(("a", "b"), (None, None))
MIXED = Layout(("a", "kind"), (None, ("x", "y", "z")))
QUICK = ConditionalSettings(n_steps=400, width=48, n_bins=16)


def related(n_rows: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=n_rows)
    return np.stack([a, 3.0 * a + 0.3 * np.random.default_rng(seed + 1).normal(size=n_rows)], axis=1)


def test_reading_by_hand() -> None:
    values = np.stack([np.linspace(0.0, 80.0, 801), np.zeros(801)], axis=1)
    coding = fit_coding(NUMBERS, values, 8)
    assert coding.edges[0].tolist() == np.linspace(0.0, 80.0, N_EDGES).tolist()
    row = coding.read(np.array([[25.0, np.nan]]))[0]
    assert row[: N_EDGES - 1].tolist() == [1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert row[N_EDGES - 1] == pytest.approx((25.0 - 40.0) / values[:, 0].std(), abs=2**-12)
    assert row[N_EDGES:].tolist() == [1.0] + [0.0] * (N_EDGES + 1)


def test_categories_are_read_as_flags_and_an_unknown_one_as_nothing() -> None:
    coding = fit_coding(MIXED, np.array([[1.0, 0.0], [2.0, 2.0]]), 8)
    code = coding.read(np.array([[np.nan, 1.0], [np.nan, np.nan]]))
    assert code[:, -4:].tolist() == [[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]


def test_frequent_values_are_bins_of_their_own() -> None:
    spread = np.random.default_rng(0).uniform(1.0, 2.0, 900)
    values = np.concatenate([np.zeros(300), spread, np.full(100, 1.5)])
    coding = fit_coding(Layout(("a",), (None,)), values[:, None], 8)
    knots = coding.knots[0, : coding.n_bins[0]]
    atoms = knots[knots[:, 0] == knots[:, -1], 0]
    assert atoms.tolist() == [0.0, 1.5]
    found = coding.bins_of(np.array([[0.0], [1.5], [1.0 + 1e-9], [1.5 + 1e-9]]))[:, 0]
    assert found[0] == 0
    assert knots[found[1]].tolist() == [1.5] * N_KNOTS
    assert knots[found[2], 0] < 1.01
    assert found[3] != found[1]


def test_drawing_by_the_inverse_distribution_function() -> None:
    values = np.concatenate([np.zeros(500), np.linspace(1.0, 2.0, 500)])[:, None]
    coding = fit_coding(Layout(("a",), (None,)), values, 2)
    assert coding.n_bins[0] == 2
    shares = np.tile([0.25, 0.75], (5, 1))
    drawn = coding.pick(shares, np.array([0.0, 0.2499, 0.25, 0.625, 0.9999]), 0)
    np.testing.assert_allclose(drawn, [0.0, 0.0, 1.0, 1.5, 2.0], atol=2e-3)


def test_means_follow_the_other_column() -> None:
    fitted = fit_conditional(NUMBERS, related(3000, 0), 0, QUICK)
    asked = related(500, 5)
    truth = asked[:, 1].copy()
    asked[:, 1] = np.nan
    error = np.sqrt(((fitted.fill(asked)[:, 1] - truth) ** 2).mean())
    assert error < 0.5  # 0.3 is noise, 3 the column's own spread


def test_joint_draws_keep_what_independent_ones_lose() -> None:
    fitted = fit_conditional(NUMBERS, related(3000, 0), 0, QUICK)
    luck = np.random.default_rng(0).random((1, 2000, 2))
    both = fitted.draw(np.full((2000, 2), np.nan), luck)[0]
    assert np.corrcoef(both.T)[0, 1] > 0.9
    apart = np.stack([fitted.draw(np.full((2000, 2), np.nan), np.roll(luck, i, axis=1))[0, :, i] for i in (0, 1)])
    assert abs(np.corrcoef(apart)[0, 1]) < 0.1
    assert both[:, 1].std() == pytest.approx(3.0, rel=0.15)


def test_an_interval_of_draws_holds_the_truth_as_often_as_it_says() -> None:
    fitted = fit_conditional(NUMBERS, related(4000, 0), 0, ConditionalSettings(n_steps=800, width=48))
    asked = related(1500, 7)
    truth = asked[:, 1].copy()
    asked[:, 1] = np.nan
    low, high = np.quantile(
        fitted.draw(asked, np.random.default_rng(0).random((200, 1500, 2)))[:, :, 1], [0.05, 0.95], 0
    )
    assert 0.85 < ((low <= truth) & (truth <= high)).mean() < 0.95


def test_categories_are_drawn_by_their_probabilities() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=3000)
    kind = np.where(rng.random(3000) < 0.7, (a > 0).astype(float), 2.0)
    fitted = fit_conditional(MIXED, np.stack([a, kind], axis=1), 0, QUICK)
    asked = np.array([[1.5, np.nan], [-1.5, np.nan]])
    shares = fitted.expected(asked)[:, 1:]
    np.testing.assert_allclose(shares, [[0.0, 0.7, 0.3], [0.7, 0.0, 0.3]], atol=0.06)
    drawn = fitted.draw(asked, np.random.default_rng(1).random((4000, 2, 2)))[:, :, 1]
    for row in (0, 1):
        np.testing.assert_allclose(np.bincount(drawn[:, row].astype(int), minlength=3) / 4000, shares[row], atol=0.03)


def test_few_rows_and_an_adversary_do_no_harm() -> None:
    few = related(30, 0)
    few[::3, 0] = np.nan
    for settings in (QUICK, with_adversary(0.1, ConditionalSettings(n_steps=60, width=16))):
        assert np.isfinite(fit_conditional(NUMBERS, few, 0, settings).fill(few)).all()
    alone = fit_conditional(NUMBERS, few, 0, ConditionalSettings(n_steps=60, width=16)).weights["w0"]
    opposed = fit_conditional(NUMBERS, few, 0, with_adversary(0.1, ConditionalSettings(n_steps=60, width=16))).weights[
        "w0"
    ]
    assert not np.array_equal(alone, opposed)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InvalidColumns, match="something is known"):
        fit_conditional(NUMBERS, np.full((9, 2), np.nan), 0, QUICK)


def test_the_generator_draws_rows_of_a_label() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.3).astype(float)
    a = rng.normal(size=3000) + 2.0 * y
    values = np.stack([a, np.where(rng.random(3000) < 0.9, y, 2.0)], axis=1)
    generator = fit_generator(MIXED, values, y, 0, QUICK)
    asked = np.repeat([0.0, 1.0], 2000)
    rows = generator.sample(asked, np.random.default_rng(1))
    assert rows.shape == (4000, 2)
    for label in (0.0, 1.0):
        assert rows[asked == label, 0].mean() == pytest.approx(2.0 * label, abs=0.25)
        assert (rows[asked == label, 1] == label).mean() == pytest.approx(0.9, abs=0.06)
    np.testing.assert_array_equal(generator.sample(asked, np.random.default_rng(1)), rows)


def test_means_come_from_the_narrow_network_and_draws_from_the_wide_one() -> None:
    fitted = fit_conditional(NUMBERS, related(300, 0), 0, ConditionalSettings(n_steps=60, width=32, mean_width=8))
    assert fitted.weights["w1"].shape == (32, 32)
    assert fitted.weights["mean_w1"].shape == (8, 8)
    asked = np.array([[0.5, np.nan]])
    luck = np.full((1, 1, 2), 0.3)
    for prefix, changed in (("mean_", "fill"), ("", "draw")):
        other = replace(fitted, weights=fitted.weights | {f"{prefix}b1": fitted.weights[f"{prefix}b1"] + 1.0})
        fills_differ = not np.array_equal(other.fill(asked), fitted.fill(asked))
        draws_differ = not np.array_equal(other.draw(asked, luck), fitted.draw(asked, luck))
        assert (fills_differ, draws_differ) == (changed == "fill", changed == "draw")


def test_an_imputer_stored_when_one_network_answered_both_fills_as_it_did() -> None:
    fitted = fit_conditional(NUMBERS, related(300, 0), 0, ConditionalSettings(n_steps=60, width=16, mean_width=16))
    shared = {name: fitted.weights[of] for name, of in OF_MEANS.items()}
    then = replace(fitted, weights=fitted.weights | shared)
    stored = {name: value for name, value in then.arrays().items() if name not in OF_MEANS}
    restored = FittedConditional.restore(NUMBERS, stored, then.settings())
    asked = np.array([[0.5, np.nan], [np.nan, 2.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(restored.fill(asked), then.fill(asked))


@pytest.fixture(scope="module")
def by_heart() -> tuple[Coding, Params, _Rows]:
    """A network taught 200 of 600 rows of noise until it knows them by heart, and the 400 others."""
    layout = Layout(("a", "b", "c", "d"), (None,) * 4)
    values = np.random.default_rng(0).normal(size=(600, 4))
    settings = ConditionalSettings(n_steps=600, width=128, n_bins=8, weight_decay=0.0)
    coding = fit_coding(layout, values, settings.n_bins)
    rows = _rows_of(coding, values)
    return coding, _teach(coding, rows.of(slice(0, 200)), settings, seed=0), rows.of(slice(200, None))


def test_choices_are_less_sure_the_more_was_learned_by_heart(by_heart: tuple[Coding, Params, _Rows]) -> None:
    coding, weights, held_out = by_heart
    sureness = _sureness(weights, coding, held_out, seed=0)
    assert sureness.shape == (5,)
    assert sureness[4] < 0.5  # of three known numbers nothing follows
    assert sureness[0] == 1.0  # a column's own shares are no matter of chance
    assert (np.diff(sureness) < 0).all()


def test_where_nothing_is_held_out_choices_stay_as_they_are(by_heart: tuple[Coding, Params, _Rows]) -> None:
    coding, weights, held_out = by_heart
    assert _sureness(weights, coding, held_out.of(slice(0, 0)), seed=0).tolist() == [1.0] * 5


def test_sureness_follows_what_a_row_knows_and_grows_with_each_column_drawn() -> None:
    fitted = fit_conditional(MIXED, np.array([[1.0, 0.0], [2.0, 2.0], [3.0, 1.0]] * 40), 0, QUICK)
    by_share = np.array([1.0, 0.0, 1.0])  # of one known column: even odds
    blunt = replace(fitted, sureness=by_share)
    np.testing.assert_allclose(blunt.expected(np.array([[1.0, np.nan]]))[0, 1:], [1 / 3] * 3)
    assert blunt.expected(np.full((1, 2), np.nan))[0, 1:] == pytest.approx(
        fitted.expected(np.full((1, 2), np.nan))[0, 1:], abs=0.05
    )
    luck = np.random.default_rng(0).random((3000, 1, 2))
    kinds = blunt.draw(np.full((1, 2), np.nan), luck)[:, 0, 1].astype(int)  # "a" is drawn first, so one is known
    np.testing.assert_allclose(np.bincount(kinds, minlength=3) / 3000, [1 / 3] * 3, atol=0.03)


def test_an_imputer_stored_with_its_temperature_in_the_weights_answers_as_it_did() -> None:
    fitted = replace(fit_conditional(NUMBERS, related(300, 0), 0, QUICK), sureness=np.ones(3))
    stored = {name: value for name, value in fitted.arrays().items() if name != "sureness"}
    restored = FittedConditional.restore(NUMBERS, stored, fitted.settings())
    luck = np.random.default_rng(0).random((5, 3, 2))
    asked = np.array([[0.5, np.nan], [np.nan, 2.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(restored.draw(asked, luck), fitted.draw(asked, luck))
