"""GAIN beside its paper: hint, generator and losses by hand, in both readings; what breaks it is told."""

import numpy as np
import pytest
import torch

from meta.errors import InvalidColumns
from meta.imputers.collapse import ALIKE, AWAY, collapsed_columns
from meta.imputers.gain import (
    NOISE,
    Conventions,
    FittedGain,
    GainSettings,
    discriminator_loss,
    fit_gain,
    generate,
    generator_losses,
    hint,
    revealed,
)
from meta.imputers.table import Layout

M = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
B = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])  # of each row the missing entry is not revealed
LAYOUT = Layout(("a", "b"), (None, None))
QUICK = GainSettings(n_steps=300)


def test_the_hint_tells_all_but_what_b_hides() -> None:
    assert hint(M, B, "paper").tolist() == [[1.0, 0.5, 1.0], [0.5, 1.0, 1.0]]
    assert hint(M, B, "reference").tolist() == [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]


def test_b_hides_one_entry_a_row_in_the_paper_and_a_tenth_in_the_program() -> None:
    rng = torch.Generator().manual_seed(0)
    paper = revealed(1000, torch.arange(5), GainSettings(), rng)
    assert (paper.sum(1) == 4).all()
    assert ((1 - paper).mean(0) - 0.2).abs().max() < 0.05
    assert revealed(1000, torch.arange(5), GainSettings("reference"), rng).mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("conventions", ["paper", "reference"])
def test_flags_of_a_field_are_revealed_together(conventions: Conventions) -> None:
    """One of them would tell D of its siblings, which are missing with it."""
    fields = torch.tensor([0, 1, 1, 1, 2])
    b = revealed(1000, fields, GainSettings(conventions), torch.Generator().manual_seed(0))
    assert (b[:, 1:2] == b[:, 1:4]).all()
    assert b[:, [0, 1, 4]].mean() == pytest.approx(2 / 3 if conventions == "paper" else 0.9, abs=0.03)
    alone = revealed(1000, torch.arange(3), GainSettings(conventions), torch.Generator().manual_seed(0))
    assert torch.equal(b[:, [0, 1, 4]], alone)  # fields are drawn, so a table of numbers is as it was


def test_the_discriminators_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[3.0, 1.0, 3.0], [1.0 / 3.0, 3.0, 3.0]]))  # m_hat 0.75, 0.5, 0.75; 0.25, ...
    # hidden are the missing ones: -log(1 - 0.5) and -log(1 - 0.25), a mean over the two rows
    assert discriminator_loss(logits, M, B, "paper").item() == pytest.approx((np.log(2) - np.log(0.75)) / 2)
    everywhere = -(4 * np.log(0.75) + np.log(0.5) + np.log(0.75)) / 6
    assert discriminator_loss(logits, M, B, "reference").item() == pytest.approx(everywhere)


def test_the_generators_losses_by_hand() -> None:
    logits = torch.log(torch.tensor([[3.0, 1.0, 3.0], [1.0 / 3.0, 3.0, 3.0]]))
    x, x_bar = torch.tensor([[0.2, 9.0, 0.4], [9.0, 0.6, 0.8]]), torch.tensor([[0.1, 0.5, 0.4], [0.5, 0.9, 0.8]])
    fooled, error = generator_losses(logits, x, x_bar, M, B, "paper")
    assert fooled.item() == pytest.approx((np.log(2) + np.log(4)) / 2)  # -log 0.5 and -log 0.25
    assert error.item() == pytest.approx((0.01 + 0.09) / 2)
    fooled, error = generator_losses(logits, x, x_bar, M, B, "reference")
    assert fooled.item() == pytest.approx((np.log(2) + np.log(4)) / 6)
    assert error.item() == pytest.approx((0.01 + 0.09) / 6 / (4 / 6))


