"""The level: closed forms, the prior's pull, and recovery of known spreads."""

import math

import numpy as np
import pytest

from meta.level import LevelPrior, fit_level, learn_level_prior, level_deviation, logit, prior_correction


def test_prior_correction_by_hand() -> None:
    # half the support defaulted where 1 in 10 does: ln(1) - ln(1/9) = ln 9
    assert prior_correction(0.5, 0.1) == pytest.approx(math.log(9))
    assert prior_correction(1.0, 0.1) == prior_correction(0.0, 0.1) == 0.0


def test_many_rows_overrule_the_prior() -> None:
    y = np.r_[np.ones(2000), np.zeros(8000)]
    assert fit_level(np.zeros(10_000), y, mean=0.0, sd=0.5) == pytest.approx(logit(0.2), abs=0.01)


def test_no_rows_leave_the_prior() -> None:
    assert fit_level(np.zeros(0), np.zeros(0), mean=0.3, sd=0.2) == 0.3
    assert level_deviation(np.zeros(0), np.zeros(0), 0.3, 0.2) == pytest.approx(0.2)


def test_the_fitted_level_satisfies_its_own_equation() -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.normal(-2, 1, 50), (rng.random(50) < 0.3).astype(float)
    level = fit_level(logits, y, mean=-0.1, sd=0.4)
    score = (y - 1 / (1 + np.exp(-(logits + level)))).sum() - (level + 0.1) / 0.4**2
    assert score == pytest.approx(0.0, abs=1e-8)


def test_goods_alone_move_the_level_down_and_no_further_than_the_prior_lets() -> None:
    level = fit_level(np.full(50, -2.0), np.zeros(50), mean=0.0, sd=0.3)
    assert -0.9 < level < -0.1


def test_levels_spread_is_recovered() -> None:
    rng = np.random.default_rng(1)
    markets = []
    for shift in rng.normal(0.2, 0.4, 60):
        logits = rng.normal(-2, 1, 1500)
        markets.append((logits, (rng.random(1500) < 1 / (1 + np.exp(-(logits + shift)))).astype(float)))
    prior = learn_level_prior(markets)
    assert prior.mean == pytest.approx(0.2, abs=0.15)
    assert prior.sd == pytest.approx(0.4, rel=0.25)
    assert prior.declared_sd < prior.sd  # the market's own default rate tells


def test_a_declared_rate_centres_the_prior_and_its_range_widens_it() -> None:
    prior = LevelPrior(mean=0.0, sd=0.3, base_rate=0.1, declared_sd=0.1)
    given = prior.given_base_rate(0.2, 0.15, 0.26)
    assert given.mean == pytest.approx(logit(0.2) - logit(0.1))
    assert given.sd == pytest.approx(math.hypot(0.1, (logit(0.26) - logit(0.15)) / 3.29))
