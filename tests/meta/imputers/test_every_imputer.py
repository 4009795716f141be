"""One suite over every imputer that a theta may carry."""

import numpy as np
import pytest

from meta.errors import InvalidRecipe
from meta.imputers import FITS, FittedImputer, Layout, fit_imputer, restore_imputer
from meta.imputers.conditional_fit import ConditionalSettings, fit_conditional
from meta.imputers.gain import GainSettings, fit_gain
from meta.imputers.typical import fit_typical

LAYOUT = Layout(("a", "b", "kind"), (None, None, ("x", "y", "z")))


def quick(name: str, values: np.ndarray, seed: int = 3) -> FittedImputer:
    """The registry's imputer, taught for a moment."""
    if name == "conditional":
        return fit_conditional(LAYOUT, values, seed, ConditionalSettings(n_steps=150, width=32))
    return fit_gain(LAYOUT, values, seed, GainSettings(n_steps=400)) if name == "gain" else fit_typical(LAYOUT, values)


def toy_values(n_rows: int = 400, seed: int = 0) -> np.ndarray:
    """b follows a, kind follows a's sign; a fifth is missing."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n_rows)
    values = np.stack([100.0 + 10.0 * a, a + 0.2 * rng.normal(size=n_rows), (a > 0).astype(float)], axis=1)
    values[rng.random(values.shape) < 0.2] = np.nan
    return values


@pytest.fixture(scope="module", params=sorted(FITS))
def fitted(request: pytest.FixtureRequest) -> FittedImputer:
    return quick(request.param, toy_values())


def test_what_is_known_comes_back_and_nothing_stays_unknown(fitted: FittedImputer) -> None:
    values = toy_values(seed=1)
    known = ~np.isnan(values)
    draws = fitted.draw(values, np.random.default_rng(0).random((4, *values.shape)))
    for filled in (fitted.fill(values), *draws):
        assert np.isfinite(filled).all()
        np.testing.assert_array_equal(filled[known], values[known])
    assert set(np.unique(fitted.fill(values)[:, 2])) <= {0.0, 1.0, 2.0}
    assert set(np.unique(draws[:, :, 2])) <= {0.0, 1.0, 2.0}


def test_probabilities_add_up_and_decide_the_fill(fitted: FittedImputer) -> None:
    values = toy_values(seed=1)
    expected = fitted.expected(values)
    assert expected.shape == (len(values), 5)
    np.testing.assert_allclose(expected[:, 2:].sum(axis=1), 1.0)
    np.testing.assert_array_equal(LAYOUT.decide(expected)[:, 2], fitted.fill(values)[:, 2])


def test_the_same_bits_alone_and_in_any_batch(fitted: FittedImputer) -> None:
    values = toy_values(300, seed=2)
    luck = np.random.default_rng(0).random((6, 1, 3))
    filled, drawn = fitted.fill(values), fitted.draw(values, luck)
    order = np.random.default_rng(1).permutation(len(values))
    np.testing.assert_array_equal(fitted.fill(values[order]), filled[order])
    np.testing.assert_array_equal(fitted.draw(values[order], luck), drawn[:, order])
    for i in range(0, 300, 7):
        np.testing.assert_array_equal(fitted.fill(values[i : i + 1])[0], filled[i])
        np.testing.assert_array_equal(fitted.draw(values[i : i + 1], luck)[:, 0], drawn[:, i])


def test_stored_and_read_it_fills_the_same(fitted: FittedImputer) -> None:
    found = restore_imputer(fitted.name, LAYOUT, fitted.arrays(), fitted.settings())
    assert all(np.isfinite(value).all() for value in fitted.arrays().values())
    values = toy_values(seed=1)
    np.testing.assert_array_equal(found.fill(values), fitted.fill(values))
    assert found.report == fitted.report


def test_the_same_rows_and_seed_give_the_same_arrays(fitted: FittedImputer) -> None:
    again = quick(fitted.name, toy_values()).arrays()
    for name, value in fitted.arrays().items():
        np.testing.assert_array_equal(again[name], value)


def test_a_row_of_nothing_is_filled_by_what_is_usual(fitted: FittedImputer) -> None:
    (filled,) = fitted.fill(np.full((1, 3), np.nan))
    assert 80.0 < filled[0] < 120.0
    assert filled[2] in (0.0, 1.0)


@pytest.mark.parametrize("name", sorted(FITS))
def test_an_empty_and_a_constant_column(name: str) -> None:
    values = toy_values(200)
    values[:, 0], values[:, 1] = np.nan, np.where(np.isnan(values[:, 1]), np.nan, 5.0)
    found = quick(name, values)
    filled = found.fill(values)
    assert (filled[:, 0] == 0.0).all() or name == "gain"
    np.testing.assert_allclose(filled[:, 1], 5.0, atol=1.0)
    assert np.isfinite(filled).all()
    assert "no source row has a value" in found.report["a"]
    assert restore_imputer(name, LAYOUT, found.arrays(), found.settings()).report == found.report


def test_by_name_with_the_usual_settings() -> None:
    assert set(FITS) == {"mean", "gain", "conditional"}
    assert fit_imputer("mean", LAYOUT, toy_values(), 0).name == "mean"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="imputer must be one of conditional, gain, mean, got 'median'"):
        fit_imputer("median", LAYOUT, toy_values(), 0)
    with pytest.raises(InvalidRecipe, match="got 'median'"):
        restore_imputer("median", LAYOUT, {}, {})
