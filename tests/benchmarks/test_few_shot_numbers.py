"""Statistics, metrics and claims of the few-shot harness on hand-worked numbers."""

import math

import numpy as np
import pandas
import pytest
from scipy.special import expit, logit

from benchmarks.few_shot.claims import BEST, Claim, harms, overall_claims, world_claims
from benchmarks.few_shot.metrics import calibration_slope, measure_all
from benchmarks.few_shot.report import compared
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.statistics import (
    coverage,
    difference,
    harmed_share,
    market_means,
    rehearsed_gaps,
    worst_decile,
)
from benchmarks.few_shot.tables import harm_table, summary_table
from benchmarks.few_shot.thetaprime import GUARDED, THETA, THETA_PRIME
from meta import metrics


def _cells(losses: dict[tuple[str, str, int], float], n_draws: dict[str, int]) -> pandas.DataFrame:
    fixed = {"world": "w", "split": 0, "design": "random", "rate_factor": 0.0, "n_defaults": 5}
    return pandas.DataFrame(
        {**fixed, "market": market, "size": n, "draw": draw, "method": method, "log_loss": loss}
        for (method, market, n), loss in losses.items()
        for draw in range(n_draws[method])
    )


def test_markets_are_weighed_alike_and_compared_in_pairs() -> None:
    losses = {("a", "x", 10): 0.5, ("a", "x", 20): 0.3, ("a", "y", 10): 0.9, ("a", "y", 20): 0.9}
    losses |= {("b", "x", 10): 0.4, ("b", "x", 20): 0.3, ("b", "y", 10): 0.9, ("b", "y", 20): 0.8}
    cells = _cells(losses, {"a": 3, "b": 1})
    assert market_means(cells, by_setting=False).set_index(["method", "market"]).log_loss["a", "x"] == pytest.approx(
        0.4
    )
    gap = difference(cells, "a", "b", "log_loss")
    assert (gap.mean, gap.n_markets) == (pytest.approx(0.05), 2)
    assert gap.low == pytest.approx(0.05)
    assert gap.high == pytest.approx(0.05)
    assert harmed_share(cells, "a", "b") == 1.0
    assert harmed_share(cells, "b", "a") == 0.0
    assert difference(cells, "a", "a", "log_loss").mean == 0.0


def test_draws_that_only_one_method_had_are_left_out() -> None:
    cells = _cells({("a", "x", 10): 0.5, ("b", "x", 10): 0.4}, {"a": 2, "b": 1})
    cells.loc[(cells["method"] == "a") & (cells["draw"] == 1), "log_loss"] = 100.0
    assert difference(cells, "a", "b", "log_loss").mean == pytest.approx(0.1)


def test_the_worst_decile_is_of_the_markets_worst_off() -> None:
    gaps = np.array([0.01, -0.02, 0.03, *[0.0] * 17])
    assert worst_decile(gaps) == pytest.approx(0.02)  # two of twenty
    assert worst_decile(gaps[:3]) == pytest.approx(0.03)
    assert math.isnan(worst_decile(np.zeros(0)))


def test_coverage_has_its_error_over_markets() -> None:
    covered = [1.0, 1.0, 1.0, 0.0, math.nan]
    cells = pandas.DataFrame({"method": "a", "market": [*"xxyyz"], "covered": covered})
    share, error = coverage(cells, "a")
    assert share == pytest.approx(0.75)  # 1.0 in x, 0.5 in y
    assert error == pytest.approx(0.25)
    assert math.isnan(coverage(cells, "b")[0])


def test_rivals_are_ranked_on_the_cells_that_both_rehearsed() -> None:
    gaps = rehearsed_gaps({"a": [0.5, 0.1], "b": [0.4, math.nan]}, anchor="a")
    assert gaps == {"a": 0.0, "b": pytest.approx(-0.1)}


def test_all_metrics_at_once_are_those_of_meta() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.3).astype(float)
    pd = expit(rng.normal(-1, 1, (4, 200)) + y)
    pd[1] = np.round(pd[1], 1)  # ties, and PDs of 0 or 1
    pd[2] = 0.3
    found = measure_all(y, pd)
    for name in ("log_loss", "auc", "gini", "brier", "ece", "ks"):
        expected = [getattr(metrics, name)(y, one) for one in np.clip(pd, 1e-15, 1 - 1e-15)]
        np.testing.assert_allclose(found[name], expected, atol=1e-9, err_msg=name)
    level = metrics.best_level(y, pd[0])
    at_level = metrics.log_loss(y, expit(logit(pd[0]) + level))
    assert found["log_loss_at_own_level"][0] == pytest.approx(at_level)


