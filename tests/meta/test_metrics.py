"""Metrics against hand-worked cases, ties included, and against scikit-learn on random ones."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from meta import metrics
from meta.errors import InvalidEpisode

Rows = tuple[np.ndarray, np.ndarray]


def rows(y: list[int], score: list[float]) -> Rows:
    return np.array(y, dtype=float), np.array(score, dtype=float)


@st.composite
def scored_rows(draw: st.DrawFn) -> Rows:
    """2 to 60 rows of both classes; PDs in tenths, so that ties abound."""
    y = draw(st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda v: 0 < sum(v) < len(v)))
    score = draw(st.lists(st.integers(1, 9), min_size=len(y), max_size=len(y)))
    return rows(y, [s / 10 for s in score])


def test_docstring_examples_run() -> None:
    result = doctest.testmod(metrics)
    assert result.attempted >= 4
    assert result.failed == 0


def test_log_loss_by_hand() -> None:
    y, pd = rows([1, 0, 0], [0.25, 0.5, 0.0])
    assert metrics.log_loss(y, pd) == pytest.approx((np.log(4) + np.log(2) + 0) / 3)


def test_log_loss_of_a_certain_error_is_clipped() -> None:
    assert metrics.log_loss(*rows([1], [0.0])) == pytest.approx(-np.log(1e-15))


def test_brier_by_hand() -> None:
    assert metrics.brier(*rows([1, 0], [0.25, 0.5])) == pytest.approx((0.5625 + 0.25) / 2)


@pytest.mark.parametrize(
    ("y", "score", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.0),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
        ([0, 1, 1], [0.2, 0.2, 0.9], 0.75),  # pairs: a tie (1/2) and a right one (1), of two
        ([0, 0, 1, 1, 1], [0.1, 0.3, 0.3, 0.3, 0.2], 4 / 6),  # 0.1 beats none: 3 right; 0.3: two ties, one wrong
    ],
)
def test_auc_and_gini_by_hand(y: list[int], score: list[float], expected: float) -> None:
    assert metrics.auc(*rows(y, score)) == pytest.approx(expected)
    assert metrics.gini(*rows(y, score)) == pytest.approx(2 * expected - 1)


@pytest.mark.parametrize(
    ("y", "score", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 1.0),  # a perfect split of four
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], 1.0),  # perfectly wrong is as far apart
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.0),  # inside a tie there is no gap, whatever the order of rows
        ([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], 0.0),
        ([0, 1, 1], [0.2, 0.2, 0.9], 0.5),  # after 0.2: all goods, half of the defaulters
        ([0, 0, 0, 1, 1], [1, 2, 3, 3, 4], 2 / 3),  # after 2: two thirds of the goods, no defaulter
    ],
)
def test_ks_by_hand(y: list[int], score: list[float], expected: float) -> None:
    assert metrics.ks(*rows(y, score)) == pytest.approx(expected)


def test_ece_by_hand() -> None:
    y, pd = rows([0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8])
    assert metrics.ece(y, pd, n_bins=2) == pytest.approx((abs(1 - 0.4) + abs(2 - 1.4)) / 4)
    assert metrics.ece(y, pd, n_bins=1) == pytest.approx(abs(3 - 1.8) / 4)


def test_ece_keeps_ties_in_one_bin() -> None:
    y, pd = rows([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5])
    assert metrics.ece(y, pd, n_bins=4) == 0.0


def test_psi_by_hand() -> None:
    counts = np.array([10.0, 30.0, 60.0]), np.array([20.0, 30.0, 50.0])
    expected = 0.1 * np.log(2) + 0 - 0.1 * np.log(50 / 60)
    assert metrics.psi_of_counts(*counts) == pytest.approx(expected)


def test_psi_of_an_empty_bin_counts_half_a_row() -> None:
    expected = (0.05 - 0.5) * np.log(0.05 / 0.5) + (1.0 - 0.5) * np.log(1.0 / 0.5)
    assert metrics.psi_of_counts(np.array([5.0, 5.0, 0.0]), np.array([0.0, 10.0, 0.0])) == pytest.approx(expected)


def test_psi_bins_by_the_reference_and_merges_tied_edges() -> None:
    reference = np.array([0.0] * 6 + [1.0, 2.0, 3.0, 4.0])
    assert metrics.psi(reference, reference) == 0.0
    # two bins at the reference's median of 0: at most 0, above 0
    moved = np.array([0.0] * 3 + [5.0] * 7)
    assert metrics.psi(reference, moved, n_bins=2) == pytest.approx((0.3 - 0.6) * np.log(0.5) + 0.3 * np.log(7 / 4))


def test_best_level_makes_the_mean_pd_the_default_rate() -> None:
    y, pd = rows([0, 1, 1, 1], [0.5, 0.5, 0.5, 0.5])
    assert metrics.best_level(y, pd) == pytest.approx(np.log(3))


@pytest.mark.parametrize("metric", [metrics.auc, metrics.gini, metrics.ks, metrics.best_level])
def test_one_class_has_no_ranking(metric: object) -> None:
    with pytest.raises(InvalidEpisode, match="one defaulter and one good"):
        metric(*rows([1, 1], [0.1, 0.2]))  # type: ignore[operator]


@pytest.mark.parametrize("metric", [metrics.log_loss, metrics.brier, metrics.ece, metrics.auc])
def test_faulty_rows_are_refused(metric: object) -> None:
    for faulty in (rows([], []), rows([1, 0], [0.5]), rows([1, 0], [0.5, np.nan])):
        with pytest.raises(InvalidEpisode):
            metric(*faulty)  # type: ignore[operator]


def test_psi_refuses_an_empty_side() -> None:
    with pytest.raises(InvalidEpisode):
        metrics.psi_of_counts(np.zeros(3), np.ones(3))
    with pytest.raises(InvalidEpisode):
        metrics.psi(np.ones(3), np.zeros(0))


@given(scored_rows())
def test_agrees_with_scikit_learn(drawn: Rows) -> None:
    y, pd = drawn
    assert metrics.auc(y, pd) == pytest.approx(sklearn_metrics.roc_auc_score(y, pd))
    assert metrics.log_loss(y, pd) == pytest.approx(sklearn_metrics.log_loss(y, pd))
    assert metrics.brier(y, pd) == pytest.approx(sklearn_metrics.brier_score_loss(y, pd))
    false_positives, true_positives, _ = sklearn_metrics.roc_curve(y, pd, drop_intermediate=False)
    assert metrics.ks(y, pd) == pytest.approx(np.abs(true_positives - false_positives).max())


@given(scored_rows(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(drawn: Rows, random: object) -> None:
    y, pd = drawn
    order = list(range(len(y)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for metric in (metrics.log_loss, metrics.brier, metrics.auc, metrics.ks, metrics.ece):
        assert metric(y[order], pd[order]) == pytest.approx(metric(y, pd))


@given(scored_rows())
def test_rank_metrics_ignore_a_rising_transformation(drawn: Rows) -> None:
    y, pd = drawn
    assert metrics.auc(y, np.exp(3 * pd)) == metrics.auc(y, pd)
    assert metrics.ks(y, np.exp(3 * pd)) == metrics.ks(y, pd)


@given(scored_rows())
def test_best_level_zeroes_the_calibration_error_in_the_large(drawn: Rows) -> None:
    y, pd = drawn
    moved = 1 / (1 + (1 - pd) / pd * np.exp(-metrics.best_level(y, pd)))
    assert moved.mean() == pytest.approx(y.mean(), abs=1e-8)
    assert metrics.ece(y, moved, n_bins=1) == pytest.approx(0.0, abs=1e-8)
    assert metrics.log_loss(y, moved) <= metrics.log_loss(y, pd) + 1e-12


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(any),
    st.lists(st.integers(0, 50), min_size=8, max_size=8),
)
def test_psi_is_symmetric_and_never_negative(reference: list[int], actual: list[int]) -> None:
    r, a = np.array(reference, dtype=float), np.array(actual[: len(reference)], dtype=float)
    a[0] += 1
    assert metrics.psi_of_counts(r, a) == pytest.approx(metrics.psi_of_counts(a, r))
    assert metrics.psi_of_counts(r, r) == 0.0
    assert metrics.psi_of_counts(r, a) >= 0.0
