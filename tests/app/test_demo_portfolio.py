"""How the demo parts a table, chooses its market, and measures models."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas
import pytest

from app.demo.comparison import auc_with_error, measure
from app.demo.portfolio import N_FIRST, TableChoice, prepare_portfolio, slug_of
from app.demo.rivals import own_model, pooled_trees
from app.demo.synthetic import synthetic_portfolio
from app.domain.schema import FeatureSchema
from app.user_fault import UnusableTable

TODAY = date(2026, 1, 31)
CHOICE = TableChoice("state", "bad", date_column="opened")
SIZES = {"AA": 3000, "BB": 600, "CC": 500, "DD": 400, "EE": 400, "FF": 400, "GG": 400, "HH": 150}


def table(sizes: dict[str, int] = SIZES, rate: float = 0.2, dates: int = 700) -> pandas.DataFrame:
    """A bank's file: markets of these sizes, so many different days of opening."""
    draw = np.random.default_rng(0)
    states = np.repeat(list(sizes), list(sizes.values()))
    n = len(states)
    risk = draw.normal(size=n)
    days = pandas.Timestamp("2023-01-01") + pandas.to_timedelta(draw.integers(0, dates, n), unit="D")
    return pandas.DataFrame(
        {
            "state": states,
            "bad": (draw.random(n) < 1 / (1 + np.exp(-(risk + np.log(rate / (1 - rate)))))).astype(int),
            "opened": days.strftime("%Y-%m-%d"),
            "risk": risk,
            "income": np.where(draw.random(n) < 0.1, np.nan, draw.lognormal(10, 1, n).round()),
            "home": draw.choice(["own", "rent", None], n),
            "kind": draw.choice(["card", "card", "loan"], n),
        }
    )


