"""The encoder: bins by hand, missing and unseen states, bounds, refusals."""

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.errors import InvalidColumns
from meta.features import CLIP, N_BINS, fit_encoder
from meta.types import Column

COLUMNS = (Column("income", "numeric"), Column("job", "categorical", ("clerk",)))


def make_encoder():
    frame = pandas.DataFrame({"income": np.arange(0.0, 81.0), "job": ["nurse"] * 40 + ["clerk"] * 39 + ["rare"] * 2})
    return fit_encoder(COLUMNS, frame)


def test_piecewise_linear_bins_by_hand() -> None:
    encoder = make_encoder()  # edges 0, 10, ..., 80
    row = encoder.encode({"income": [25.0], "job": ["clerk"]})[0]
    np.testing.assert_allclose(row[:N_BINS], [1, 1, 0.5, 0, 0, 0, 0, 0])
    scale = 40.0 / 1.349  # interquartile range 20..60
    assert row[N_BINS] == pytest.approx((25.0 - 40.0) / scale)
    assert row[N_BINS + 1] == 0.0
    np.testing.assert_array_equal(row[N_BINS + 2 :], [1, 0, 0, 0])  # clerk (declared), nurse, unseen, missing


def test_missing_and_unseen_are_states_of_their_own() -> None:
    encoder = make_encoder()
    rows = encoder.encode({"income": [None, np.nan], "job": [None, "astronaut"]})
    np.testing.assert_array_equal(rows[0], [0] * (N_BINS + 1) + [1] + [0, 0, 0, 1])
    np.testing.assert_array_equal(rows[1], [0] * (N_BINS + 1) + [1] + [0, 0, 1, 0])
    assert encoder.unseen({"job": ["clerk", "astronaut", None, "rare"]}) == [("job", 1), ("job", 3)]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_value_is_encoded_within_bounds(value: float) -> None:
    row = make_encoder().encode({"income": [value], "job": ["clerk"]})[0]
    assert np.isfinite(row).all()
    assert np.abs(row).max() <= CLIP


def test_constant_and_empty_columns_stay_finite() -> None:
    columns = (Column("flag", "numeric"), Column("nothing", "numeric"), Column("two", "numeric"))
    frame = pandas.DataFrame({"flag": [1.0] * 30, "nothing": [np.nan] * 30, "two": [0.0] * 29 + [1.0]})
    rows = fit_encoder(columns, frame).encode({"flag": [1.0, 7.0], "nothing": [np.nan, 3.0], "two": [0.0, 1.0]})
    assert np.isfinite(rows).all()
    assert not np.array_equal(rows[0], rows[1])


def test_slots_and_absence_states_fit_the_width() -> None:
    encoder = make_encoder()
    assert len(encoder.column_of_slot) == encoder.n_features == N_BINS + 2 + 4
    both_absent = encoder.encode({"income": [None, 5.0], "job": ["astronaut", None]})
    assert encoder.absence_slots.tolist() == [N_BINS + 1, N_BINS + 4, N_BINS + 5]
    assert both_absent[:, encoder.absence_slots].tolist() == [[1, 1, 0], [0, 0, 1]]


def test_no_rows_are_encoded_in_the_full_width() -> None:
    encoder = make_encoder()
    assert encoder.encode({"income": [], "job": []}).shape == (0, encoder.n_features)


def test_refusals_name_the_column() -> None:
    encoder = make_encoder()
    with pytest.raises(InvalidColumns, match="'job' is absent"):
        encoder.encode({"income": [1.0]})
    with pytest.raises(InvalidColumns, match="'income' must hold numbers"):
        encoder.encode({"income": ["many"], "job": ["clerk"]})
    with pytest.raises(InvalidColumns, match="at least one source row"):
        fit_encoder(COLUMNS, pandas.DataFrame({"income": [], "job": []}))
    with pytest.raises(InvalidColumns, match="'income' must hold numbers"):
        fit_encoder(COLUMNS, pandas.DataFrame({"income": ["x"], "job": ["clerk"]}))
    with pytest.raises(InvalidColumns, match="absent from the source rows"):
        fit_encoder(COLUMNS, pandas.DataFrame({"income": [1.0]}))


def test_every_slot_knows_its_column_and_what_it_says() -> None:
    encoder = make_encoder()
    assert encoder.column_names == ["income", "job"]
    kinds = ["bin"] * N_BINS + ["scaled", "absent"] + ["category"] * 2 + ["absent"] * 2
    assert encoder.kind_of_slot.tolist() == kinds
    assert encoder.column_of_slot.tolist() == [0] * (N_BINS + 2) + [1] * 4
    assert encoder.absence_slots.tolist() == np.flatnonzero(encoder.kind_of_slot == "absent").tolist()


def test_numeric_columns_are_numbered_first_whatever_the_schemas_order() -> None:
    frame = pandas.DataFrame({"job": ["clerk"] * 30, "income": np.arange(30.0), "age": np.arange(30.0)})
    columns = (COLUMNS[1], Column("income", "numeric"), Column("age", "numeric"))
    encoder = fit_encoder(columns, frame)
    assert encoder.column_names == ["income", "age", "job"]
    row = encoder.encode({"job": ["clerk"], "income": [29.0], "age": [0.0]})[0]
    for name, n_full in (("income", N_BINS), ("age", 0)):
        slots = (encoder.column_of_slot == encoder.column_names.index(name)) & (encoder.kind_of_slot == "bin")
        assert row[slots].sum() == n_full
