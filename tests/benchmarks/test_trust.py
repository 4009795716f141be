"""The world whose truth is known, and the tables that are made of it."""

from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy.special import expit

from benchmarks.trust.corruption import FACTORS, FLIPPED, SHUFFLED, Corruption, strongest_column, wrong_unit
from benchmarks.trust.report import write_report
from benchmarks.trust.world import MEAN, NAMES, best_possible, draw_market, draw_source, level_at_rate


def test_the_intercept_at_a_rate_gives_that_rate() -> None:
    score = np.random.default_rng(0).normal(size=500)
    assert expit(score + level_at_rate(score, 0.07)).mean() == pytest.approx(0.07, abs=1e-9)


def test_outcomes_follow_the_true_pds() -> None:
    market = draw_market("M", 0.25, 20_000, np.random.default_rng(1))
    np.testing.assert_allclose(market.pd, expit(market.intercept + market.z @ market.coefficients))
    assert market.y.mean() == pytest.approx(market.pd.mean(), abs=0.01)


def test_source_markets_are_the_same_for_one_seed_and_differ_by_the_spread() -> None:
    first, again = draw_source(0.4, seed=3), draw_source(0.4, seed=3)
    pandas.testing.assert_frame_equal(first, again)
    assert first["market"].nunique() == 30
    assert set(NAMES) < set(first)
    rng = np.random.default_rng(0)
    drawn = np.stack([draw_market("M", 0.4, 10, rng).coefficients for _ in range(400)])
    np.testing.assert_allclose(drawn.std(axis=0), 0.4, rtol=0.15)


def test_the_yardstick_is_the_posterior_mode() -> None:
    market = draw_market("M", 0.25, 4000, np.random.default_rng(2))
    rate = float(market.pd.mean())
    nobody = np.array([], dtype=np.int64)
    best, start = best_possible(market, nobody, 0.25, rate, correction=0.0)
    np.testing.assert_allclose(best, start)  # no rows: the prior's mean
    np.testing.assert_allclose(start, market.z @ MEAN + level_at_rate(market.z @ MEAN, rate))
    everybody = np.arange(4000)
    best, _ = best_possible(market, everybody, 0.25, rate, correction=0.0)
    truth = market.z @ market.coefficients
    slope = np.polyfit(truth, best, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)  # many rows: near the truth
    assert np.corrcoef(truth, best)[0, 1] > 0.98


def test_the_report_says_what_the_tables_say(tmp_path: Path) -> None:
    rows = [
        {
            "market": m,
            "design": "case_control",
            "size": 12,
            "draw": 0,
            "theta": 0.30,
            "level": 0.28,
            "theta_prime": 0.26,
        }
        | {"best": 0.25, "best_start": 0.29, "truth": 0.2, "covered": 0.9, "width": 2.0}
        for m in ("A", "B")
    ]
    rows.append({**rows[0], "design": "random", "theta_prime": 0.31, "best": np.nan, "best_start": np.nan})
    verdicts = pandas.DataFrame(
        {
            "support": ["honest", "honest", "labels shuffled", "labels shuffled"],
            "n_defaults": 12,
            "verdict": ["activate", "hold", "hold", "refuse"],
            "checks": ["", "gain", "ranking", "ranking move"],
        }
    )
    accounts = pandas.DataFrame(
        {
            "n_reasons": [4, 0],
            "gap": [1e-15, 0.0],
            "same_again": True,
            "top_lowers": [True, False],
            "beaten": [0.97, 0.0],
        }
    )
    portfolio = verdicts.assign(world="sba_states", strongest="term", market="OH")
    claims = write_report({0.25: (pandas.DataFrame(rows), verdicts, accounts)}, [portfolio], "", tmp_path)
    assert "NOT REACHED: at least 80% of the best possible gain at 12 defaults and more, unguarded: 50% at 12" in claims
    assert "spread 0.25: REACHED: account-level coverage of nominal 90 % intervals between 85% and 95%" in claims
    assert "NOT REACHED: guard: at most 5% of 'honest' held or refused: 50.0% [1.3%, 98.7%]" in claims
    assert ": REACHED: guard: at least 75% of 'labels shuffled' held or refused: 100.0% [15.8%, 100.0%]" in claims
    assert "lowers the PD: 100.0% of accounts" in claims  # an account without reasons is not asked
    assert ": REACHED: reasons: replacing them lowers the PD more than replacing as many features" in claims
    assert "at least 95%: 97.00% (more than any such set does: 0.0% of accounts)" in claims
    text = (tmp_path / "trust.md").read_text()
    assert "| 12 accounts at random | 0.3000 | 0.2800 | 0.3100 | -0.0300 |" in text
    assert "ranking 100%, move 50%" in text
    assert "### SBA, US states\n\n1 markets; strongest column: `term`." in text
    assert (tmp_path / "trust.png").stat().st_size > 0


ACCOUNTS = pandas.DataFrame({"rate": [0.0, 12.0, np.nan, 6.0], "flag": [0.0, 0.0, 0.0, 1.0], "age": [30.0, 40, 50, 60]})


def test_a_column_is_turned_round_its_center_and_labels_only_change_places() -> None:
    y = np.array([1.0, 0.0, 0.0, 1.0])
    made = {
        n: (f, labels) for n, f, labels in Corruption("age", 45.0, ["rate"]).of(ACCOUNTS, y, np.random.default_rng(0))
    }
    assert made[FLIPPED][0]["age"].tolist() == [60.0, 50.0, 40.0, 30.0]
    assert sorted(made[SHUFFLED][1]) == sorted(y)
    pandas.testing.assert_frame_equal(made[SHUFFLED][0], ACCOUNTS)
    assert set(made) == {FLIPPED, SHUFFLED, *(wrong_unit(factor) for factor in FACTORS)}


def test_a_unit_is_wrong_only_where_half_of_the_values_change() -> None:
    drawn = Corruption("age", 45.0, ["rate", "flag"])
    for seed in range(5):
        wrong = drawn.in_another_unit(ACCOUNTS, 12.0, np.random.default_rng(seed))
        assert wrong["rate"].tolist()[:2] == [0.0, 144.0]
        pandas.testing.assert_series_equal(wrong["flag"], ACCOUNTS["flag"])
    unchanged = Corruption("age", 45.0, ["flag"]).in_another_unit(ACCOUNTS, 12.0, np.random.default_rng(0))
    pandas.testing.assert_frame_equal(unchanged, ACCOUNTS)


def test_the_strongest_column_ranks_best_either_way() -> None:
    y = np.array([1.0, 1.0, 0.0, 0.0])
    assert strongest_column(ACCOUNTS, y, ["rate", "flag", "age"]) == "age"  # lower age, higher risk
