"""Intervals of means, shares and AUCs: worked by hand, and how often they hold the truth."""

import numpy as np
import pytest
from scipy.stats import beta, norm

from meta.errors import InvalidEpisode
from meta.intervals import _delong_error, auc_interval, mean_and_reach, share_interval
from meta.metrics import auc


def test_mean_and_reach_by_hand() -> None:
    # 1, 2, 3: mean 2, standard deviation 1, standard error 1 / sqrt(3); t with 2 degrees of freedom: 2.919986
    mean, reach = mean_and_reach(np.array([1.0, 2.0, 3.0]))
    assert mean == 2.0
    assert reach == pytest.approx(2.919986 / np.sqrt(3.0), rel=1e-6)
    assert mean_and_reach(np.array([1.0, 2.0, 3.0]), share=0.5)[1] == pytest.approx(0.816497 / np.sqrt(3.0), rel=1e-5)
    assert mean_and_reach(np.full(4, 0.7)) == pytest.approx((0.7, 0.0))


def test_a_share_of_none_and_of_all() -> None:
    low, high = share_interval(0, 40, 0.95)
    assert low == 0.0
    assert beta.cdf(high, 0.5, 40.5) == pytest.approx(0.975)
    assert share_interval(40, 40, 0.95) == pytest.approx((1 - high, 1.0))


def test_auc_interval_by_hand() -> None:
    y = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    score = np.array([2.0, 4.0, 6.0, 1.0, 2.0, 5.0])
    # goods below each defaulter: 1.5/3, 2/3, 3/3: mean 13/18, variance 7/108; defaulters above each good: 3/3, 2.5/3,
    # 1/3: mean 13/18, variance 13/108. Standard error: sqrt((7 + 13) / 108 / 3) = sqrt(5) / 9
    assert auc(y, score) == pytest.approx(13 / 18)
    assert _delong_error(score[:3], score[3:]) == pytest.approx(np.sqrt(5) / 9)
    # logit ln(13/5), its error (sqrt(5) / 9) / (13/18 * 5/18), t with 2 degrees of freedom: 2.919986
    reach = 2.919986 * (np.sqrt(5) / 9) / (65 / 324)
    odds = 13 / 5 * np.exp(np.array([-reach, reach]))
    assert auc_interval(y, score, 0.9) == pytest.approx(tuple(odds / (1 + odds)), rel=1e-5)


def test_turning_the_score_turns_the_interval() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(200) < 0.3).astype(float)
    score = y + rng.normal(size=200)
    low, high = auc_interval(y, score, 0.9)
    assert auc_interval(y, -score, 0.9) == pytest.approx((1 - high, 1 - low))
    assert 0.0 < low < auc(y, score) < high < 1.0


def test_a_perfect_ranking_is_not_sure() -> None:
    y = np.r_[np.ones(2), np.zeros(9)]
    assert auc_interval(y, y, 0.9) == pytest.approx((np.sqrt(0.05), 1.0))
    assert auc_interval(y, -y, 0.9) == pytest.approx((0.0, 1 - np.sqrt(0.05)))


@pytest.mark.parametrize("y", [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
def test_one_of_a_class_has_no_interval(y: list[float]) -> None:
    with pytest.raises(InvalidEpisode):
        auc_interval(np.array(y), np.array([0.1, 0.2, 0.3]), 0.9)


def test_nine_of_ten_intervals_hold_the_true_auc() -> None:
    rng = np.random.default_rng(0)
    y = np.r_[np.ones(50), np.zeros(250)]
    held = 0
    for _ in range(1000):
        low, high = auc_interval(y, y + rng.normal(size=300), 0.9)
        held += low <= norm.cdf(1 / np.sqrt(2)) <= high
    assert 0.88 < held / 1000 < 0.93  # 0.9 give or take two standard errors, t being a little wide
