"""The level: closed forms, the prior's pull, and recovery of known spreads."""

import math

import numpy as np
import pytest

from meta.level import LevelPrior, fit_level, learn_level_prior, level_at_rate, logit, prior_correction


def test_prior_correction_by_hand() -> None:
    # half the support defaulted where 1 in 10 does: ln(1) - ln(1/9) = ln 9
    assert prior_correction(0.5, 0.1) == pytest.approx(math.log(9))
    assert prior_correction(1.0, 0.1) == prior_correction(0.0, 0.1) == 0.0


def test_many_rows_overrule_the_prior() -> None:
    y = np.r_[np.ones(2000), np.zeros(8000)]
    assert fit_level(np.zeros(10_000), y, mean=0.0, sd=0.5) == pytest.approx(logit(0.2), abs=0.01)


def test_no_rows_leave_the_prior() -> None:
    assert fit_level(np.zeros(0), np.zeros(0), mean=0.3, sd=0.2) == 0.3


def test_the_fitted_level_satisfies_its_own_equation() -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.normal(-2, 1, 50), (rng.random(50) < 0.3).astype(float)
    level = fit_level(logits, y, mean=-0.1, sd=0.4)
    score = (y - 1 / (1 + np.exp(-(logits + level)))).sum() - (level + 0.1) / 0.4**2
    assert score == pytest.approx(0.0, abs=1e-8)


def test_goods_alone_move_the_level_down_and_no_further_than_the_prior_lets() -> None:
    level = fit_level(np.full(50, -2.0), np.zeros(50), mean=0.0, sd=0.3)
    assert -0.9 < level < -0.1


def test_a_cautious_level_weighs_having_none_with_having_one() -> None:
    # rows all alike at logit 0: the marginal likelihood under Normal(mean, sd) can be integrated
    y, prior = np.r_[np.ones(14), np.zeros(6)], LevelPrior(mean=0.1, sd=0.6, still=0.5)
    grid = np.linspace(-6, 6, 20001)
    log_likelihood = 14 * grid - 20 * np.logaddexp(0, grid)
    density = np.exp(-0.5 * ((grid - 0.1) / 0.6) ** 2) / (0.6 * np.sqrt(2 * np.pi))
    moving = float((np.exp(log_likelihood) * density).sum() * (grid[1] - grid[0]))
    still = np.exp(14 * 0.1 - 20 * np.logaddexp(0, 0.1))
    mode = fit_level(np.zeros(20), y, 0.1, 0.6)
    exact = moving / (moving + still)
    assert prior.moving_given(np.zeros(20), y, mode) == pytest.approx(exact, abs=0.01)  # Laplace
    assert prior.level_given(np.zeros(20), y) == pytest.approx(0.1 + exact * (mode - 0.1), abs=0.01)


def test_caution_asks_for_evidence_and_no_more() -> None:
    free, cautious = LevelPrior(sd=0.4), LevelPrior(sd=0.4, still=0.75)

    def kept(n_defaults: int, n_rows: int) -> float:
        y = np.r_[np.ones(n_defaults), np.zeros(n_rows - n_defaults)]
        logits = np.full(n_rows, -2.0)
        return cautious.level_given(logits, y) / free.level_given(logits, y)

    assert kept(5, 20) < 0.5  # twice what was expected of 20 rows is luck
    assert kept(250, 1000) > 0.99  # of a thousand it is not
    assert free.level_given(np.zeros(3), np.ones(3)) == fit_level(np.zeros(3), np.ones(3), 0.0, 0.4)
    assert cautious.level_given(np.zeros(0), np.zeros(0)) == 0.0
    assert LevelPrior(mean=0.2, still=1.0).level_given(np.zeros(9), np.ones(9)) == 0.2
    assert cautious.given_base_rate(0.2).still == 0.0  # a declared rate needs none


def test_evidence_beyond_the_range_of_numbers() -> None:
    y = np.ones(5000)
    assert LevelPrior(sd=2.0, still=0.9).moving_given(np.full(5000, -4.0), y, 5.0) == 1.0
    assert LevelPrior(sd=0.05, still=0.9).moving_given(np.full(5000, 4.0), y, -5.0) == pytest.approx(0.0)


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


def test_rows_make_a_level_surer() -> None:
    # four rows at a PD of a half carry information 1 beside the prior's 1 / 0.5^2
    assert LevelPrior(sd=0.5).sd_given(np.zeros(4)) == pytest.approx((4 + 1) ** -0.5)
    assert LevelPrior(sd=0.5).sd_given(np.zeros(0)) == pytest.approx(0.5)


def test_a_declared_rate_centres_the_prior_and_its_range_widens_it() -> None:
    prior = LevelPrior(mean=0.0, sd=0.3, base_rate=0.1, declared_sd=0.1)
    given = prior.given_base_rate(0.2, 0.15, 0.26)
    assert given.mean == pytest.approx(logit(0.2) - logit(0.1))
    assert given.sd == pytest.approx(math.hypot(0.1, (logit(0.26) - logit(0.15)) / 3.29))


def test_the_level_at_a_rate_makes_the_mean_pd_that_rate() -> None:
    # two accounts at logits -a and +a around the level: their mean PD is 1/2 only at level 0
    level, error = level_at_rate(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), 0.5)
    assert level == pytest.approx(0.0, abs=1e-9)
    pd = 1 / (1 + np.exp(-1.0))
    assert error == pytest.approx(np.sqrt(0.5) * (pd - 0.5) / (pd * (1 - pd)))
    # accounts that are all alike leave no doubt
    level, error = level_at_rate(np.full(3, -2.0), np.array([0.2, 0.3, 0.5]), 0.1)
    assert level == pytest.approx(logit(0.1) + 2.0)
    assert error == pytest.approx(0.0, abs=1e-9)


def test_accounts_that_were_seen_are_weighed_with_what_source_markets_say() -> None:
    prior = LevelPrior(0.0, 0.3, base_rate=0.1, declared_sd=0.2).given_base_rate(0.2)
    seen = prior.seen_accounts(prior.mean + 1.0, error=0.2)  # as sure as the prior: halfway
    assert seen.mean == pytest.approx(prior.mean + 0.5)
    assert seen.sd == pytest.approx(np.sqrt(0.5) * 0.2)
    # how uncertain the rate itself is, both share: it does not shrink
    wide = LevelPrior(0.0, 0.3, base_rate=0.1, declared_sd=0.2).given_base_rate(0.2, 0.1, 0.4)
    surest = wide.seen_accounts(wide.mean, error=0.0)
    assert surest.sd == pytest.approx(np.sqrt(wide.sd**2 - 0.2**2))
