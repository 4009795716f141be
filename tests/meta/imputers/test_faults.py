"""What breaks imputers: losses that are not numbers, values missing for what they are, columns missing together."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from meta.errors import TrainingDiverged
from meta.imputers import FITS, conditional_fit, gain
from meta.imputers.collapse import collapsed_columns
from meta.imputers.conditional_fit import ConditionalSettings, fit_conditional
from meta.imputers.fixed_point import input_grid
from meta.imputers.gain import GainSettings, fit_gain
from tests.meta.imputers.test_every_imputer import LAYOUT, quick, toy_values


def absurd_gain() -> None:
    fit_gain(LAYOUT, toy_values(), 0, GainSettings(n_steps=150, learning_rate=1e30))


def absurd_conditional() -> None:
    fit_conditional(LAYOUT, toy_values(), 0, ConditionalSettings(n_steps=50, width=16, learning_rate=1e30))


@pytest.mark.parametrize(
    ("fit", "told"),
    [(absurd_gain, "GAIN's losses are not finite at step"), (absurd_conditional, "loss is not finite at step")],
)
def test_an_absurd_learning_rate_is_told_as_divergence(fit: Callable[[], None], told: str) -> None:
    with pytest.raises(TrainingDiverged, match=told):
        fit()


def test_a_loss_that_is_no_number_is_told_as_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr(conditional_fit, "_loss", lambda *given: nothing)
    with pytest.raises(TrainingDiverged, match="not finite at step 1 of 20"):
        fit_conditional(LAYOUT, toy_values(), 0, ConditionalSettings(n_steps=20, width=16))
    monkeypatch.setattr(gain, "discriminator_loss", lambda *given: nothing)
    with pytest.raises(TrainingDiverged, match="not finite at step 1 of 20"):
        fit_gain(LAYOUT, toy_values(), 0, GainSettings(n_steps=20))


def test_the_last_step_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses are finite, and what the last step makes of them is not."""
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *given: _spoil(self))
    with pytest.raises(TrainingDiverged, match="weights are not finite after 1 steps"):
        fit_conditional(LAYOUT, toy_values(), 0, ConditionalSettings(n_steps=1, width=16))
    monkeypatch.setattr(gain, "_descend", lambda optimizer, loss: _spoil(optimizer))
    # of the second loss's weights those of D were just spoiled: only the check of G's weights is left
    monkeypatch.setattr(gain.torch, "isfinite", _but_losses(torch.isfinite))
    with pytest.raises(TrainingDiverged, match="weights are not finite after 1 steps"):
        fit_gain(LAYOUT, toy_values(), 0, GainSettings(n_steps=1))


