"""Prior predictive checks: honest markets are accused as often as chance has it, contradictions nearly always."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from meta.adaptation import DeclaredRate, MarketRows
from meta.conflict import (
    LEVEL_SD,
    MAX_ROWS,
    MIN_ROWS,
    N_DRAWS,
    Conflict,
    _Accounts,
    _levelled,
    _log_evidence_by_chance,
    _mirrored,
    _p_value,
    _spread,
    _squared_moves,
    find_conflicts,
)
from meta.thetas import Theta
from tests.meta.toy import Posted, honest_support, toy_logits, toy_theta

CHECKS = ("ranking", "column", "move")


@pytest.fixture(scope="module")
def theta() -> Theta:
    return toy_theta()


def by_check(found: list[Conflict]) -> dict[str, Conflict]:
    assert [conflict.check for conflict in found] == list(CHECKS)
    return {conflict.check: conflict for conflict in found}


def flipped(theta: Theta, posted: Posted, name: str) -> Posted:
    """The same accounts with one column turned round its middle."""
    middle = {"debt": 0.5, "income": 3000.0}[name]
    columns = {**posted.columns, name: [2 * middle - value for value in posted.columns[name]]}
    return Posted(columns, MarketRows(theta.encoder.encode(columns), posted.rows.y, "random"))


@pytest.mark.parametrize("slope_sd", [0.1, 0.8])
def test_honest_markets_are_accused_as_often_as_chance_has_it(slope_sd: float, monkeypatch) -> None:
    monkeypatch.setattr("meta.conflict.N_DRAWS", 399)  # as fair, and faster
    theta = toy_theta(slope_sd=slope_sd)
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {check: [] for check in CHECKS}
    for seed in range(200):
        posted = honest_support(theta, 60, rng)
        for conflict in find_conflicts(theta, posted.rows, posted.columns, seed):
            found[conflict.check].append(conflict.p_value)
    for check, p_values in found.items():
        # binomial(200, p), 99.9 % limits: 0.05: at most 21; 0.5: 77 to 123
        assert len(p_values) == 200
        assert sum(p < 0.05 for p in p_values) <= 21, check
        assert 77 <= sum(p < 0.5 for p in p_values) <= 123, check


def test_honest_draws_are_off_by_markets_effects_and_by_thetas_own_error(theta: Theta) -> None:
    rows = honest_support(theta, 60, np.random.default_rng(0)).rows
    network = toy_logits(theta, rows.x)
    exact, rough = (replace(theta, effects=replace(theta.effects, theta_sd=sd)) for sd in (0.0, 0.4))
    alone, both = (_spread(t, network, rows.x) for t in (exact, rough))
    np.testing.assert_allclose(alone, theta.effects.directions(network, rows.x) * theta.effects.sds)
    variance = [float((white**2).sum(axis=1).mean()) for white in (alone, both)]
    assert variance[1] == pytest.approx(variance[0] + 0.4**2)
    none = replace(exact.effects, slope_sd=np.zeros_like(exact.effects.slope_sd), scale_sd=0.0, theta_sd=0.4)
    assert not _spread(replace(theta, effects=none), network, rows.x).any()  # nothing to widen


def test_shuffled_labels_are_seen(theta: Theta) -> None:
    rng = np.random.default_rng(1)
    for seed in range(10):
        posted = honest_support(theta, 150, rng)
        shuffled = MarketRows(posted.rows.x, rng.permutation(posted.rows.y), "random")
        found = by_check(find_conflicts(theta, shuffled, posted.columns, seed))
        assert found["ranking"].p_value < 0.01
        assert found["move"].p_value < 0.01
        assert found["ranking"].column is None


@pytest.mark.parametrize("name", ["debt", "income"])
def test_a_column_with_its_sign_turned_round_is_seen_and_named(name: str, theta: Theta) -> None:
    rng = np.random.default_rng(2)
    for seed in range(10):
        turned = flipped(theta, honest_support(theta, 150, rng), name)
        conflict = by_check(find_conflicts(theta, turned.rows, turned.columns, seed))["column"]
        assert conflict.p_value < 0.01
        assert conflict.column == name
        assert f"'{name}'" in conflict.text


def test_labels_drawn_by_their_own_rate_are_compared_on_their_own_scale(theta: Theta) -> None:
    rng = np.random.default_rng(3)
    declared = DeclaredRate(0.25, 0.25, 0.25)
    accused = 0
    for seed in range(40):
        posted = honest_support(theta, 300, rng, level=0.0)
        bad = rng.permutation(np.flatnonzero(posted.rows.y == 1))[:25]
        chosen = np.r_[bad, rng.permutation(np.flatnonzero(posted.rows.y == 0))[:100]]
        rows = MarketRows(posted.rows.x[chosen], posted.rows.y[chosen], "case_control", declared)
        columns = {column: [values[i] for i in chosen] for column, values in posted.columns.items()}
        accused += any(c.p_value < 0.01 for c in find_conflicts(theta, rows, columns, seed))
    assert accused <= 5  # three tests at one in a hundred, 40 markets: 1.2 expected


def test_the_same_seed_gives_the_same_answer(theta: Theta) -> None:
    posted = honest_support(theta, 60, np.random.default_rng(4))
    first, again, other = (find_conflicts(theta, posted.rows, posted.columns, seed) for seed in (5, 5, 6))
    assert first == again
    assert [c.p_value for c in first] != [c.p_value for c in other]


def test_few_rows_or_one_class_say_nothing(theta: Theta) -> None:
    posted = honest_support(theta, 40, np.random.default_rng(5))
    few = {name: values[: MIN_ROWS - 1] for name, values in posted.columns.items()}
    y = np.resize([1.0, 0.0], MIN_ROWS - 1)
    assert find_conflicts(theta, MarketRows(posted.rows.x[: MIN_ROWS - 1], y, "random"), few, 0) == []
    for label in (0.0, 1.0):
        assert find_conflicts(theta, MarketRows(posted.rows.x, np.full(40, label), "random"), posted.columns, 0) == []
    enough = {name: values[:MIN_ROWS] for name, values in posted.columns.items()}
    y = np.resize([1.0, 0.0], MIN_ROWS)
    assert len(find_conflicts(theta, MarketRows(posted.rows.x[:MIN_ROWS], y, "random"), enough, 0)) == 3


def test_of_many_rows_some_are_looked_at(theta: Theta, monkeypatch) -> None:
    monkeypatch.setattr("meta.conflict.MAX_ROWS", 100)
    posted = honest_support(theta, 160, np.random.default_rng(6))
    found = find_conflicts(theta, posted.rows, posted.columns, 0)
    assert found == find_conflicts(theta, posted.rows, posted.columns, 0)
    assert len(found) == 3
    monkeypatch.setattr("meta.conflict.MAX_ROWS", MAX_ROWS)
    assert found != find_conflicts(theta, posted.rows, posted.columns, 0)


def test_a_p_value_counts_the_posted_labels_among_the_draws() -> None:
    assert _p_value(np.array([3.0, 1.0, 2.0, 4.0, 3.0])) == pytest.approx(3 / 5)
    assert _p_value(np.r_[9.0, np.zeros(N_DRAWS)]) == pytest.approx(1 / (N_DRAWS + 1))
    assert _p_value(np.full(N_DRAWS + 1, -np.inf)) == 1.0


def test_the_evidence_of_labels_is_what_integrating_gives() -> None:
    """A level and one effect: Laplace beside a sum over a fine grid of both."""
    rng = np.random.default_rng(10)
    white = rng.normal(0.0, 0.6, (60, 1))
    accounts = _Accounts(_levelled(rng.normal(size=(1, 60)), 12.0)[0], white)
    labels = (rng.random((200, 60)) < expit(accounts.in_markets(rng.normal(size=(200, 1))))).astype(np.float64)
    grid = np.linspace(-5.0, 5.0, 201)
    level, effect = (part.reshape(-1, 1) for part in np.meshgrid(grid, grid))
    logits = accounts.logits + LEVEL_SD * level + effect * white.T
    weight = -0.5 * (level**2 + effect**2)[:, 0]
    exact = logsumexp(labels @ logits.T - np.logaddexp(0.0, logits).sum(axis=1) + weight, axis=1) - logsumexp(weight)
    found = accounts.log_evidence(labels)
    np.testing.assert_allclose(found, exact, atol=0.7)
    assert (found - exact).std() < 0.05 * exact.std()  # what is common to all sets is lost in comparing them


def test_labels_by_chance_by_hand() -> None:
    labels = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    # posted one default in two: each account is a coin
    assert np.exp(_log_evidence_by_chance(labels)).tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 4])
    assert np.exp(_log_evidence_by_chance(np.array([[1.0, 0.0, 0.0, 0.0]]))).item() == pytest.approx(0.25 * 0.75**3)


def test_levels_are_set_by_the_number_of_defaults() -> None:
    logits = np.random.default_rng(8).normal(0.0, 2.0, (5, 40))
    found = _levelled(logits, 7.0)
    np.testing.assert_allclose((1.0 / (1.0 + np.exp(-found))).sum(axis=1), 7.0, rtol=1e-6)
    np.testing.assert_allclose(np.ptp(found - logits, axis=1), 0.0, atol=1e-12)  # the ranking is left alone


def test_labels_that_need_another_effect_than_thetas_are_no_fault_where_markets_have_it(theta: Theta) -> None:
    """The wider markets' effects are spread, the less a turned column proves."""
    turned = flipped(theta, honest_support(theta, 60, np.random.default_rng(9)), "debt")
    p_values = []
    for slope_sd in (0.05, 0.4, 1.6):
        effects = replace(theta.effects, slope_sd=np.full_like(theta.effects.slope_sd, slope_sd))
        found = by_check(find_conflicts(replace(theta, effects=effects), turned.rows, turned.columns, 0))
        p_values.append(found["column"].p_value)
    assert p_values == sorted(p_values)
    assert p_values[0] < 0.01 < p_values[-1]


def test_the_squared_move_by_hand() -> None:
    # one direction, two rows +-1 of weight 1/4: curvature 1/2, predictive variance of the pull 1/2 + 1/4; pull 1
    white, weight = np.array([[1.0], [-1.0]]), np.full(2, 0.25)
    assert _squared_moves(np.array([[0.5, -0.5]]), white, weight).tolist() == pytest.approx([1 / 0.75])
    assert _squared_moves(np.array([[0.5, -0.5]]), 0 * white, weight).tolist() == [0.0]


def test_a_column_is_turned_round_its_typical_value(theta: Theta) -> None:
    posted = honest_support(theta, 5, np.random.default_rng(7))
    found = dict(_mirrored(theta, posted.columns))
    assert list(found) == ["debt", "income"]
    for name, x in found.items():
        typical = theta.profiles.typical[name]
        turned = {**posted.columns, name: [2 * typical - value for value in posted.columns[name]]}
        np.testing.assert_allclose(x, theta.encoder.encode(turned), rtol=1e-6, atol=1e-6)
