"""Sums on the grid are exact: no order, batch or split changes a bit."""

from fractions import Fraction

import numpy as np
import pytest

from meta.imputers.fixed_point import INPUT_BOUND, MAX_TERMS, WEIGHT_BOUND, input_grid, weight_grid


def test_rounding_and_clipping_by_hand() -> None:
    assert input_grid(np.array([1.0 + 2.0**-13, 3 * 2.0**-14, 1000.0])).tolist() == [1.0, 2.0**-12, INPUT_BOUND]
    assert weight_grid(np.array([2.0**-17 * 1.5, -99.0])).tolist() == [2.0**-16, -WEIGHT_BOUND]


def test_a_product_is_the_exact_sum() -> None:
    rng = np.random.default_rng(0)
    x = input_grid(rng.normal(scale=60.0, size=(3, 400)))
    w = weight_grid(rng.normal(scale=8.0, size=(400, 2))).astype(np.float64)
    exact = [[sum(Fraction(a) * Fraction(b) for a, b in zip(row, column, strict=True)) for column in w.T] for row in x]
    assert [[Fraction(value) for value in row] for row in (x @ w)] == exact


def test_the_largest_sum_keeps_its_last_bit() -> None:
    x = np.full((1, MAX_TERMS), INPUT_BOUND)
    x[0, 0] = 2.0**-12
    w = np.full((MAX_TERMS, 1), WEIGHT_BOUND)
    w[0, 0] = 2.0**-16
    assert (x @ w)[0, 0] - (MAX_TERMS - 1) * INPUT_BOUND * WEIGHT_BOUND == 2.0**-28


def test_order_and_company_change_nothing() -> None:
    rng = np.random.default_rng(1)
    x, w = input_grid(rng.normal(size=(257, 90))), weight_grid(rng.normal(size=(90, 33))).astype(np.float64)
    whole, order = x @ w, rng.permutation(90)
    np.testing.assert_array_equal(x[:, order] @ w[order], whole)
    np.testing.assert_array_equal(np.concatenate([x[i : i + 1] @ w for i in range(len(x))]), whole)
    np.testing.assert_array_equal(x[:, :40] @ w[:40] + x[:, 40:] @ w[40:], whole)


def test_more_terms_than_are_exact_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_TERMS} terms"):
        weight_grid(np.zeros((MAX_TERMS + 1, 1)))
