"""Laplace intervals: the covariance by its definition, what rows can and cannot do to it."""

from dataclasses import replace

import numpy as np
import pytest

from meta.adaptation import (
    AdaptedMarket,
    DeclaredRate,
    MarketRows,
    adapt_markets,
    market_logits,
    network_logits,
    posterior_of,
)
from meta.effects import EffectsPrior
from meta.posterior import REACH, Posterior, directions
from meta.thetas import Theta
from tests.meta.toy import honest_support, sigmoid, toy_logits, toy_theta

PRIOR = EffectsPrior(np.array([0, 2]), np.array([0.5, -0.5]), np.array([0.3, 0.1]), 0.2, -1.0, theta_sd=0.05)
LEVEL_SD = 0.4


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)


@pytest.fixture
def network(rows: np.ndarray) -> np.ndarray:
    return rows.sum(axis=1).astype(np.float64)


def covariance(posterior: Posterior) -> np.ndarray:
    root = posterior.root.astype(np.float64)
    return root @ root.T


def test_directions_start_with_the_level(rows: np.ndarray, network: np.ndarray) -> None:
    first = directions(PRIOR, network, rows)[0]
    assert first.tolist() == [1.0, network[0] + 1.0, rows[0, 0] - 0.5, rows[0, 2] + 0.5]


def test_the_covariance_is_the_inverse_of_prior_precision_plus_information(rows, network) -> None:
    logits = 1.1 * network - 0.7
    along, pd = directions(PRIOR, network, rows), sigmoid(logits)
    sds = np.array([LEVEL_SD, 0.2, 0.3, 0.1])
    expected = np.linalg.inv(np.diag(1 / sds**2) + along.T @ np.diag(pd * (1 - pd)) @ along)
    posterior = Posterior.after_rows(PRIOR, LEVEL_SD, network, rows, logits)
    np.testing.assert_allclose(covariance(posterior), expected, rtol=1e-5, atol=1e-8)
    assert posterior.level_sd == pytest.approx(np.sqrt(expected[0, 0]), rel=1e-6)
    sd = posterior.logit_sd(network, rows)
    np.testing.assert_allclose(sd**2, np.einsum("nj,jk,nk->n", along, expected, along), rtol=1e-5)


def test_what_caution_held_back_joins_the_level_alone(rows, network) -> None:
    posterior = Posterior.after_rows(PRIOR, LEVEL_SD, network, rows, network)
    wider = posterior.beside(-0.3)
    expected = covariance(posterior)
    expected[0, 0] += 0.3**2
    np.testing.assert_allclose(covariance(wider), expected, rtol=1e-5, atol=1e-8)
    assert wider.root.shape == posterior.root.shape
    assert wider.level_sd == pytest.approx(np.hypot(posterior.level_sd, 0.3), rel=1e-6)


def test_a_move_kept_in_part_is_as_sure_as_what_was_kept(rows, network) -> None:
    posterior = Posterior.after_rows(PRIOR, LEVEL_SD, network, rows, network)
    np.testing.assert_allclose(covariance(posterior.kept(1.0, 0.1)), covariance(posterior), rtol=1e-5, atol=1e-8)
    unmoved = np.diag(np.concatenate([[0.1], PRIOR.sds])) ** 2
    np.testing.assert_allclose(covariance(posterior.kept(0.0, 0.1)), unmoved, rtol=1e-5, atol=1e-8)
    # a quarter held back: a sixteenth of the variance is the prior's
    expected = 15 / 16 * covariance(posterior) + unmoved / 16
    np.testing.assert_allclose(covariance(posterior.kept(0.75, 0.1)), expected, rtol=1e-5, atol=1e-8)


def test_a_ranking_that_was_not_moved_is_no_surer_for_the_rows() -> None:
    theta = toy_theta()
    market = honest_support(theta, 60, np.random.default_rng(4)).rows
    (level_alone,), (moved,) = (adapt_markets(theta, [market], inner_steps=steps) for steps in (0, None))
    assert (level_alone.share, moved.share) == (0.0, 1.0)
    sds = [np.sqrt(np.diag(covariance(posterior_of(theta, market, found))))[1:] for found in (level_alone, moved)]
    np.testing.assert_allclose(sds[0], theta.effects.sds, rtol=1e-5)
    assert (sds[1] < sds[0]).all()


def test_spreads_told_by_few_markets_make_a_wider_posterior(rows, network) -> None:
    few = replace(PRIOR, n_markets=6)
    wide, narrow = (np.diag(covariance(Posterior.before_rows(prior, LEVEL_SD))) for prior in (few, PRIOR))
    np.testing.assert_allclose(wide / narrow, [1.0, 1.5, 1.5, 1.5], rtol=1e-5)


