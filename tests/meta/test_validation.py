"""What held-out markets teach: losses gathered by defaults, expected gains by hand, lessons from simulated folds."""

from dataclasses import replace

import numpy as np
import pytest

from meta.effects import EffectsPrior
from meta.episodes import Market
from meta.strength import SHARES, Strength
from meta.thetas import Theta
from meta.validation import (
    SUPPORTS,
    FoldMarkets,
    Trial,
    _losses_by_defaults,
    expected_gains,
    learn_from_folds,
)
from meta.validation_report import effects_report, market_row, over_markets
from tests.meta.toy import PRIOR, honest_support, sigmoid, slot_of, toy_logits, toy_theta


def trial(market: str, n_defaults: int, losses: list[float], support=SUPPORTS[3], at_rest: float = 1.0) -> Trial:
    return Trial(market, support, 100, n_defaults, at_rest, np.array(losses))


def test_losses_are_gathered_at_the_nearest_mean_number_of_defaults_a_market_once() -> None:
    one, two, three = ([a, b, b, b, b] for a, b in ((1.0, 0.8), (3.0, 0.6), (5.0, 0.5)))
    trials = [
        trial("A", 3, one, SUPPORTS[1]),  # too few of its own: nothing moves, though its support has 5 on average
        trial("A", 7, two, SUPPORTS[1]),
        trial("A", 6, three, SUPPORTS[2]),  # another support, just as near to 5
        trial("B", 8, three),  # 8 is nearer to 12: 12 / 8 < 8 / 5
        trial("B", 4, three, SUPPORTS[1]),  # 4 on average: no support to learn a strength from
        trial("A", 1000, one),
    ]
    found = _losses_by_defaults(trials)
    assert set(found) == {5, 12, 50}
    (at_five,) = found[5]
    np.testing.assert_allclose(at_five, [3.0, *[(1.0 + 0.6 + 0.5) / 3] * 4])
    np.testing.assert_allclose(found[12][0], three)


def test_expected_gains_by_hand() -> None:
    strength = Strength((5.0,), (0.5,))
    losses = [1.0, 0.9, 0.8, 0.7, 0.6]
    harmful = [1.0, 1.1, 1.2, 1.3, 1.4]
    trials = [
        trial("A", 10, losses),  # share 1/2: 1.0 - 0.8 = 0.2
        trial("A", 4, losses),  # nothing moves: 0
        trial("B", 10, harmful),  # -0.2
        trial("B", 10, losses, at_rest=0.9),  # 0.1, so B -0.05 on average
    ]
    (row,) = expected_gains(trials, strength)
    assert (row.design, row.size, row.n_markets) == ("random", 100, 2)
    assert row.n_defaults == pytest.approx((10 + 4 + 10 + 10) / 4)
    assert row.mean_gain == pytest.approx((0.1 - 0.05) / 2)
    assert row.standard_error == pytest.approx(0.15 / 2)  # 0.15 / sqrt(2) apart, over sqrt(2) markets
    assert row.harmed_share == 0.5
    assert expected_gains(trials[:2], strength) == ()  # one market has no error


def test_harm_counts_from_two_thousandths_on() -> None:
    small, large = ([1.0 + harm] * len(SHARES) for harm in (0.0015, 0.0025))
    trials = [trial("A", 10, small), trial("B", 10, large), trial("C", 10, large), trial("D", 10, small)]
    (row,) = expected_gains(trials, Strength((), ()))
    assert row.harmed_share == 0.5


def test_spreads_are_reported_by_column_the_largest_of_its_slots() -> None:
    theta = toy_theta()
    effects: EffectsPrior = theta.effects
    sds = np.arange(1.0, len(effects.slots) + 1)
    told = effects_report(replace(effects, slope_sd=sds, scale_sd=0.3), theta.encoder)
    # slots with a slope: debt, income, then job's two categories
    assert told["slope_sd"] == {"debt": 1.0, "income": 2.0, "job": 4.0}
    assert (told["scale_sd"], told["theta_sd"]) == (0.3, 0.05)


