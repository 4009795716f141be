"""scikit-learn's conventions: fit apart from transform, names, clones, pipelines, labels never looked at."""

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

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
        TableImputer("mean").fit(np.zeros(3))