def test_levels_told_by_few_markets_are_widened_unless_a_rate_is_declared() -> None:
    theta, rows, _ = adapted_rows("random")
    few = replace(theta, effects=replace(theta.effects, n_markets=3))  # variance times 2
    assert few.posterior_at_rest().level_sd == pytest.approx(2**0.5 * theta.level_prior.sd, rel=1e-6)
    one = MarketRows(rows.x[:1], rows.y[:1], "random")  # hardly a word against the prior
    (rested,) = adapt_markets(few, [one])
    expected = replace(rested.prior, sd=2**0.5 * rested.prior.sd).sd_given(rested.ranking + rested.level)
    assert posterior_of(few, one, rested).level_sd == pytest.approx(expected, rel=1e-3)
    declared = replace(rows, design="case_control", declared=DeclaredRate(0.05, 0.04, 0.06))
    sds = [posterior_of(t, declared, adapt_markets(t, [declared], inner_steps=0)[0]).level_sd for t in (theta, few)]
    assert sds[0] == pytest.approx(sds[1], rel=1e-6)


def test_an_effect_without_spread_stays_so_beside_caution() -> None:
    still = replace(PRIOR, slope_sd=np.array([0.3, 0.0]), scale_sd=0.0)
    found = covariance(Posterior.before_rows(still, LEVEL_SD).beside(0.3))
    np.testing.assert_allclose(found, np.diag([LEVEL_SD**2 + 0.09, 0.0, 0.09, 0.0]), atol=1e-7)


def test_a_cautious_market_is_served_less_moved_and_less_sure() -> None:
    theta = toy_theta()
    cautious = replace(theta, level_prior=replace(theta.level_prior, still=0.75))
    market = honest_support(theta, 30, np.random.default_rng(3), level=0.6).rows
    (free,), (held,) = (adapt_markets(t, [market], inner_steps=0) for t in (theta, cautious))
    assert 0 < held.level < free.level
    before, after = posterior_of(theta, market, free).level_sd, posterior_of(cautious, market, held).level_sd
    assert after == pytest.approx(np.hypot(before, free.level - held.level), rel=0.1)


def test_an_interval_is_centred_where_the_mean_pd_would_be_the_served_one() -> None:
    # level sd 0.8 alone: PDs of logits Normal(center, 0.8) must average to the served PD
    alone = EffectsPrior(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 0.0, 0.0, theta_sd=0.6)
    served = np.array([-2.5, 0.0, 1.0])
    posterior = Posterior.before_rows(alone, 0.8)
    low, high = posterior.interval(np.zeros(3), np.zeros((3, 2), np.float32), served)
    center = (low + high) / 2
    np.testing.assert_allclose(high - center, REACH * 1.0, rtol=1e-6)  # 0.8 and 0.6 together are 1
    drawn = center[:, None] + 0.8 * np.random.default_rng(0).normal(size=(3, 200_000))
    np.testing.assert_allclose(sigmoid(drawn).mean(axis=1), sigmoid(served), rtol=0.04)  # an approximation


def test_one_row_by_hand() -> None:
    # level sd 1 alone, one row with pd = 1/2: precision 1 + 1/4, so the level's variance is 0.8
    alone = EffectsPrior(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 0.0, 0.0)
    posterior = Posterior.after_rows(alone, 1.0, np.zeros(1), np.zeros((1, 2), np.float32), np.zeros(1))
    assert posterior.level_sd == pytest.approx(np.sqrt(0.8))
    assert posterior.logit_sd(np.zeros(1), np.zeros((1, 2), np.float32))[0] == pytest.approx(np.sqrt(0.8))


def test_no_rows_leave_the_prior(rows, network) -> None:
    before = Posterior.before_rows(PRIOR, LEVEL_SD)
    np.testing.assert_allclose(covariance(before), np.diag([0.4, 0.2, 0.3, 0.1]) ** 2, rtol=1e-6)
    after = Posterior.after_rows(PRIOR, LEVEL_SD, network[:0], rows[:0], network[:0])
    np.testing.assert_allclose(covariance(after), covariance(before), rtol=1e-6, atol=1e-12)


def test_more_rows_never_widen(rows, network) -> None:
    rng = np.random.default_rng(1)
    others = rng.normal(0.0, 2.0, (200, 3)).astype(np.float32)
    theirs = others.sum(axis=1).astype(np.float64)
    widths = [
        Posterior.after_rows(PRIOR, LEVEL_SD, network[:n], rows[:n], network[:n]).logit_sd(theirs, others)
        for n in range(len(rows) + 1)
    ]
    assert (np.diff(widths, axis=0) < 1e-6).all()
    assert (widths[-1] < widths[0]).all()


