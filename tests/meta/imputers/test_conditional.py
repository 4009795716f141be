"""The conditional imputer: bins and inverse distribution functions by hand, what it learns, joint draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from meta.errors import InvalidColumns
from meta.generator import fit_generator
from meta.imputers.coding import N_EDGES, N_KNOTS, fit_coding
from meta.imputers.conditional import OF_MEANS, FittedConditional
from meta.imputers.conditional_fit import (
    ConditionalSettings,
    _dropout,
    _owner_of_slot,
    _rows_of,
    _teach,
    _tempered,
    answer,
    fit_conditional,
    with_adversary,
)
from meta.imputers.table import Layout

NUMBERS = Layout(("a", "b"), (None, None))
MIXED = Layout(("a", "kind"), (None, ("x", "y", "z")))
QUICK = ConditionalSettings(n_steps=400, width=48, n_bins=16, dropout=0.0)  # so narrow a network can spare no unit


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
    fitted = fit_conditional(NUMBERS, related(4000, 0), 0, ConditionalSettings(n_steps=800, width=48, dropout=0.0))
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


def test_the_fewer_the_rows_the_more_units_are_left_out() -> None:
    settings = ConditionalSettings()
    assert [settings.for_rows(n).dropout for n in (100, 4000, 12_000, 120_000)] == [0.3, 0.3, 0.1, 0.01]
    assert replace(settings, dropout=0.0).for_rows(100).dropout == 0.0
    assert [settings.for_rows(n).n_steps for n in (100, 10_000, 100_000)] == [500, 3906, 9000]
    assert replace(settings, n_steps=7).for_rows(100).n_steps == 7


def test_units_that_stay_make_up_for_those_left_out() -> None:
    hidden = _dropout(0.25, torch.Generator().manual_seed(0))(torch.ones(400, 300))
    assert hidden.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert hidden.mean() == pytest.approx(1.0, abs=0.01)


def test_dropout_keeps_noise_from_being_learned_by_heart() -> None:
    """Chance alone, in eighths: what was learned of 300 rows of noise makes others less probable than an eighth."""
    rng = np.random.default_rng(0)
    learned, others = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    layout = Layout(("a", "b", "c", "d"), (None,) * 4)
    coding = fit_coding(layout, learned, 8)
    lost = []
    for dropout in (0.0, 0.3):
        settings = ConditionalSettings(n_steps=400, width=128, n_bins=8, weight_decay=0.0, dropout=dropout)
        weights, rows = _teach(coding, _rows_of(coding, learned), settings, seed=0), _rows_of(coding, others)
        shown = torch.arange(4) != 0
        _, logits = answer(weights, rows.code * shown[_owner_of_slot(coding)])
        entropy = torch.nn.functional.cross_entropy(logits[:, 0, : coding.n_bins[0]], rows.bins[:, 0])
        lost.append(float(entropy) - np.log(8.0))
    assert 0.0 < lost[1] < 0.5 * lost[0]


def test_choices_that_are_too_sure_are_tempered_by_rows_that_were_not_learned_from() -> None:
    """Chance alone: 600 rows of noise, a network that could learn them by heart."""
    values = np.random.default_rng(0).normal(size=(600, 4))
    layout = Layout(("a", "b", "c", "d"), (None,) * 4)
    settings = ConditionalSettings(n_steps=600, width=128, n_bins=8, weight_decay=0.0)
    coding = fit_coding(layout, values, settings.n_bins)
    rows = _rows_of(coding, values)
    learned = _teach(coding, rows.of(slice(0, 200)), settings, seed=0)
    tempered = _tempered(learned, coding, rows.of(slice(200, None)), seed=0)
    ratio = tempered["bins_w"].norm() / learned["bins_w"].norm()
    assert ratio < 0.8
    torch.testing.assert_close(tempered["bins_b"], learned["bins_b"] * ratio)
    assert torch.equal(tempered["mean_w"], learned["mean_w"])