def test_a_market_row_tells_auc_only_where_there_are_defaults_enough() -> None:
    logits = np.r_[np.ones(50), np.zeros(50)]
    enough = Market("A", np.zeros((100, 1), np.float32), np.r_[np.ones(50), np.zeros(50)], logits)
    row = market_row(enough)
    assert (row["auc"], row["n_rows"], row["default_rate"]) == (1.0, 100, 0.5)
    assert row["log_loss"] == pytest.approx((np.log1p(np.exp(-1)) + np.log(2)) / 2)
    few = replace(enough, y=np.r_[np.ones(49), np.zeros(51)])
    assert market_row(few)["auc"] is None
    assert market_row(replace(enough, y=np.ones(100)))["auc"] is None


def test_markets_left_out_together_by_hand() -> None:
    losses, aucs = (0.1, 0.2, 0.6), (0.99, None, 0.89)
    found = over_markets([{"log_loss": a, "auc": b} for a, b in zip(losses, aucs, strict=True)])
    assert found["interval"] == 0.95
    # mean 0.3, deviations -0.2, -0.1, 0.3: standard error sqrt(0.07 / 3); t with 2 degrees of freedom: 4.302653
    assert found["log_loss"] == pytest.approx({"mean": 0.3, "low": 0.0, "high": 0.957241, "n_markets": 3}, abs=1e-6)
    # mean 0.94, standard error 0.05; t with 1 degree of freedom: 12.706205; an AUC is at most 1
    assert found["auc"] == pytest.approx({"mean": 0.94, "low": 0.94 - 0.63531, "high": 1.0, "n_markets": 2}, abs=1e-5)
    assert over_markets([{"log_loss": 0.1, "auc": None}]) == {"interval": 0.95, "log_loss": None, "auc": None}


def simulated_folds(spread: float, seed: int) -> tuple[Theta, list[FoldMarkets]]:
    """Two folds of eight markets whose slopes on debt differ by ``spread``."""
    theta, rng = toy_theta(), np.random.default_rng(seed)
    markets = []
    for i in range(16):
        x = honest_support(theta, 400, rng).rows.x
        logits = toy_logits(theta, x)
        own = rng.normal(0.0, spread) * x[:, slot_of(theta.encoder, "debt")] + rng.normal(0.0, 0.2)
        markets.append(Market(f"M{i}", x, (rng.random(400) < sigmoid(logits + own)).astype(float), logits))
    return theta, [FoldMarkets(theta, markets[:8]), FoldMarkets(theta, markets[8:])]


def test_markets_that_differ_are_worth_adapting_to() -> None:
    theta, folds = simulated_folds(0.9, seed=0)
    lessons = learn_from_folds(folds, jackknife_sd=0.07, stretch=1.1, seed=0)
    told = lessons.report["effects"]["slope_sd"]
    # numbers' spreads are drawn towards a common one: income's own is 0
    assert told["debt"] > 1.5 * max(told["income"], told["job"])
    assert 0.4 < told["debt"] < 1.2
    assert lessons.effects.theta_sd > 0.07  # what thetas are apart by, and what one function cannot be right about
    assert lessons.effects.n_markets == 16
    assert lessons.strength.share[-1] > 0
    assert 0.05 < lessons.level_prior.sd < 0.5
    assert sorted(row["market"] for row in lessons.report["leave_markets_out"]) == sorted(f"M{i}" for i in range(16))
    large = [row for row in lessons.report["expected_gain"] if (row["design"], row["size"]) == ("random", 200)]
    assert [row.report() for row in lessons.expected] == lessons.report["expected_gain"]
    assert lessons.report["over_markets_left_out"] == over_markets(lessons.report["leave_markets_out"])
    assert lessons.report["over_markets_left_out"]["log_loss"]["n_markets"] == 16
    assert large[0]["mean_gain"] > 2 * large[0]["standard_error"]
    assert theta.level_prior is PRIOR  # the folds' own thetas are left alone


def test_lessons_are_seeded(monkeypatch) -> None:
    monkeypatch.setattr("meta.validation.N_DRAWS", 2)
    _, folds = simulated_folds(0.3, seed=1)
    first, second = (learn_from_folds(folds, 0.0, 1.0, seed=4) for _ in range(2))
    assert first.report == second.report
    np.testing.assert_array_equal(first.effects.sds, second.effects.sds)
