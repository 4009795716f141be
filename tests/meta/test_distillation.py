"""The teacher: columns read back from the encoding, labels softened by trees that never saw the row's market."""

import numpy as np
import pandas
import pytest

from meta.distillation import MAX_CATEGORIES, N_FOLDS, columns_of, fit_trees, softened_labels
from meta.features import Encoder, fit_encoder
from meta.types import Column
from tests.meta.toy import TOY_COLUMNS, encode, toy_source

COLUMNS = (Column("job", "categorical", ("clerk", "nurse")), Column("debt", "numeric"), Column("age", "numeric"))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "job": rng.choice(["clerk", "nurse"], 200),
            "debt": rng.normal(size=200),
            "age": rng.integers(20, 60, 200).astype(float),
        }
    )
    return fit_encoder(COLUMNS, frame)


def test_columns_come_back_in_the_encoders_order(encoder: Encoder) -> None:
    x = encoder.encode({"job": ["clerk", "nurse", "astronaut", None], "debt": [0.0] * 4, "age": [30.0, None, 40.0, 50]})
    found, categorical = columns_of(encoder, x)
    assert encoder.column_names == ["debt", "age", "job"]
    assert categorical.tolist() == [False, False, True]
    # clerk, nurse, and the number of any other category; missing is NaN everywhere
    np.testing.assert_array_equal(found[:, 2], [0.0, 1.0, 2.0, np.nan])
    np.testing.assert_array_equal(
        np.isnan(found[:, :2]), [[False, False], [False, True], [False, False], [False, False]]
    )


def test_numbers_keep_their_order(encoder: Encoder) -> None:
    values = np.sort(np.random.default_rng(1).normal(0.0, 0.7, 50))
    x = encoder.encode({"job": ["clerk"] * 50, "debt": values, "age": np.linspace(20, 59, 50)})
    found, _ = columns_of(encoder, x)
    assert (np.diff(found[:, :2], axis=0) > 0).all()
    beyond = encoder.encode({"job": ["clerk"] * 2, "debt": [-99.0, 99.0], "age": [0.0, 999.0]})
    ends, _ = columns_of(encoder, beyond)
    assert ends[:, :2].tolist() == [[0.0, 0.0], [8.0, 8.0]]  # eight bins, none of them entered or all


def test_categories_that_the_trees_cannot_number_count_as_missing() -> None:
    many = [f"c{i:03d}" for i in range(MAX_CATEGORIES + 5)]
    encoder = fit_encoder((Column("town", "categorical", tuple(many)),), pandas.DataFrame({"town": many}))
    found, _ = columns_of(encoder, encoder.encode({"town": [many[MAX_CATEGORIES - 1], many[MAX_CATEGORIES], "none"]}))
    np.testing.assert_array_equal(found[:, 0], [MAX_CATEGORIES - 1, np.nan, np.nan])


class Teacher:
    """Answers one PD for every row."""

    def __init__(self, pd: float) -> None:
        self.pd = pd

    def predict_proba(self, columns: np.ndarray) -> np.ndarray:
        return np.tile([1 - self.pd, self.pd], (len(columns), 1))


@pytest.fixture(scope="module")
def small():
    source = toy_source(n_markets=7, n_rows=20)
    encoder = fit_encoder(TOY_COLUMNS, source)
    x = encode(encoder, source)
    return encoder, x, source["defaulted"].to_numpy(dtype=float), source["market"].to_numpy(dtype=str)


def test_labels_are_mixed_with_the_teachers_pds(small, monkeypatch) -> None:
    encoder, x, y, market = small
    monkeypatch.setattr("meta.distillation.fit_trees", lambda *arguments: Teacher(0.3))
    found = softened_labels(encoder, x, y, market, 0.25, 0)
    np.testing.assert_allclose(found, np.where(y == 1, 0.75 + 0.25 * 0.3, 0.25 * 0.3))
    np.testing.assert_allclose(softened_labels(encoder, x, y, market, 1.0, 0), 0.3)


def test_a_share_of_nothing_returns_the_labels(small, monkeypatch) -> None:
    encoder, x, y, market = small

    def refuse(*arguments):
        raise AssertionError("no teacher was asked for")

    monkeypatch.setattr("meta.distillation.fit_trees", refuse)
    assert softened_labels(encoder, x, y, market, 0.0, 0) is y
    one = np.full(len(y), "M0")
    assert softened_labels(encoder, x, y, one, 0.5, 0) is y  # a single market cannot be left out