def test_what_theta_itself_does_not_know_widens_every_account_and_not_their_mean(rows, network) -> None:
    logits = network - 1.0
    exact = Posterior.before_rows(replace(PRIOR, theta_sd=0.0), LEVEL_SD)
    vague = Posterior.before_rows(replace(PRIOR, theta_sd=0.3), LEVEL_SD)
    reaches = [np.subtract(*p.interval(network, rows, logits)[::-1]) / (2 * REACH) for p in (exact, vague)]
    np.testing.assert_allclose(reaches[1] ** 2 - reaches[0] ** 2, 0.09, rtol=1e-6)
    assert vague.mean_pd_sd(network, rows, logits) == exact.mean_pd_sd(network, rows, logits)


def test_the_mean_of_equal_accounts_is_as_sure_as_the_level(rows) -> None:
    alone = replace(PRIOR, slope_sd=np.zeros(2), scale_sd=0.0)
    posterior = Posterior.before_rows(alone, 0.4)
    assert posterior.mean_pd_sd(np.full(12, -1.0), rows, np.full(12, -1.3)) == pytest.approx(0.4)


def test_the_mean_of_unequal_accounts_by_hand(rows) -> None:
    # PDs 1/2 and 1/10, level sd 0.4: d mean / d level = (0.25 + 0.09) / 2; on the logit of 0.3: over 0.3 * 0.7
    posterior = Posterior.before_rows(replace(PRIOR, slope_sd=np.zeros(2), scale_sd=0.0), 0.4)
    logits = np.array([0.0, -np.log(9.0)])
    assert posterior.mean_pd_sd(logits, rows[:2], logits) == pytest.approx(0.4 * 0.17 / 0.21)


def test_the_mean_matches_finite_differences(rows, network) -> None:
    posterior = Posterior.before_rows(PRIOR, LEVEL_SD)
    logits, along = network - 1.0, directions(PRIOR, network, rows)

    def logit_of_mean(effects: np.ndarray) -> float:
        mean = sigmoid(logits + along @ effects).mean()
        return np.log(mean) - np.log1p(-mean)

    gradient = [(logit_of_mean(1e-5 * e) - logit_of_mean(-1e-5 * e)) / 2e-5 for e in np.eye(4)]
    expected = np.sqrt((np.square(gradient) * np.diag(covariance(posterior))).sum())
    assert posterior.mean_pd_sd(network, rows, logits) == pytest.approx(expected, rel=1e-5)


def test_the_reach_is_that_of_a_ninety_percent_interval() -> None:
    assert pytest.approx(1.644854, abs=1e-6) == REACH


def adapted_rows(design: str) -> tuple[Theta, MarketRows, AdaptedMarket]:
    theta = toy_theta(slope_sd=0.5)
    rows = honest_support(theta, 120, np.random.default_rng(0), level=0.0).rows
    if design == "case_control":
        rows = MarketRows(rows.x, rows.y, "case_control", DeclaredRate(0.05, 0.04, 0.06))
    return theta, rows, adapt_markets(theta, [rows])[0]


@pytest.mark.parametrize("design", ["random", "case_control"])
def test_an_adapted_markets_posterior_is_taken_at_its_fitted_logits_selection_included(design: str) -> None:
    theta, rows, adapted = adapted_rows(design)
    found = posterior_of(theta, rows, adapted)
    base = toy_logits(theta, rows.x)
    fitted = market_logits(theta.learner(), adapted.theta_prime, rows.x) + adapted.level + rows.correction
    expected = Posterior.after_rows(theta.effects, adapted.prior.sd, base, rows.x, fitted)
    np.testing.assert_allclose(covariance(found), covariance(expected), rtol=1e-3, atol=1e-6)
    assert (rows.correction != 0.0) == (design == "case_control")


def test_the_network_alone_stays_thetas_where_effects_move() -> None:
    theta, rows, adapted = adapted_rows("random")
    assert adapted.theta_prime["slope"].abs().max() > 0
    np.testing.assert_allclose(
        network_logits(theta, adapted.theta_prime, rows.x), toy_logits(theta, rows.x), rtol=1e-4, atol=1e-5
    )


def test_intervals_hold_the_truth_about_nine_times_in_ten() -> None:
    theta, rng = toy_theta(slope_sd=0.4), np.random.default_rng(1)
    exact = replace(theta, effects=replace(theta.effects, theta_sd=0.0))
    held = []
    for _ in range(60):
        market = honest_support(exact, 80, rng)
        (adapted,) = adapt_markets(exact, [market.rows])
        posterior = posterior_of(exact, market.rows, adapted)
        x = honest_support(exact, 30, rng).rows.x
        base = toy_logits(exact, x)
        fitted = market_logits(exact.learner(), adapted.theta_prime, x) + adapted.level
        reach = REACH * posterior.logit_sd(base, x)
        held.append((np.abs(fitted - base - market.moves(x)) < reach).mean())
    # 60 markets, each market's accounts held or not nearly together: 0.9 give or take four standard errors of 0.03
    assert 0.78 < np.mean(held) <= 0.98