def refused(frame: pandas.DataFrame, **changes: Any) -> str:
    choice = TableChoice(**{**vars(CHOICE), **changes})
    with pytest.raises(UnusableTable) as caught:
        prepare_portfolio(frame, choice, name="bank", today=TODAY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_largest_market_within_a_tenth_of_the_rows_is_held_out_and_parted_by_date() -> None:
    frame = table()
    made = prepare_portfolio(frame, CHOICE, name="bank", today=TODAY)
    assert (made.market, made.slug, made.order) == ("CC", "bank", "in order of opened")
    assert len(made.mature) == len(frame) - 500
    assert "CC" not in set(made.mature["market"])
    assert (len(made.first), len(made.later)) == (N_FIRST, 450)
    opened = frame[frame["state"] == "CC"]["opened"].sort_values()
    assert [day.isoformat() for day in made.first["opened_on"]] == opened[:N_FIRST].tolist()
    assert all(made.first["observed_on"] - made.first["opened_on"] == timedelta(days=365))
    assert [*made.first["account"], *made.later["account"]] == [f"A-{1001 + i}" for i in range(500)]
    assert made.schema.names == ["risk", "income", "home", "kind"]


def test_the_same_table_gives_the_same_portfolio_and_the_named_market() -> None:
    one = prepare_portfolio(table(dates=3), CHOICE, name="bank", today=TODAY)
    two = prepare_portfolio(table(dates=3), CHOICE, name="bank", today=TODAY)
    assert one.order == "drawn at random (seed 0)"
    pandas.testing.assert_frame_equal(one.first, two.first)
    choice = TableChoice("state", "bad", holdout="AA")
    assert prepare_portfolio(table(), choice, name="bank", today=TODAY).market == "AA"


def test_undated_accounts_stand_in_as_resolved() -> None:
    made = prepare_portfolio(table(), TableChoice("state", "bad", exclude=["opened"]), name="bank", today=TODAY)
    assert set(made.first["opened_on"]) == {TODAY - timedelta(days=730)}
    assert set(made.first["observed_on"]) == {TODAY - timedelta(days=365)}


def test_young_accounts_shorten_the_window() -> None:
    made = prepare_portfolio(table(), CHOICE, name="bank", today=date(2023, 6, 1))
    assert made.window_days == (date(2023, 6, 1) - max(made.first["opened_on"])).days < 365
    assert max(made.first["observed_on"]) == date(2023, 6, 1)


def test_one_product_is_taken_the_largest_or_the_named() -> None:
    choice = TableChoice("state", "bad", product_column="kind")
    frame = table()
    largest = prepare_portfolio(frame, choice, name="bank", today=TODAY)
    assert (largest.slug, "kind" in largest.schema.names) == ("bank-card", False)
    assert len(largest.mature) + len(largest.first) + len(largest.later) == (frame["kind"] == "card").sum()
    assert "product card" in largest.notes[0]
    assert "No row has product gold" in refused(frame, product_column="kind", product="gold")


def test_rows_without_label_or_market_are_left_out_and_told_of() -> None:
    frame = table().astype({"bad": object})
    frame.loc[0, "bad"] = None
    frame.loc[1, "state"] = None
    made = prepare_portfolio(frame, CHOICE, name="bank", today=TODAY)
    assert "2 rows without a label or a market are left out" in made.notes
    assert len(made.mature) + 500 == len(frame) - 2


def test_what_a_table_lacks_is_said() -> None:
    frame = table()
    assert "no column land" in refused(frame, market_column="land")
    assert "no column lender_grade" in refused(frame, exclude=["lender_grade"])
    assert "not binary" in refused(frame, target_column="income")
    assert "one class only" in refused(frame.assign(bad=0))
    assert "There is no market ZZ" in refused(frame, holdout="ZZ")
    assert "Market HH has not enough: no market can be held out" in refused(frame, holdout="HH")
    assert "No market can be held out" in refused(frame[frame["state"] == "HH"])
    assert "beside BB the file has 2" in refused(frame[frame["state"].isin(["BB", "CC", "DD"])], holdout="BB")
    assert "values that read as no date" in refused(frame, date_column="home")


def test_columns_with_the_service_s_own_names_are_kept_under_others() -> None:
    frame = table().rename(columns={"home": "market", "kind": "defaulted"})
    made = prepare_portfolio(frame, CHOICE, name="bank", today=TODAY)
    assert made.schema.names == ["risk", "income", "x_market", "x_defaulted"]
    assert made.mature["defaulted"].dtype == bool


def test_the_made_up_portfolio_knows_the_truth_of_its_later_accounts() -> None:
    made = synthetic_portfolio(TODAY)
    assert made.true_pds is not None
    assert (made.slug, made.market) == ("demo-card", "market-30")
    assert len(made.true_pds) == len(made.later) == 950
    error = np.sqrt((made.true_pds * (1 - made.true_pds)).sum())
    assert abs(made.true_pds.sum() - made.later["defaulted"].sum()) < 4 * error
    assert auc_with_error(made.later["defaulted"].to_numpy(), made.true_pds)[0] > 0.7
    assert {feature.name: feature.unit for feature in made.schema.features}["income"] == "EUR a year"


def test_measures_are_those_worked_by_hand() -> None:
    defaulted, pds = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
    auc, error = auc_with_error(defaulted, pds)
    assert (auc, error) == pytest.approx((0.75, np.sqrt(0.125)))
    assert auc_with_error(defaulted, np.full(4, 0.2))[0] == 0.5
    found = measure(defaulted, pds, np.full(4, 0.5))
    losses = -np.log([0.9, 0.6, 0.35, 0.8])
    assert found.log_loss == pytest.approx(losses.mean())
    assert found.difference == pytest.approx((losses - np.log(2)).mean())
    assert found.difference_error == pytest.approx(losses.std(ddof=1) / 2)
    assert found.brier == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert found.mean_pd == pytest.approx(0.4125)
    assert np.isfinite(measure(defaulted, np.array([0.0, 1.0, 0.0, 1.0]), pds).log_loss)


def test_rivals_learn_from_what_is_theirs() -> None:
    made = prepare_portfolio(table(), CHOICE, name="bank", today=TODAY)
    defaulted = made.later["defaulted"].to_numpy(dtype=bool)
    assert auc_with_error(defaulted, pooled_trees(made.schema, made.mature, made.later))[0] > 0.65
    own = own_model(made.schema, made.first, made.later)
    assert own is not None
    assert auc_with_error(defaulted, own)[0] > 0.55
    assert own_model(made.schema, made.first.assign(defaulted=False), made.later) is None


def test_rivals_take_columns_that_are_empty_unseen_or_very_long() -> None:
    schema = FeatureSchema.model_validate(
        {"features": [{"name": "x", "kind": "numeric"}, {"name": "code", "kind": "categorical"}]}
    )
    draw = np.random.default_rng(0)
    mature = pandas.DataFrame(
        {
            "x": draw.normal(size=1200),
            "code": [f"c{i % 400}" for i in range(1200)],
            "defaulted": draw.random(1200) < 0.3,
        }
    )
    first = pandas.DataFrame(
        {"x": [None] * 4, "code": ["c1", None, "c2", "c1"], "defaulted": [True, False, True, False]}
    )
    rows = pandas.DataFrame({"x": [None, 1.0], "code": ["never seen", None]}).astype({"x": float})
    assert np.isfinite(pooled_trees(schema, mature, rows)).all()
    own = own_model(schema, first.astype({"x": float}), rows)
    assert own is not None
    assert np.isfinite(own).all()


def test_names_become_slugs() -> None:
    assert slug_of("Île-de-France / 75") == "le-de-France-75"
    assert slug_of("???") == "demo"