def test_the_teacher_never_sees_the_rows_own_market(small, monkeypatch) -> None:
    encoder, x, y, market = small
    # a column that tells rows apart: the row's own number in place of the first numeric column
    number = np.arange(len(y), dtype=float)
    monkeypatch.setattr("meta.distillation.columns_of", lambda *a: (number[:, None], np.array([False])))
    asked: list[int] = []

    class Spy(Teacher):
        def __init__(self, columns: np.ndarray, labels: np.ndarray) -> None:
            super().__init__(0.5)
            self.rows = columns[:, 0].astype(int)
            np.testing.assert_array_equal(labels, y[self.rows])

        def predict_proba(self, columns: np.ndarray) -> np.ndarray:
            rows = columns[:, 0].astype(int)
            assert set(market[rows]).isdisjoint(market[self.rows])
            asked.extend(rows.tolist())
            return super().predict_proba(columns)

    monkeypatch.setattr("meta.distillation.fit_trees", lambda columns, labels, *rest: Spy(columns, labels))
    softened_labels(encoder, x, y, market, 0.5, 0)
    assert sorted(asked) == list(range(len(y)))  # every row once


def test_labels_given_are_not_changed_in_place(small, monkeypatch) -> None:
    encoder, x, y, market = small
    before = y.copy()
    monkeypatch.setattr("meta.distillation.fit_trees", lambda *arguments: Teacher(0.3))
    softened_labels(encoder, x, y, market, 0.5, 0)
    np.testing.assert_array_equal(y, before)


def test_where_the_other_markets_show_one_class_labels_stay(small, monkeypatch) -> None:
    encoder, x, y, market = small
    alone = np.where(market == "M0", y, 0.0)
    monkeypatch.setattr("meta.distillation.fit_trees", lambda *arguments: Teacher(0.3))
    found = softened_labels(encoder, x, alone, market, 0.5, 0)
    # without M0's fold no default is left to learn from; the other folds have M0's
    np.testing.assert_array_equal(found[market == "M0"], y[market == "M0"])
    assert (found[market != "M0"] >= 0.0).all()
    assert np.isclose(found, 0.15).sum() >= 0.5 * len(y)


def test_real_trees_say_the_same_twice_and_rank(small) -> None:
    encoder, x, y, market = small
    first = softened_labels(encoder, x, y, market, 1.0, 3)
    np.testing.assert_array_equal(first, softened_labels(encoder, x, y, market, 1.0, 3))
    assert ((first > 0) & (first < 1)).all()
    assert first[y == 1].mean() > first[y == 0].mean()
    assert len(np.unique(market)) > N_FOLDS


def test_trees_take_missing_values_and_categories(encoder: Encoder) -> None:
    rng = np.random.default_rng(2)
    job = rng.choice(["clerk", "nurse", None], 300)
    x = encoder.encode({"job": job.tolist(), "debt": rng.normal(size=300), "age": [None] * 300})
    columns, categorical = columns_of(encoder, x)
    y = (rng.random(300) < np.where(job == "nurse", 0.8, 0.2)).astype(float)
    pd = fit_trees(columns, y, categorical, seed=0).predict_proba(columns)[:, 1]
    assert pd[job == "nurse"].mean() > 0.6
    assert pd[job == "clerk"].mean() < 0.4


def test_a_column_that_other_markets_lack_altogether_is_survived(encoder: Encoder) -> None:
    rng = np.random.default_rng(3)
    market = np.repeat(["A", "B", "C"], 60)
    age = [float(value) if name == "A" else None for value, name in zip(rng.integers(20, 60, 180), market, strict=True)]
    x = encoder.encode({"job": ["clerk"] * 180, "debt": rng.normal(size=180), "age": age})
    y = (rng.random(180) < 0.3).astype(float)
    found = softened_labels(encoder, x, y, market, 1.0, 0)
    assert ((found > 0) & (found < 1)).all()


def test_a_declared_direction_binds_the_teacher() -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(2000, 1))
    y = (rng.random(2000) < 1 / (1 + np.exp(2 * columns[:, 0]))).astype(float)  # risk falls with the value
    bound = fit_trees(columns, y, np.array([False]), 0, np.array([1])).predict_proba(np.array([[-1.0], [1.0]]))[:, 1]
    free = fit_trees(columns, y, np.array([False]), 0).predict_proba(np.array([[-1.0], [1.0]]))[:, 1]
    assert free[0] > free[1] + 0.5
    assert bound[0] <= bound[1]
