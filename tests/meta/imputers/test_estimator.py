"""scikit-learn's conventions: fit apart from transform, names, clones, pipelines, labels never looked at."""

from collections.abc import Callable

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from meta.errors import InvalidColumns, InvalidRecipe
from meta.imputers.estimator import TableImputer


@pytest.fixture
def frame() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    found = pandas.DataFrame({"age": rng.normal(40, 9, 200), "job": rng.choice(["clerk", "nurse"], 200)})
    found.loc[::5, "age"] = np.nan
    found.loc[1::7, "job"] = None
    return found


def test_a_frame_for_a_frame(frame: pandas.DataFrame) -> None:
    imputer = TableImputer("mean").fit(frame)
    found = imputer.transform(frame)
    assert found.notna().all().all()
    assert list(found) == ["age", "job"] == imputer.get_feature_names_out().tolist()
    pandas.testing.assert_series_equal(found["age"][frame["age"].notna()], frame["age"].dropna())
    assert found["age"][0] == pytest.approx(frame["age"].mean())


def test_labels_change_nothing(frame: pandas.DataFrame) -> None:
    y = frame["age"].fillna(0) > 40
    with_labels, without = TableImputer("mean").fit(frame, y), TableImputer("mean").fit(frame)
    np.testing.assert_array_equal(with_labels.fitted_.arrays()["typical"], without.fitted_.arrays()["typical"])


def test_samples_come_by_chance_and_by_seed(frame: pandas.DataFrame) -> None:
    imputer = TableImputer("mean").fit(frame)
    first, second = imputer.sample(frame, 2, seed=1)
    pandas.testing.assert_frame_equal(first, second)  # a mean has nothing to draw


def test_it_clones_and_pipes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    y = (x[:, 0] > 0).astype(int)
    x[rng.random(x.shape) < 0.2] = np.nan
    copy = clone(TableImputer("mean", seed=4))
    assert copy.get_params() == {"imputer": "mean", "seed": 4}
    assert make_pipeline(copy, LogisticRegression()).fit(x, y).score(x, y) > 0.7


def test_refusals(frame: pandas.DataFrame) -> None:
    with pytest.raises(InvalidRecipe, match="got 'median'"):
        TableImputer("median").fit(frame)
    with pytest.raises(InvalidColumns, match="'job'"):
        TableImputer("mean").fit(frame).transform(frame[["age"]])
    with pytest.raises(InvalidColumns, match="shape"):
        TableImputer("mean").fit(frame[:0])
    with pytest.raises(InvalidColumns, match="'age'"):
        TableImputer("mean").fit(frame.replace({"age": {frame["age"].max(): np.inf}}))
    with pytest.raises(ValueError, match="Expected 2D array"):
        TableImputer("mean").fit(np.zeros(3))
    with pytest.raises(NotFittedError):
        TableImputer("mean").sample(frame, 2)


@parametrize_with_checks([TableImputer("mean")])
def test_it_does_what_scikit_learn_asks_of_every_estimator(estimator: TableImputer, check: Callable) -> None:
    """Among others: clones, settings, features counted and named, refusals in its own words."""
    check(estimator)


def test_names_come_of_the_last_fit(frame: pandas.DataFrame) -> None:
    imputer = TableImputer("mean").fit(frame)
    assert (imputer.n_features_in_, imputer.feature_names_in_.tolist()) == (2, ["age", "job"])
    imputer.fit(np.eye(3))
    assert imputer.n_features_in_ == 3
    assert not hasattr(imputer, "feature_names_in_")
    assert imputer.get_feature_names_out().tolist() == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="input_features"):
        imputer.get_feature_names_out(["one"])


def test_a_frames_columns_are_found_by_name(frame: pandas.DataFrame) -> None:
    imputer = TableImputer("mean").fit(frame)
    shuffled = frame.assign(more=1.0)[["more", "job", "age"]]
    pandas.testing.assert_frame_equal(imputer.transform(shuffled), imputer.transform(frame))
