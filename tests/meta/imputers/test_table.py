"""Accounts as a matrix and back: places of categories, what is missing, what was unseen."""

import numpy as np
import pytest

from meta.errors import InvalidColumns
from meta.imputers.table import Layout

LAYOUT = Layout(("age", "job"), (None, ("clerk", "nurse")))
COLUMNS = {"age": [30.0, None, 50.0], "job": ["nurse", "astronaut", None]}


def test_values_missing_and_unseen() -> None:
    np.testing.assert_array_equal(LAYOUT.values(COLUMNS), [[30.0, 1.0], [np.nan, np.nan], [50.0, np.nan]])
    assert LAYOUT.missing(COLUMNS).tolist() == [[False, False], [True, False], [False, True]]


def test_one_hot_and_back() -> None:
    coded = LAYOUT.one_hot(LAYOUT.values(COLUMNS))
    np.testing.assert_array_equal(coded, [[30, 0, 1], [np.nan] * 3, [50, np.nan, np.nan]])
    assert LAYOUT.decide(np.array([[41.0, 0.5, 0.5], [7.0, 0.2, 0.8]])).tolist() == [[41.0, 0.0], [7.0, 1.0]]


def test_the_way_back_to_columns() -> None:
    found = LAYOUT.columns(np.array([[30.0, 1.0], [31.0, np.nan]]))
    assert list(found["age"]) == [30.0, 31.0]
    assert found["job"] == ["nurse", None]


def test_a_column_that_knows_no_category_stays_unknown() -> None:
    layout = Layout(("job",), ((),))
    assert layout.widths == (1,)
    assert layout.columns(np.zeros((1, 1)))["job"] == [None]


def test_refusals_name_the_column() -> None:
    with pytest.raises(InvalidColumns, match="'job' is absent"):
        LAYOUT.values({"age": [1.0]})
    with pytest.raises(InvalidColumns, match="'age' must hold numbers"):
        LAYOUT.values({"age": ["old"], "job": ["nurse"]})
