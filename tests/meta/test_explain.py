"""Contributions of columns: exact where they can be worked out, summing up everywhere, the same every time."""

import itertools

import numpy as np
import pytest

from meta.explain import N_ORDERS, Breakdown, _orders, explain

ONE_SLOT_EACH = np.arange(3)
ORIGIN = np.zeros(3, dtype=np.float32)


def row(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float32)


def test_parts_that_add_up_contribute_their_own_difference() -> None:
    # two slots belong to column 0, one to column 1, two to column 2
    owner = np.array([0, 0, 1, 2, 2])
    reference = np.array([1.0, 0.0, 2.0, 0.0, 1.0], dtype=np.float32)

    def logits(x: np.ndarray) -> np.ndarray:
        x = x.astype(np.float64)
        return -2.0 + x[:, 0] * x[:, 1] + x[:, 2] ** 2 + 3.0 * x[:, 3] - x[:, 4]

    (found,) = explain(logits, row(2.0, 3.0, 1.0, 1.0, 0.0), reference, owner)
    assert found.base == pytest.approx(-2.0 + 0.0 + 4.0 + 0.0 - 1.0)
    assert found.contributions.tolist() == pytest.approx([6.0, 1.0 - 4.0, 3.0 + 1.0])
    assert found.relief.tolist() == pytest.approx([6.0, -3.0, 4.0])
    assert found.leading(range(len(found.contributions))) == [0, 2]


def test_a_product_is_shared_in_halves() -> None:
    (found,) = explain(lambda x: x[:, 0].astype(float) * x[:, 1], row(2.0, 3.0, 9.0), ORIGIN, ONE_SLOT_EACH)
    assert found.contributions.tolist() == pytest.approx([3.0, 3.0, 0.0], abs=1e-12)
    assert found.relief.tolist() == pytest.approx([6.0, 6.0, 0.0])


def wavy(x: np.ndarray) -> np.ndarray:
    """A network of 5 inputs with fixed weights, in float64."""
    rng = np.random.default_rng(3)
    hidden = np.tanh(x.astype(np.float64) @ rng.normal(size=(5, 8)))
    return hidden @ rng.normal(size=8) + 1.3 * hidden[:, 0] * hidden[:, 1]


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)


def test_contributions_add_up_to_the_difference_from_the_reference(rows: np.ndarray) -> None:
    reference = np.full(5, 0.2, dtype=np.float32)
    for x, found in zip(rows, explain(wavy, rows, reference, np.arange(5)), strict=True):
        expected = wavy(x[None])[0] - wavy(reference[None])[0]
        assert found.contributions.sum() == pytest.approx(expected, abs=1e-9)
        assert found.base == wavy(reference[None])[0]
        for j in range(5):
            without = x.copy()
            without[j] = reference[j]
            assert found.relief[j] == pytest.approx(wavy(x[None])[0] - wavy(without[None])[0], abs=1e-12)


def test_contributions_are_near_the_mean_over_all_orders(rows: np.ndarray) -> None:
    exact = np.zeros(5)
    orders = list(itertools.permutations(range(5)))
    for order in orders:
        x = np.zeros(5, dtype=np.float32)
        for j in order:
            before = wavy(x[None])[0]
            x[j] = rows[0, j]
            exact[j] += (wavy(x[None])[0] - before) / len(orders)
    (found,) = explain(wavy, rows[:1], np.zeros(5, dtype=np.float32), np.arange(5))
    np.testing.assert_allclose(found.contributions, exact, atol=0.25)


def test_the_same_answer_alone_twice_and_in_any_batch(rows: np.ndarray) -> None:
    reference = np.zeros(5, dtype=np.float32)

    def logits(x: np.ndarray) -> np.ndarray:
        return (x.astype(np.float64) * np.arange(5)).prod(axis=1) + x.sum(axis=1, dtype=float)

    together = explain(logits, rows, reference, np.arange(5))
    for i, found in enumerate(together):
        (alone,) = explain(logits, rows[i : i + 1], reference, np.arange(5))
        np.testing.assert_array_equal(alone.contributions, found.contributions)
        np.testing.assert_array_equal(alone.relief, found.relief)


def test_every_order_comes_with_its_reverse() -> None:
    orders = _orders(7)
    assert orders.shape == (2 * N_ORDERS, 7)
    assert (np.sort(orders, axis=1) == np.arange(7)).all()
    np.testing.assert_array_equal(orders[:N_ORDERS], orders[N_ORDERS:, ::-1])
    np.testing.assert_array_equal(orders, _orders(7))


def test_the_reference_account_is_explained_by_nothing() -> None:
    reference = np.array([0.3, -1.0, 2.0, 0.1, 0.5], dtype=np.float32)
    (found,) = explain(wavy, reference[None], reference, np.arange(5))
    assert found.contributions.tolist() == [0.0] * 5
    assert found.leading(range(len(found.contributions))) == []


def test_a_single_column_takes_it_all() -> None:
    (found,) = explain(lambda x: x.sum(axis=1, dtype=float), row(1.0, 2.0), ORIGIN[:2], np.zeros(2, dtype=np.int64))
    assert found.contributions.tolist() == [3.0]


def test_no_rows_need_no_explanation() -> None:
    assert explain(wavy, np.zeros((0, 5), dtype=np.float32), np.zeros(5, dtype=np.float32), np.arange(5)) == []


def test_the_leading_columns_are_the_riskiest_first_and_ties_in_order() -> None:
    relief = np.ones(7)
    found = Breakdown(0.0, np.array([0.1, 0.5, -2.0, 0.5, 0.0, 0.7, 0.2]), relief)
    assert found.leading(range(len(found.contributions))) == [5, 1, 3, 6]
    assert found.leading(range(len(found.contributions)), at_most=2) == [5, 1]
    assert found.leading(range(len(found.contributions)), at_most=10) == [5, 1, 3, 6, 0]


def test_a_column_whose_own_replacement_would_not_help_is_no_reason() -> None:
    found = Breakdown(0.0, np.array([0.4, 0.3, 0.2]), np.array([-0.1, 0.0, 0.2]))
    assert found.leading(range(len(found.contributions))) == [2]


def test_ties_are_told_in_the_order_asked_for() -> None:
    found = Breakdown(0.0, np.array([0.5, 0.5, 0.7]), np.ones(3))
    assert found.leading([1, 0, 2]) == [2, 1, 0]
    assert found.leading([0, 1, 2]) == [2, 0, 1]
