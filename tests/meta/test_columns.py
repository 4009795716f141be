"""What columns look like: wrong units are seen, honest supports are not accused, profiles survive storage."""

from dataclasses import replace

import numpy as np
import pandas
import pytest

from meta.columns import (
    LEAST_LIMIT,
    MIN_ROWS,
    OUTSIDE_SHARE,
    STATISTICS,
    ColumnProfiles,
    Strangeness,
    _distances,
    fit_profiles,
)
from meta.features import Encoder, fit_encoder
from meta.reading import Reading
from meta.types import Column

COLUMNS = (
    Column("age", "numeric"),
    Column("job", "categorical", ("clerk", "nurse")),
    Column("income", "numeric"),
    Column("bonus", "numeric"),
    Column("home", "categorical"),
)
N_MARKETS, N_ROWS = 12, 300


def draw(rng: np.random.Generator, n_rows: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """One market: age in years, income in currency a month, a bonus that most lack."""
    return {
        "age": np.round(np.clip(40 + 10 * (rng.normal(size=n_rows) + shift), 18, 90)),
        "job": rng.choice(["clerk", "nurse"], n_rows, p=[0.7, 0.3]),
        "income": np.exp(7.5 + 0.4 * (rng.normal(size=n_rows) + shift)),
        "bonus": np.where(rng.random(n_rows) < 0.7, np.nan, rng.uniform(100, 200, n_rows)),
        "home": rng.choice(["own", "rent"], n_rows),
    }


@pytest.fixture(scope="module")
def source() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    frames = []
    for i in range(N_MARKETS):
        own = pandas.DataFrame(draw(rng, N_ROWS, rng.normal(0.0, 0.3)))
        risk = 1 / (1 + np.exp(2 - (np.log(own["income"]) - 7.5)))
        frames.append(own.assign(market=f"M{i}", defaulted=rng.random(N_ROWS) < risk))
    return pandas.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def encoder(source: pandas.DataFrame) -> Encoder:
    return fit_encoder(COLUMNS, source)


@pytest.fixture(scope="module")
def profiles(encoder: Encoder, source: pandas.DataFrame) -> ColumnProfiles:
    return fit_profiles(encoder, source, seed=0)


def posted(seed: int, n_rows: int = 60) -> dict:
    return {name: values.tolist() for name, values in draw(np.random.default_rng(seed), n_rows).items()}


def grave(found: list[Strangeness]) -> list[str]:
    return [strange.column for strange in found if strange.is_grave]


def test_statistics_by_hand() -> None:
    # two markets of values 0..4 and 10..14: medians 2 and 12, interquartile ranges 2 and 2
    frame = pandas.DataFrame({"v": [0.0, 1, 2, 3, 4, 10, 11, 12, 13, 14], "market": ["a"] * 5 + ["b"] * 5})
    frame["defaulted"] = [True, False] * 5
    found = fit_profiles(fit_encoder((Column("v", "numeric"),), frame), frame, seed=0)
    by_name = dict(zip(STATISTICS, found.statistics[0], strict=True))
    assert by_name["median"] == 7.0
    assert by_name["median_sd"] == pytest.approx(np.sqrt(50.0))
    assert by_name["spread"] == pytest.approx(np.log(2.0))
    assert by_name["spread_sd"] == pytest.approx(0.0)
    # all rows: quartiles 2.25 and 11.75
    assert by_name["sigma"] == pytest.approx(9.5 / 1.349)
    assert (by_name["low"], by_name["high"]) == pytest.approx((0.009, 13.991))
    assert found.limit.tolist() == pytest.approx([LEAST_LIMIT])  # no market has the rows to draw supports from
    assert found.typical == {"v": 7.0}
    encoder = fit_encoder((Column("v", "numeric"),), frame)
    assert found.typical_range(encoder, "v") == pytest.approx((7 - 9.5 / 1.349, 7 + 9.5 / 1.349))


@pytest.fixture(scope="module")
def rich(source: pandas.DataFrame) -> pandas.DataFrame:
    """Source markets whose defaulters earn half as much again as the others."""
    return source.assign(income=source["income"] * np.where(source["defaulted"], 1.5, 1.0))


def test_defaulters_alone_are_not_accused_of_being_defaulters(encoder: Encoder, rich: pandas.DataFrame) -> None:
    profiles = fit_profiles(encoder, rich, seed=0)
    as_all, as_defaulters = [], []
    for _, rows in rich[rich["defaulted"]].groupby("market"):
        columns = {c.name: rows[c.name].tolist() for c in COLUMNS}
        as_all += grave(profiles.strange_columns(encoder, columns))
        as_defaulters += grave(profiles.strange_columns(encoder, columns, defaulters_alone=True))
    assert as_all.count("income") >= 3
    assert as_defaulters == []


@pytest.mark.parametrize("factor", [12.0, 100.0, 1 / 12])
def test_a_wrong_unit_of_defaulters_alone_is_grave(factor: float, encoder: Encoder, rich: pandas.DataFrame) -> None:
    profiles = fit_profiles(encoder, rich, seed=0)
    for market, rows in rich[rich["defaulted"]].groupby("market"):
        columns = {c.name: rows[c.name].tolist()[:12] for c in COLUMNS}
        columns["income"] = [factor * value for value in columns["income"]]
        assert "income" in grave(profiles.strange_columns(encoder, columns, defaulters_alone=True)), market


@pytest.mark.parametrize("factor", [12.0, 100.0, 0.01, 1 / 12, 1000.0])
def test_a_wrong_unit_is_grave(factor: float, encoder: Encoder, profiles: ColumnProfiles) -> None:
    for seed in range(10):
        columns = posted(seed)
        wrong = {**columns, "income": [factor * value for value in columns["income"]]}
        (found,) = profiles.strange_columns(encoder, wrong)
        assert (found.column, found.is_grave) == ("income", True)
        assert "'income'" in found.text


def test_a_wrong_unit_is_told_with_both_medians(encoder: Encoder, profiles: ColumnProfiles) -> None:
    columns = posted(0)
    (found,) = profiles.strange_columns(encoder, {**columns, "age": [12 * value for value in columns["age"]]})
    theirs = profiles.statistics[0][STATISTICS.index("median")]
    median = 12 * np.median(columns["age"])
    expected = f"wrong unit or meaning? its median is {median:.4g}, that of source markets {theirs:.4g}"
    assert found.text == f"column 'age': {expected}"


def test_a_shifted_column_is_grave(encoder: Encoder, profiles: ColumnProfiles) -> None:
    for seed in range(10):
        columns = posted(seed)
        years = {**columns, "age": [1950.0 + value for value in columns["age"]]}  # years of birth, say
        assert grave(profiles.strange_columns(encoder, years)) == ["age"]


def test_a_column_without_its_usual_spread_is_grave(encoder: Encoder, profiles: ColumnProfiles) -> None:
    columns = posted(0)
    middle = np.median(columns["age"])
    narrow = {**columns, "age": [middle + 0.01 * (value - middle) for value in columns["age"]]}
    assert grave(profiles.strange_columns(encoder, narrow)) == ["age"]


def test_values_where_source_rows_hardly_ever_are_are_grave(encoder: Encoder, profiles: ColumnProfiles) -> None:
    columns = posted(0)
    low, high = (profiles.statistics[0][STATISTICS.index(name)] for name in ("low", "high"))
    n_odd = int(OUTSIDE_SHARE * 60)
    odd = {**columns, "age": [999.0] * n_odd + columns["age"][n_odd:]}
    assert profiles.strange_columns(encoder, odd) == []
    more = {**columns, "age": [999.0] * (n_odd + 1) + columns["age"][n_odd + 1 :]}
    (found,) = profiles.strange_columns(encoder, more)
    said = f"column 'age': 12% of its values lie outside {low:.4g} to {high:.4g}, where source rows hardly ever are"
    assert found == Strangeness("age", True, said)


def test_honest_supports_of_source_markets_are_not_accused(
    source: pandas.DataFrame, encoder: Encoder, profiles: ColumnProfiles
) -> None:
    rng = np.random.default_rng(1)
    accused = []
    for _ in range(200):
        market = source[source["market"] == f"M{rng.integers(N_MARKETS)}"]
        weight = np.where(market["defaulted"], rng.choice([1.0, 4.0]), 1.0)
        chosen = market.iloc[rng.choice(len(market), 60, replace=False, p=weight / weight.sum())]
        accused += profiles.strange_columns(encoder, {c.name: chosen[c.name].tolist() for c in COLUMNS})
    # where some 18 rows of 60 have a value, two beyond the 0.1 % quantiles are a tenth of them
    assert {strange.column for strange in accused} <= {"bonus"}
    assert len(accused) <= 4


def test_honest_new_markets_are_hardly_ever_accused(encoder: Encoder, profiles: ColumnProfiles) -> None:
    rng = np.random.default_rng(2)
    accused = 0
    for i in range(200):
        columns = draw(rng, [15, 60, 400][i % 3], rng.normal(0.0, 0.3))
        accused += bool(profiles.strange_columns(encoder, {name: v.tolist() for name, v in columns.items()}))
    assert accused <= 2


def test_a_column_that_is_wholly_missing_is_noted(encoder: Encoder, profiles: ColumnProfiles) -> None:
    columns = posted(0)
    for nothing in (None, float("nan")):
        (found,) = profiles.strange_columns(encoder, {**columns, "income": [nothing] * 60})
        assert found == Strangeness("income", False, "column 'income': no row has a value; scored as missing")


def test_few_values_say_nothing(encoder: Encoder, profiles: ColumnProfiles) -> None:
    few = {name: values[: MIN_ROWS - 1] for name, values in posted(0).items()}
    assert profiles.strange_columns(encoder, {**few, "income": [1e9] * (MIN_ROWS - 1)}) == []
    assert profiles.strange_columns(encoder, {**few, "income": [None] * (MIN_ROWS - 1)}) == []
    many = posted(0)
    mostly_missing = {**many, "income": [1e9] * (MIN_ROWS - 1) + [None] * (60 - MIN_ROWS + 1)}
    assert profiles.strange_columns(encoder, mostly_missing) == []
    assert profiles.strange_columns(encoder, {name: [] for name in many}) == []


def test_categories_that_theta_never_saw_are_counted(encoder: Encoder, profiles: ColumnProfiles) -> None:
    columns = posted(0)
    strange = {**columns, "job": ["astronaut", "pilot", None, *columns["job"][3:]], "home": ["tent"] * 60}
    assert profiles.strange_columns(encoder, strange) == [
        Strangeness("job", False, "column 'job': 2 of 60 rows have a category that theta never saw"),
        Strangeness("home", False, "column 'home': 60 of 60 rows have a category that theta never saw"),
    ]


def test_typical_values_are_medians_and_commonest_categories(source, profiles: ColumnProfiles) -> None:
    assert profiles.typical["age"] == source["age"].median()
    assert profiles.typical["job"] == "clerk"
    assert profiles.typical["bonus"] is None  # seven of ten lack one
    assert list(profiles.typical) == [c.name for c in COLUMNS]


def test_the_typical_account_is_encoded_as_any_other(encoder: Encoder, profiles: ColumnProfiles) -> None:
    expected = encoder.encode({name: [value] for name, value in profiles.typical.items()})
    np.testing.assert_array_equal(profiles.reference_row(Reading(encoder)), expected[0])
    absent = np.flatnonzero((encoder.kind_of_slot == "absent") & (encoder.column_of_slot == 2))
    assert profiles.reference_row(Reading(encoder))[absent].tolist() == [1.0]


def test_profiles_survive_storage_without_nan(encoder: Encoder, source: pandas.DataFrame) -> None:
    # a flag whose quartiles coincide in every market has no spread to compare with, an empty column nothing at all
    flag = source["age"].rank(method="first") % 10 == 0
    frame = source.assign(age=flag.astype(float), bonus=np.nan)
    found = fit_profiles(fit_encoder(COLUMNS, frame), frame, seed=0)
    assert np.isnan(found.statistics[0, 2:4]).all()
    assert np.isnan(found.statistics[2, 2:4]).all()
    assert np.isfinite(found.statistics[1]).all()
    arrays = found.arrays()
    assert all(np.isfinite(array).all() for array in arrays.values())
    again = ColumnProfiles.from_arrays(arrays, found.typical)
    np.testing.assert_array_equal(again.statistics, found.statistics)
    np.testing.assert_array_equal(again.limit, found.limit)
    assert again.typical == found.typical
    assert not np.shares_memory(again.statistics, arrays["statistics"])


def test_a_flag_without_spread_is_judged_by_its_median_alone(source: pandas.DataFrame) -> None:
    frame = source.assign(age=(source["age"] > 55).astype(float))
    encoder = fit_encoder(COLUMNS, frame)
    profiles = fit_profiles(encoder, frame, seed=0)
    columns = posted(0)
    rare = {**columns, "age": [float(value > 55) for value in columns["age"]]}
    assert profiles.strange_columns(encoder, rare) == []
    assert grave(profiles.strange_columns(encoder, {**columns, "age": [100.0] * 60})) == ["age"]


def test_numbers_may_be_nullable_integers_and_objects(source: pandas.DataFrame, encoder: Encoder, profiles) -> None:
    bonus = source["bonus"].astype(object).where(source["bonus"].notna(), None)
    frame = source.assign(age=source["age"].astype("Int64"), bonus=bonus)
    frame.loc[[3, 5], "age"] = pandas.NA
    same = source.assign(age=source["age"].where(~source.index.isin([3, 5])))
    found, expected = (fit_profiles(encoder, f, seed=0) for f in (frame, same))
    np.testing.assert_array_equal(found.statistics, expected.statistics)
    np.testing.assert_array_equal(found.limit, expected.limit)


def test_a_portfolio_without_numbers_has_empty_profiles(source: pandas.DataFrame) -> None:
    encoder = fit_encoder((COLUMNS[1],), source)
    found = fit_profiles(encoder, source, seed=0)
    assert found.statistics.shape == (0, len(STATISTICS))
    assert found.typical == {"job": "clerk"}
    again = ColumnProfiles.from_arrays(found.arrays(), found.typical)
    assert again.strange_columns(encoder, {"job": ["clerk"] * 20}) == []


def test_limits_are_seeded_and_never_below_the_least(encoder: Encoder, source, profiles: ColumnProfiles) -> None:
    again = fit_profiles(encoder, source, seed=0)
    np.testing.assert_array_equal(again.limit, profiles.limit)
    assert (profiles.limit >= LEAST_LIMIT * (1 - 1e-12)).all()


def test_a_column_that_varies_wildly_between_honest_supports_has_a_wider_limit(source: pandas.DataFrame) -> None:
    # a step of 100 at the median: the median of a support jumps from 0 to 100 by chance
    rng = np.random.default_rng(4)
    frame = source.assign(age=np.where(rng.random(len(source)) < 0.5, 0.0, 100.0) + rng.normal(0, 1, len(source)))
    encoder = fit_encoder(COLUMNS, frame)
    stepped = fit_profiles(encoder, frame, seed=0)
    honest = replace(stepped, limit=np.full(3, LEAST_LIMIT))
    chosen = frame[frame["market"] == "M0"].head(60)
    columns = {c.name: chosen[c.name].tolist() for c in COLUMNS}
    assert stepped.strange_columns(encoder, columns) == []
    assert stepped.limit[0] >= honest.limit[0]


def test_distances_by_hand() -> None:
    # 100 values 0..99 (median 49.5, quartiles 24.75 and 74.25) against median 40 +- 3 and log IQR ln 30 +- 0.2
    statistics = np.array([40.0, 3.0, np.log(30.0), 0.2, 20.0, -1.0, 200.0])
    off, wide = _distances(statistics, np.arange(100.0))
    assert off == pytest.approx(9.5 / np.sqrt(9.0 + np.pi / 2 * 400 / 100), rel=1e-3)
    assert wide == pytest.approx(np.log(49.5 / 30) / np.sqrt(0.04 + 0.0136), rel=1e-3)
    assert _distances(statistics, np.full(100, 49.5)) == (off, 0.0)  # one value only: no spread to compare


def test_a_column_is_held_from_its_limit_on(source: pandas.DataFrame, encoder: Encoder, profiles) -> None:
    columns = posted(1)
    distance = max(_distances(profiles.statistics[0], np.array(columns["age"])))
    assert distance > 0
    for factor, accused in ((1.01, []), (0.99, ["age"])):
        limit = np.r_[factor * distance, profiles.limit[1:]]
        assert grave(replace(profiles, limit=limit).strange_columns(encoder, columns)) == accused


def test_a_profile_stored_before_defaulters_had_limits_judges_them_as_all(profiles: ColumnProfiles) -> None:
    arrays = profiles.arrays()
    del arrays["defaulters_limit"]
    np.testing.assert_array_equal(ColumnProfiles.from_arrays(arrays, {}).defaulters_limit, profiles.limit)
