"""Leave one row out: the same as adapting without it, and outliers stand out."""

from dataclasses import replace

import numpy as np
import pytest

from meta.adaptation import DeclaredRate, MarketRows, adapt_markets, market_logits
from meta.influence import ROWS_AT_ONCE, leave_one_out
from meta.thetas import Theta
from tests.meta.toy import PRIOR, Posted, honest_support, toy_theta


@pytest.fixture(scope="module")
def theta() -> Theta:
    return toy_theta(slope_sd=0.4)


@pytest.fixture(scope="module")
def posted(theta: Theta) -> Posted:
    return honest_support(theta, ROWS_AT_ONCE + 6, np.random.default_rng(0))


@pytest.mark.parametrize("i", [0, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 5])
def test_leaving_a_row_out_is_adapting_without_it(i: int, theta: Theta, posted: Posted) -> None:
    rows = posted.rows
    found = leave_one_out(theta, rows, len(rows.y), None, 5)
    assert len(found) == len(rows.y)
    kept = np.arange(len(rows.y)) != i
    (whole,) = adapt_markets(theta, [rows])
    (without,) = adapt_markets(theta, [MarketRows(rows.x[kept], rows.y[kept], "random")])
    with_it, without_it = (market_logits(theta.learner(), a.theta_prime, rows.x) for a in (whole, without))
    assert found[i].level == pytest.approx(whole.level - without.level, abs=1e-6)
    moved = with_it - without_it
    assert found[i].ranking == pytest.approx(moved.std(), rel=1e-3, abs=1e-6)
    losses = [
        np.logaddexp(0.0, logit) - rows.y[i] * logit
        for logit in (with_it[i] + whole.level, without_it[i] + without.level)
    ]
    assert found[i].loss == pytest.approx(losses[0] - losses[1], abs=1e-5)


def test_every_row_is_fitted_better_with_itself_among_the_support(theta: Theta, posted: Posted) -> None:
    found = leave_one_out(theta, posted.rows, len(posted.rows.y), None, 5)
    assert all(row.loss < 0 for row in found)
    assert all(row.level > 0 for row, y in zip(found, posted.rows.y, strict=True) if y == 1)
    assert all(row.level < 0 for row, y in zip(found, posted.rows.y, strict=True) if y == 0)


def test_an_outlier_has_the_largest_influence(theta: Theta) -> None:
    posted = honest_support(theta, 40, np.random.default_rng(1))
    outlier = theta.encoder.encode({"debt": [0.2], "job": ["clerk"], "income": [4500.0]})  # a safe account defaults
    rows = MarketRows(np.concatenate([posted.rows.x, outlier]), np.r_[posted.rows.y, 1.0], "random")
    found = leave_one_out(theta, rows, 41, None, 5)
    assert int(np.argmax([row.ranking for row in found])) == 40
    assert int(np.argmin([row.loss for row in found])) == 40


def test_rows_of_nobody_are_not_left_out(theta: Theta, posted: Posted) -> None:
    found = leave_one_out(theta, posted.rows, 3, None, 5)
    everyone = leave_one_out(theta, posted.rows, len(posted.rows.y), None, 5)
    assert len(found) == 3
    for few, many in zip(found, everyone, strict=False):
        assert few.level == pytest.approx(many.level, abs=1e-6)
        assert few.ranking == pytest.approx(many.ranking, abs=1e-5)


def test_where_the_level_alone_moves_the_ranking_is_not_influenced(theta: Theta, posted: Posted) -> None:
    for settings in ({"inner_steps": 0, "minimum_defaults": 5}, {"inner_steps": None, "minimum_defaults": 10_000}):
        found = leave_one_out(theta, posted.rows, 4, **settings)
        assert [row.ranking for row in found] == [0.0] * 4
        assert all(row.level != 0.0 for row in found)


@pytest.mark.parametrize("declared", [None, DeclaredRate(0.25, 0.2, 0.3)])
def test_a_row_of_its_own_is_the_whole_difference_from_theta(declared, theta: Theta, posted: Posted) -> None:
    design = "random" if declared is None else "case_control"
    rows = MarketRows(posted.rows.x[:1], np.ones(1), design, declared)
    (found,) = leave_one_out(theta, rows, 1, None, 5)
    (whole,) = adapt_markets(theta, [rows])
    assert found.level == pytest.approx(whole.level - PRIOR.mean, abs=1e-9)  # a declared 0.25 is the base rate
    assert found.ranking == 0.0
    assert found.loss < 0


@pytest.mark.parametrize("n_bad", [1, 6, 25])
def test_rows_drawn_by_label_are_compared_on_one_scale(n_bad: int, theta: Theta) -> None:
    rows = honest_support(theta, 600, np.random.default_rng(2), level=0.0).rows
    chosen = np.r_[np.flatnonzero(rows.y == 1)[:n_bad], np.flatnonzero(rows.y == 0)[: 4 * n_bad]]
    declared = DeclaredRate(0.25, 0.25, 0.25)
    support = MarketRows(rows.x[chosen], rows.y[chosen], "case_control", declared)
    # so firm a level that neither it nor, at the level alone, anything else moves: no row has influence
    firm = replace(theta, level_prior=replace(PRIOR, declared_sd=1e-6))
    for found in leave_one_out(firm, support, len(chosen), 0, 5):
        assert found.level == pytest.approx(0.0, abs=1e-6)
        assert found.loss == pytest.approx(0.0, abs=1e-6)