def test_the_generator_sees_noise_where_nothing_is_known() -> None:
    eye = torch.eye(2)
    net = {
        "w0": torch.cat([eye, torch.zeros(2, 2)]),
        "w1": eye,
        "w2": eye,
        **{f"b{i}": torch.zeros(2) for i in range(3)},
    }
    found = generate(net, torch.tensor([[0.7, 9.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[9.0, 0.004]]))
    np.testing.assert_allclose(found.numpy(), 1 / (1 + np.exp([[-0.7, -0.004]])), rtol=1e-6)


def test_served_it_scales_adds_its_noise_and_scales_back() -> None:
    eye = np.eye(2, dtype=np.float32)
    zeros = {f"b{i}": np.zeros(2, np.float32) for i in range(3)}
    weights = {"w0": np.concatenate([eye, 0 * eye]), "w1": eye, "w2": eye, **zeros}
    fitted = FittedGain(LAYOUT, np.array([10.0, 0.0]), np.array([0.1, 1.0]), np.zeros(2), np.zeros(2), weights)
    (filled,) = fitted.fill(np.array([[np.nan, 0.25]]))
    middle = round(NOISE / 2 * 2**12) / 2**12  # on the grid of exact sums
    assert filled.tolist() == [pytest.approx(10.0 + 10.0 / (1 + np.exp(-middle))), 0.25]
    least, most = fitted.draw(np.array([[np.nan, 0.25]]), np.array([[[0.0, 0.5]], [[1.0, 0.5]]]))[:, 0, 0]
    assert least == pytest.approx(15.0)
    assert 15.0 < most < 15.03  # the published noise hardly tells draws apart


def test_it_learns_what_a_column_says_of_another() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(2000)
    values = np.stack([a, 1.0 - a, a, 1.0 - a, a, a], axis=1)
    holes = np.where(rng.random(values.shape) < 0.2, np.nan, values)
    layout = Layout(tuple("abcdef"), (None,) * 6)
    filled = fit_gain(layout, holes, 0, GainSettings("reference", n_steps=1500)).fill(holes)
    error = np.sqrt(((filled - values)[np.isnan(holes)] ** 2).mean())
    assert error < 0.5 * a.std()


def test_rows_without_gaps_or_without_values_are_no_game() -> None:
    with pytest.raises(InvalidColumns, match="learns from gaps"):
        fit_gain(LAYOUT, np.ones((50, 2)), 0, QUICK)
    with pytest.raises(InvalidColumns, match="something is known"):
        fit_gain(LAYOUT, np.full((50, 2), np.nan), 0, QUICK)


def test_collapsed_columns_are_told_and_filled_with_their_mean() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((600, 1)) < 0.4, np.nan, rng.random((600, 1)))  # alone, there is nothing to learn from
    layout = Layout(("a",), (None,))
    collapsed = fit_gain(layout, values, 0, QUICK)
    assert collapsed.report == {"a": ALIKE}
    assert collapsed.fill(np.array([[np.nan]])).tolist() == [[pytest.approx(np.nanmean(values))]]
    as_published = fit_gain(layout, values, 0, GainSettings(n_steps=300, falls_back=False))
    assert as_published.report == {}
    assert as_published.fill(np.array([[np.nan]])) != collapsed.fill(np.array([[np.nan]]))


def test_fills_away_from_all_that_was_observed_are_collapsed_too() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((600, 2)) < 0.4, np.nan, rng.normal(size=(600, 2)))
    fitted = fit_gain(LAYOUT, values, 0, GainSettings(n_steps=1))
    weights = {**fitted.weights, "b2": np.array([16.0, 0.0], np.float32)}  # the first column always at its highest
    astray = FittedGain(LAYOUT, fitted.low, fitted.scale, fitted.mean, np.zeros(2), weights)
    assert collapsed_columns(astray, values)["a"] == AWAY


def test_a_fit_of_before_flags_were_divided_by_their_sum_fills_as_it_did() -> None:
    rng = np.random.default_rng(0)
    layout = Layout(("a", "c"), (None, ("x", "y", "z")))
    values = np.stack([rng.normal(size=300), rng.integers(3, size=300).astype(float)], axis=1)
    gaps = rng.random(300) < 0.3
    values[gaps, 1] = np.nan
    fitted = fit_gain(layout, values, 0, GainSettings(n_steps=50, falls_back=False))
    settings = fitted.settings()
    again = FittedGain.restore(layout, fitted.arrays(), settings)
    np.testing.assert_array_equal(again.expected(values), fitted.expected(values))
    del settings["flags_add_up"]
    before = FittedGain.restore(layout, fitted.arrays(), settings).expected(values)[gaps, 1:]
    assert np.abs(before.sum(axis=1) - 1.0).max() > 0.01
    divided = before / before.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(divided, fitted.expected(values)[gaps, 1:])
