"""Thetaprime and its own network as methods of the few-shot harness, on a theta that is trained in a moment."""

import numpy as np
import pandas
import pytest
from scipy.special import expit

from app.domain.recipes import ThetaRecipe
from benchmarks.few_shot.data import Rows
from benchmarks.few_shot.design import Design, Setting, make_draws
from benchmarks.few_shot.finetuned import FineTuned
from benchmarks.few_shot.rival import SourceMarkets
from benchmarks.few_shot.thetaprime import (
    GUARDED,
    THETA,
    THETA_DECLARED,
    THETA_LEVEL,
    THETA_PRIME,
    OtherLearner,
    Thetaprime,
    mean_pd_range,
)

RECIPE = ThetaRecipe(pooled_steps=20, outer_steps=2, n_folds=2, n_members=2, width=8, meta_batch=2)
DESIGN = Design(n_supports=(40,), n_defaults=(12,), n_draws=1, min_query=50, rehearsed_supports=(40,), n_rehearsed=4)
CHOSEN, DECLARED = Setting("random", 40), Setting("case_control", 12, 1.33)


def _market(name: str, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    debt, home = rng.normal(size=160), rng.choice(["own", "rent"], 160)
    y = (rng.random(160) < expit(-1 + debt)).astype(float)
    return Rows(pandas.DataFrame({"debt": debt, "home": home}), y, np.full(160, name))


@pytest.fixture(scope="module")
def source() -> SourceMarkets:
    rows = _market("m0", 0)
    for number in range(1, 6):
        rows = rows.beside(_market(f"m{number}", number))
    return SourceMarkets(rows, DESIGN)


def test_a_declared_rate_moves_thetas_mean_pd_to_it_and_no_label_is_needed(source: SourceMarkets) -> None:
    method, market = Thetaprime(RECIPE), _market("new", 9)
    method.learn(source)
    method.meet(market.features)
    (draw,) = make_draws("new", market.y, DESIGN, 1)
    cells = dict(draw.cells)
    drawn = method.pds(cells[CHOSEN], draw.query)
    assert set(drawn) == {THETA, THETA_LEVEL, THETA_PRIME, GUARDED}
    selected = method.pds(cells[DECLARED], draw.query)
    everyone = method.pds(cells[DECLARED], np.arange(160))[THETA_DECLARED]
    assert everyone.mean() == pytest.approx(1.33 * market.y.mean())
    np.testing.assert_array_equal(selected[THETA_DECLARED], everyone[draw.query])
    np.testing.assert_array_equal(selected[THETA], drawn[THETA])
    assert any(np.array_equal(selected[GUARDED], selected[name]) for name in (THETA, THETA_PRIME))


def test_other_learners_are_methods_of_their_own(source: SourceMarkets) -> None:
    method, market = OtherLearner("reptile", RECIPE), _market("new", 9)
    assert method.learn(source)["recipe"]["learner"] == "reptile"
    method.meet(market.features)
    (draw,) = make_draws("new", market.y, DESIGN, 1)
    found = method.pds(dict(draw.cells)[CHOSEN], draw.query)
    assert set(found) == {"learner: reptile", "learner: reptile, guarded"}
    assert method.mean_pd_ranges(draw.query) == {}


def test_fine_tuning_starts_at_theta_and_steps_away_from_it(source: SourceMarkets) -> None:
    method, market = FineTuned(RECIPE), _market("new", 9)
    chosen = method.learn(source)
    assert chosen["steps"]["40"] in FineTuned.STEPS
    assert np.isfinite(chosen["rehearsed"][method.names[0]]).all()
    method.meet(market.features)
    (draw,) = make_draws("new", market.y, DESIGN, 1)
    posted = dict(draw.cells)[CHOSEN]
    still, moved = method.market.pds(posted, draw.query, (0, 30), lr=1e-2)
    level = method.market.level
    np.testing.assert_allclose(still, expit(level.logits[draw.query] + level.given(posted)), atol=1e-6)
    assert np.abs(moved - still).max() > 1e-3


class _Stated:
    """A predictor that states ranges, whole or a row."""

    def __init__(self, **functions: object) -> None:
        self.__dict__ |= functions


def test_ranges_are_those_that_theta_states() -> None:
    whole = _Stated(mean_pd_range=lambda columns: (0.1, 0.2), pd_range=None)
    assert mean_pd_range(whole, {}) == (0.1, 0.2)
    by_row = _Stated(pd_range=lambda columns: (np.array([0.1, 0.3]), np.array([0.5, 0.7])))
    assert mean_pd_range(by_row, {}) == (pytest.approx(0.2), pytest.approx(0.6))
    for silent in (_Stated(), _Stated(mean_pd_range=lambda columns: (None, None))):
        assert np.isnan(mean_pd_range(silent, {})).all()