def test_the_calibration_slope_of_four_groups_of_accounts() -> None:
    """Default rates 1/4 and 3/4 in two groups: their logits are ln 3 apart from 0 on either side."""
    y = np.array([1.0, 0, 0, 0, 1, 1, 1, 0])
    side = np.repeat([-1.0, 1.0], 4)
    logits = np.log(3) * np.stack([side, 2 * side, 0.5 * side + 1.0, 0 * side])
    slopes = calibration_slope(y, logits)
    np.testing.assert_allclose(slopes[:3], [1.0, 0.5, 2.0])
    assert math.isnan(slopes[3])
    assert math.isnan(calibration_slope(np.array([0.0, 0, 1, 1]), np.array([[-2.0, -1, 1, 2]]))[0])


def _portfolio(gaps: dict[str, float], n_markets: int = 10) -> pandas.DataFrame:
    """Cells at n = 20 (3 defaults) and 200 (40): log loss 0.4 + the method's gap, AUC 0.7 - its gap."""
    fixed = {"world": "w", "split": 0, "draw": 0, "design": "random", "rate_factor": 0.0}
    fixed |= dict.fromkeys(("gini", "brier", "ece", "ks", "slope", "log_loss_at_own_level"), 0.5)
    fixed |= {"covered": math.nan, "range_width": math.nan, "n_support": 20}
    return pandas.DataFrame(
        {**fixed, "market": f"m{i}", "method": method, "size": n, "n_defaults": d}
        | {"log_loss": 0.4 + gap, "auc": 0.7 - gap}
        for method, gap in gaps.items()
        for i in range(n_markets)
        for n, d in ((20, 3), (200, 40))
    )


def test_claims_are_reached_at_their_margins_and_not_beyond() -> None:
    gaps = {THETA_PRIME: 0.0005, BEST: 0.0, MAIN_RIVAL: 0.001, THETA: 0.003, GUARDED: 0.001}
    assert [claim.reached for claim in world_claims(_portfolio(gaps))] == [True, True, True, True]
    worse = gaps | {THETA_PRIME: 0.0025, GUARDED: 0.0035}
    claims = world_claims(_portfolio(worse))
    assert [claim.reached for claim in claims] == [False, False, False, False]
    assert str(claims[0]).startswith("NOT REACHED: ")
    assert "random 20, random 200" in str(claims[3])
    assert [claim.reached for claim in world_claims(_portfolio({THETA: 0.0}))] == [None] * 4


def test_the_share_of_markets_that_may_be_harmed_depends_on_the_defaults() -> None:
    cells = _portfolio({THETA: 0.0, GUARDED: -0.01, THETA_PRIME: 0.0}, n_markets=15)
    cells.loc[(cells["market"] == "m3") & (cells["method"] == GUARDED), "log_loss"] = 0.41
    few, many = harms(cells)
    assert (few.harmed, few.limit, few.reached) == (pytest.approx(1 / 15), 0.10, True)
    assert (many.harmed, many.limit, many.reached) == (pytest.approx(1 / 15), 0.05, False)
    assert few.gain.mean == pytest.approx((14 * 0.01 - 0.01) / 15)
    assert few.worst_decile == pytest.approx((0.01 - 0.01) / 2)
    table = harm_table(cells)
    assert "| n = 20 | 15 | 3.0 |" in table
    assert "| **no** |" in table.splitlines()[3]


def test_settings_of_few_markets_are_left_out_of_the_report() -> None:
    cells = _portfolio({THETA: 0.0})
    fewer = cells[(cells["size"] == 20) | cells["market"].isin(["m1", "m2"])]
    assert set(compared(fewer, min_markets=8)["size"]) == {20}
    assert set(compared(fewer[fewer["market"].isin(["m1", "m2"])], min_markets=8)["size"]) == {20, 200}


def test_two_sets_on_which_trees_are_beaten_are_enough() -> None:
    def claims(better: bool) -> list[Claim]:
        others = [Claim(name, "", True) for name in ("not inferior", "ranks as well", "no harm")]
        return [*others, Claim("better than trees", "", better)]

    found = {c.name: c for c in overall_claims({f"w{i}": claims(i < 2) for i in range(4)})}
    assert found["better than trees"].reached
    assert "on 2 of 4 sets (2 wanted)" in found["better than trees"].words
    found = {c.name: c for c in overall_claims({f"w{i}": claims(i < 1) for i in range(4)})}
    assert not found["better than trees"].reached
    assert found["not inferior"].reached


def test_a_method_that_was_not_run_says_why_in_the_table() -> None:
    table = summary_table(_portfolio({THETA: 0.0, MAIN_RIVAL: 0.001}), {"TabPFN": "no weights"})
    assert table.splitlines()[-1].startswith("| TabPFN | not run: no weights |")
    assert "| theta | 0.4000 | 0.7000 |" in table
