"""The ladder of cross-fitted losses: four rungs on the same folds, each row judged by models without it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student_t

from meta.adaptation import DeclaredRate, MarketRows, adapt_markets, market_logits
from meta.evidence import (
    LADDER,
    MIN_DEFAULTS_FOR_AUC,
    N_FOLDS,
    CrossFitted,
    _stratified_folds,
    cross_fit,
)
from meta.intervals import auc_interval
from meta.metrics import auc
from meta.thetas import Theta
from tests.meta.toy import Posted, honest_support, toy_theta


@pytest.fixture(scope="module")
def theta() -> Theta:
    return toy_theta(slope_sd=0.4)


@pytest.fixture(scope="module")
def posted(theta: Theta) -> Posted:
    return honest_support(theta, 60, np.random.default_rng(0))


def first_rows(theta: Theta, n_bad: int, n_good: int, declared: DeclaredRate | None = None) -> MarketRows:
    """So many defaulters and goods of one honest market; drawn by label where a rate is declared."""
    rows = honest_support(theta, 400, np.random.default_rng(1), level=0.0).rows
    chosen = np.r_[np.flatnonzero(rows.y == 1)[:n_bad], np.flatnonzero(rows.y == 0)[:n_good]]
    return MarketRows(rows.x[chosen], rows.y[chosen], "random" if declared is None else "case_control", declared)


def by_hand(n_bad: int = 1, n_good: int = 1) -> CrossFitted:
    """theta says ln 3 for every row, theta_prime is right at odds of 3, the others say nothing."""
    y = np.r_[np.ones(n_bad), np.zeros(n_good)]
    sure = np.log(3.0)
    logits = {
        "theta": np.full(len(y), sure),
        "base_rate_only": np.zeros(len(y)),
        "theta_prime": np.where(y == 1, sure, -sure),
        "scratch": np.zeros(len(y)),
    }
    return CrossFitted(y, logits, diverged=False)


def test_losses_and_gains_by_hand() -> None:
    found = by_hand()
    # PD 3/4: ln(4/3) where it defaulted, ln 4 where it did not
    assert found.losses("theta").tolist() == pytest.approx([np.log(4 / 3), np.log(4)])
    assert found.losses("base_rate_only").tolist() == pytest.approx([np.log(2)] * 2)
    assert found.gains().tolist() == pytest.approx([0.0, np.log(3)])
    assert found.gains("base_rate_only").tolist() == pytest.approx([np.log(2 / 3), np.log(2)])


def test_the_report_has_four_rungs_with_intervals_of_their_gains() -> None:
    report = by_hand(2, 3).report()
    assert (report["n_folds"], report["interval"]) == (5, 0.9)
    assert set(report) == {"n_folds", "interval", "unit", *LADDER}
    assert set(report["theta"]) == {"log_loss"}
    assert report["theta"]["log_loss"] == pytest.approx((2 * np.log(4 / 3) + 3 * np.log(4)) / 5)
    gains = np.r_[0.0, 0.0, [np.log(3)] * 3]
    reach = 1.5 * gains.std(ddof=1) / np.sqrt(5) * student_t.ppf(0.95, 4)  # folds share rows: 1 + 5 / 4
    expected = {"mean": gains.mean(), "low": gains.mean() - reach, "high": gains.mean() + reach}
    assert report["theta_prime"]["gain"] == pytest.approx(expected)


def test_auc_is_told_from_fifty_defaults_on() -> None:
    enough = by_hand(MIN_DEFAULTS_FOR_AUC, 30)
    assert MIN_DEFAULTS_FOR_AUC == 50
    assert enough.report()["theta_prime"]["auc"] == 1.0
    assert enough.report()["theta"]["auc"] == auc(enough.y, enough.logits["theta"]) == 0.5
    assert all("auc" not in by_hand(49, 30).report()[rung] for rung in LADDER)
    assert all("auc" not in by_hand(60, 0).report()[rung] for rung in LADDER)
    assert all("auc" not in by_hand(60, 1).report()[rung] for rung in LADDER)


def test_no_auc_comes_without_its_interval() -> None:
    told = by_hand(50, 30).report()["theta_prime"]
    # perfect: 30 disjoint pairs all ordered rightly, in one case of twenty if the AUC were 0.05^(1/30)
    assert (told["auc_low"], told["auc_high"]) == (pytest.approx(0.05 ** (1 / 30)), 1.0)
    rng = np.random.default_rng(0)
    ladder = by_hand(60, 240)
    noisy = replace(ladder, logits={rung: ladder.y + rng.normal(size=300) for rung in LADDER})
    for rung in LADDER:
        told = noisy.report()[rung]
        assert told["auc_low"] < told["auc"] < told["auc_high"]
        assert (told["auc_low"], told["auc_high"]) == auc_interval(noisy.y, noisy.logits[rung], 0.9)


def test_folds_share_out_both_classes() -> None:
    y = np.r_[np.ones(13), np.zeros(29)]
    folds = _stratified_folds(y, seed=3)
    assert np.sort(np.concatenate(folds)).tolist() == list(range(42))
    assert {int(y[fold].sum()) for fold in folds} == {2, 3}
    assert {len(fold) for fold in folds} == {8, 9}
    assert all(np.array_equal(a, b) for a, b in zip(folds, _stratified_folds(y, seed=3), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(folds, _stratified_folds(y, seed=4), strict=True))


def test_every_row_is_judged_by_models_that_have_not_seen_its_fold(theta: Theta, posted: Posted) -> None:
    rows = posted.rows
    found = cross_fit(theta, rows, seed=0, inner_steps=None, minimum_defaults=5)
    rest = market_logits(theta.learner(), theta.at_rest(), rows.x)
    np.testing.assert_allclose(found.logits["theta"], rest, rtol=1e-6)  # the prior's mean is 0
    for fold in _stratified_folds(rows.y, seed=0):
        kept = np.setdiff1d(np.arange(60), fold)
        part = MarketRows(rows.x[kept], rows.y[kept], "random")
        (moved,) = adapt_markets(theta, [part])
        expected = market_logits(theta.learner(), moved.theta_prime, rows.x[fold]) + moved.level
        np.testing.assert_allclose(found.logits["theta_prime"][fold], expected, rtol=1e-4, atol=1e-5)
        (level,) = adapt_markets(theta, [part], inner_steps=0)
        np.testing.assert_allclose(found.logits["base_rate_only"][fold], rest[fold] + level.level, rtol=1e-5)


def test_no_rung_sees_the_labels_that_it_is_judged_by(theta: Theta, posted: Posted, monkeypatch) -> None:
    folds = [np.arange(start, 60, N_FOLDS) for start in range(N_FOLDS)]
    monkeypatch.setattr("meta.evidence._stratified_folds", lambda y, seed: folds)
    y = posted.rows.y
    turned = y.copy()
    turned[folds[0]] = 1.0 - y[folds[0]]
    first, second = (
        cross_fit(theta, MarketRows(posted.rows.x, labels, "random"), 0, None, 5) for labels in (y, turned)
    )
    for rung in LADDER:
        np.testing.assert_allclose(first.logits[rung][folds[0]], second.logits[rung][folds[0]], rtol=1e-6)
        if rung != "theta":
            assert not np.allclose(first.logits[rung][folds[1]], second.logits[rung][folds[1]], rtol=1e-3)


def test_the_model_of_the_markets_rows_alone_knows_nothing_of_theta(theta: Theta, posted: Posted) -> None:
    other = replace(theta, params={n: -v if n == "net.head_w" else v for n, v in theta.params.items()})
    first, second = (cross_fit(t, posted.rows, 0, None, 5) for t in (theta, other))
    np.testing.assert_array_equal(first.logits["scratch"], second.logits["scratch"])
    assert not np.allclose(first.logits["theta"], second.logits["theta"])


def test_the_model_of_the_markets_rows_alone_learns_its_rate_and_its_ranking(theta: Theta) -> None:
    rows = honest_support(theta, 1500, np.random.default_rng(2), level=0.0).rows
    found = cross_fit(theta, rows, 0, None, 5)
    pd = 1 / (1 + np.exp(-found.logits["scratch"]))
    assert pd.mean() == pytest.approx(rows.y.mean(), abs=0.01)
    assert auc(rows.y, found.logits["scratch"]) == pytest.approx(auc(rows.y, found.logits["theta_prime"]), abs=0.02)


def test_fewer_rows_than_folds_are_not_judged(theta: Theta, posted: Posted) -> None:
    few = MarketRows(posted.rows.x[: N_FOLDS - 1], posted.rows.y[: N_FOLDS - 1], "random")
    assert cross_fit(theta, few, 0, None, 5) is None


@pytest.mark.parametrize(("n_bad", "n_good"), [(0, 12), (12, 0), (1, 11), (11, 1), (2, 3)])
@pytest.mark.parametrize("declared", [None, DeclaredRate(0.25, 0.2, 0.3)])
def test_folds_of_one_class_are_survived(n_bad: int, n_good: int, declared, theta: Theta) -> None:
    found = cross_fit(theta, first_rows(theta, n_bad, n_good, declared), 0, None, 1)
    assert all(np.isfinite(found.logits[rung]).all() for rung in LADDER)
    assert not found.diverged
    report = found.report()
    assert all(np.isfinite(report[rung]["log_loss"]) for rung in LADDER)


def moved_rows(found: CrossFitted) -> np.ndarray:
    return np.abs(found.logits["theta_prime"] - found.logits["base_rate_only"]) > 1e-4


@pytest.mark.parametrize("n_bad", [5, 6, 7, 13])
def test_where_the_whole_support_moves_the_ranking_every_fold_does(n_bad: int, theta: Theta) -> None:
    found = cross_fit(theta, first_rows(theta, n_bad, 40), 0, None, 5)
    assert moved_rows(found).mean() > 0.9


@pytest.mark.parametrize("n_bad", [1, 3, 4])
def test_where_the_whole_support_leaves_the_ranking_every_fold_does(n_bad: int, theta: Theta) -> None:
    found = cross_fit(theta, first_rows(theta, n_bad, 40), 0, None, 5)
    assert not moved_rows(found).any()


@pytest.mark.parametrize(("n_bad", "n_good"), [(6, 24), (12, 48)])
def test_every_rung_carries_the_same_selection_correction(n_bad: int, n_good: int, theta: Theta) -> None:
    # a prior so firm that no level moves: the level alone is theta, whatever classes a fold took away
    rows = first_rows(theta, n_bad, n_good, DeclaredRate(0.25, 0.25, 0.25))
    firm = replace(theta, level_prior=replace(theta.level_prior, declared_sd=1e-6))
    found = cross_fit(firm, rows, 0, None, 5)
    np.testing.assert_allclose(found.logits["base_rate_only"], found.logits["theta"], atol=1e-6)
    rest = market_logits(theta.learner(), theta.at_rest(), rows.x)
    np.testing.assert_allclose(found.logits["theta"] - rest, np.log(0.25 / 0.75 * 3.0 * 0.75), rtol=1e-6)


def test_a_diverged_fold_is_told(theta: Theta, posted: Posted) -> None:
    assert not cross_fit(theta, posted.rows, 0, None, 5).diverged
    reckless = toy_theta("maml")
    reckless = replace(reckless, settings=replace(reckless.settings, inner_lr=1e30))
    assert cross_fit(reckless, posted.rows, 0, None, 5).diverged
