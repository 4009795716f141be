"""Files and columns as people have them."""

from datetime import date, datetime
from pathlib import Path

import pandas
import pytest

from app.domain.schema import FeatureSchema
from app.frames import read_days, read_frame, read_labels, require_columns, write_frame
from app.schema_inference import feature_frame, infer_schema
from app.user_fault import UnusableTable

FRAME = pandas.DataFrame({"a": [1.5, None, 3.0], "b": ["x", None, "z"]})


def labels(*values: object) -> list[object]:
    column = pandas.Series(values, name="bad", dtype=object).infer_objects()
    return [None if pandas.isna(label) else bool(label) for label in read_labels(column)]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.csv.gz", "T.CSV"])
def test_files_are_read_as_they_were_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "t.csv.gz":
        FRAME.to_csv(path, index=False)
    else:
        write_frame(FRAME, path)
    pandas.testing.assert_frame_equal(read_frame(path), FRAME)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "cannot be read"),
        (b'a,b\n1,"2\n', "cannot be read"),
        (b"a,b\n", "no rows"),
        (b"\xff\xfea", "cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(UnusableTable, match=rule) as caught:
        read_frame(path)
    assert "\n" not in str(caught.value)


def test_missing_columns_are_all_named_with_those_that_are_there() -> None:
    with pytest.raises(UnusableTable, match=r"no column c and no column d; it has: a, b"):
        require_columns(FRAME, ["a", "c", "d"])


def test_labels_are_read_in_every_usual_spelling() -> None:
    assert labels(1, 0, 1) == [True, False, True]
    assert labels(1.0, None, 0.0) == [True, None, False]
    assert labels(True, False) == [True, False]
    assert labels("Yes", " no", "1", "FALSE", None) == [True, False, True, False, None]


@pytest.mark.parametrize("values", [(0, 1, 2), (0.5, 1.0), ("good", "bad"), (0, 1, -1), ("", 1)])
def test_a_target_that_is_not_binary_is_refused(values: tuple[object, ...]) -> None:
    with pytest.raises(UnusableTable, match="target column bad is not binary"):
        labels(*values)


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2024-03-31", date(2024, 3, 31)),
        ("2024-03", date(2024, 3, 1)),
        (2024, date(2024, 1, 1)),
        (2024.0, date(2024, 1, 1)),
        (20240331, date(2024, 3, 31)),
        ("2024-03-31T12:30:00", date(2024, 3, 31)),
        (datetime(2024, 3, 31, 12, 30), date(2024, 3, 31)),
        (date(2024, 3, 31), date(2024, 3, 31)),
    ],
)
def test_days_are_read_in_every_usual_spelling(value: object, day: date) -> None:
    days = read_days(pandas.Series([value, None], name="when"))
    assert days[0].date() == day
    assert pandas.isna(days[1])


def test_what_is_no_day_is_refused() -> None:
    with pytest.raises(UnusableTable, match="date column when holds 2 values"):
        read_days(pandas.Series(["2024-02-30", "soon", "2024-01-01"], name="when"))


def test_a_schema_is_read_off_the_columns() -> None:
    frame = pandas.DataFrame(
        {
            "Annual income (EUR)": [10.0, 20.5, None, 30.0],
            "balance": [-5, 3, 8, 1],
            "is_owner": [True, False, True, True],
            "marital_status": ["single", None, "married", "single"],
            "market": ["x", "y", "x", "y"],
            "id": [4, 5, 6, 7],
            "note": ["a", "b", "c", "d"],
            "seen": pandas.to_datetime(["2024-01-01"] * 3 + ["2024-02-01"]),
            "country": ["PT"] * 4,
            "state": ["n", "s", "n", "s"],
        }
    )
    inferred = infer_schema(frame, not_features=["state"])
    features = {feature.name: feature for feature in inferred.schema.features}
    assert list(features) == ["Annual_income_EUR", "balance", "is_owner", "marital_status", "x_market"]
    assert [features[name].minimum for name in ("Annual_income_EUR", "balance", "is_owner")] == [0.0, None, 0.0]
    assert features["marital_status"].categories == ("married", "single")
    assert [feature.personal_data for feature in features.values()] == ["personal"] * 3 + ["sensitive", "personal"]
    assert inferred.renamed == {"Annual income (EUR)": "Annual_income_EUR", "market": "x_market"}
    assert set(inferred.left_out) == {"id", "note", "seen", "country"}
    values = inferred.features_of(frame)
    assert values["is_owner"].tolist() == [1.0, 0.0, 1.0, 1.0]
    assert values["marital_status"].tolist() == ["single", None, "married", "single"]
    assert not any(
        feature.faults_in(values[feature.name].astype(object).where(values[feature.name].notna(), None).tolist())
        for feature in inferred.schema.features
    )


def test_names_that_become_equal_are_numbered() -> None:
    frame = pandas.DataFrame({"a b": [1, 3, 2], "a_b": [3, 1, 2], "é": [2, 5, 1]})
    assert infer_schema(frame, not_features=[]).schema.names == ["a_b", "a_b_2", "feature"]


def test_a_table_without_features_is_refused() -> None:
    with pytest.raises(UnusableTable, match="this file offers 0"):
        infer_schema(pandas.DataFrame({"only": [1, 1]}), not_features=[])


def test_features_follow_the_schema_and_not_the_file() -> None:
    schema = FeatureSchema.model_validate(
        {"features": [{"name": "zip", "kind": "categorical"}, {"name": "income", "kind": "numeric"}]}
    )
    frame = pandas.DataFrame({"income": ["7", None], "zip": [123.0, None], "other": [1, 2]})
    found = feature_frame(frame, schema)
    assert list(found) == ["zip", "income"]
    assert found["zip"].tolist() == ["123", None]
    assert found["income"].fillna(-1).tolist() == [7.0, -1.0]
    with pytest.raises(UnusableTable, match="no column income"):
        feature_frame(frame[["zip"]], schema)