def _spoil(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for value in group["params"]:
            value.data.fill_(float("nan"))


def _but_losses(isfinite: Callable) -> Callable:
    return lambda value: isfinite(value) if value.ndim else torch.tensor(True)


def high_incomes_missing(n_rows: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Income follows b; of the upper third of incomes nine in ten are missing, of the others one in fifty."""
    rng = np.random.default_rng(0)
    b = rng.normal(size=n_rows)
    truth = np.stack([100.0 + 10.0 * b + rng.normal(size=n_rows), b, (b > 0).astype(float)], axis=1)
    is_high = truth[:, 0] > np.quantile(truth[:, 0], 2 / 3)
    values = truth.copy()
    values[rng.random(n_rows) < np.where(is_high, 0.9, 0.02), 0] = np.nan
    values[rng.random(n_rows) < 0.1, 2] = np.nan
    return values, truth


@pytest.mark.parametrize("name", sorted(FITS))
def test_high_incomes_missing_are_filled_within_what_was_seen(name: str) -> None:
    values, _ = high_incomes_missing()
    found = quick(name, values)
    luck = np.random.default_rng(0).random((3, *values.shape))
    for filled in (found.fill(values), *found.draw(values, luck)):
        assert np.isfinite(filled).all()
        assert (filled.min(axis=0) >= np.nanmin(values, axis=0) - 1e-9).all()
        assert (filled.max(axis=0) <= np.nanmax(values, axis=0) + 1e-9).all()


def test_high_incomes_missing_are_no_collapse() -> None:
    """Right fills lie far from what is known, which a look at them alone would call astray."""
    values, _ = high_incomes_missing()
    found = quick("conditional", values)
    gaps = np.isnan(values[:, 0])
    fills, known = found.fill(values)[gaps, 0], values[~gaps, 0]
    assert fills.mean() - known.mean() > known.std()
    assert collapsed_columns(found, values) == {}


@pytest.mark.parametrize("name", sorted(FITS))
def test_columns_that_are_only_ever_missing_together(name: str) -> None:
    values = toy_values(600)
    together = np.isnan(values).any(axis=1)
    values[together, :2] = np.nan
    found = quick(name, values)
    draws = found.draw(values, np.random.default_rng(0).random((3, *values.shape)))
    assert np.isfinite(found.fill(values)).all()
    assert np.isfinite(draws).all()


def test_columns_missing_together_are_drawn_as_they_belong_together() -> None:
    """Income a and b, both missing, follow the kind that is known, and each other."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=3000)
    values = np.stack([100.0 + 10.0 * a, a + 0.1 * rng.normal(size=3000), (a > 0).astype(float)], axis=1)
    values[rng.random(3000) < 0.3, :2] = np.nan
    settings = ConditionalSettings(n_steps=500, width=48, n_bins=16)
    found = fit_conditional(LAYOUT, values, 0, settings)
    asked = np.full((2000, 3), np.nan)
    asked[:, 2] = np.repeat([0.0, 1.0], 1000)
    filled = found.fill(asked)
    assert filled[:1000, :2].max(axis=0) == pytest.approx([92.0, -0.8], abs=2.5)  # E[a | a < 0] = -0.80
    assert filled[1000, 0] == pytest.approx(108.0, abs=2.5)
    (drawn,) = found.draw(asked, rng.random((1, *asked.shape)))
    for half in (drawn[:1000], drawn[1000:]):  # within a kind, where only each other is left to tell
        assert np.corrcoef(half[:, :2].T)[0, 1] > 0.85


def test_draws_of_two_modes_keep_both() -> None:
    """No mode collapse: a likelihood punishes a mode that is never drawn, whatever its share."""
    rng = np.random.default_rng(0)
    modes = np.where(rng.random(3000) < 0.2, 5.0, -1.0) + 0.1 * rng.normal(size=3000)
    values = np.stack([100.0 + rng.normal(size=3000), modes, np.zeros(3000)], axis=1)
    values[rng.random(values.shape) < 0.2] = np.nan
    found = quick("conditional", values)
    asked = np.array([[100.0, np.nan, 0.0]])
    drawn = found.draw(asked, rng.random((2000, 1, 3)))[:, 0, 1]
    assert (drawn > 4.0).mean() == pytest.approx(0.2, abs=0.07)
    assert (drawn < 0.0).mean() == pytest.approx(0.8, abs=0.07)


def test_a_sigmoid_far_out_does_not_overflow() -> None:
    """Weights at the end of their grid: filterwarnings would make an overflow an error."""
    values = toy_values(200)
    found = fit_gain(LAYOUT, values, 0, GainSettings(n_steps=1))
    far = {name: np.full_like(w, 16.0) * (-1.0 if name == "w2" else 1.0) for name, w in found.weights.items()}
    extreme = gain.FittedGain(LAYOUT, found.low, found.scale, found.mean, found.collapsed, far)
    assert (extreme._linear(input_grid(np.full((1, 5), 128.0)), 2) < -800.0).all()
    expected = extreme.expected(np.full((1, 3), np.nan))
    assert np.isfinite(expected).all()
    assert expected[0, 2:].sum() == pytest.approx(1.0)
