"""The comparison of learners: the same start and supports for each, costs that count, no hole in the tables."""

import numpy as np
import pandas
import pytest
from scipy.special import expit

from app.domain.recipes import ThetaRecipe
from benchmarks.families.measure import NO_EPISODES, THETA_LEVEL, World, measure, measure_at_rest, measure_costs
from benchmarks.families.report import learners_of, write_report
from benchmarks.few_shot.data import Rows
from benchmarks.few_shot.design import CASE_CONTROL, RANDOM, Design

TINY = {"pooled_steps": 20, "outer_steps": 2, "n_folds": 2, "n_members": 2, "width": 8, "meta_batch": 2}
DESIGN = Design(n_supports=(20, 50), n_defaults=(12,), rate_factors=(1.0,), n_draws=2, min_query=60)


def some_market(name: str, seed: int, n_rows: int = 160) -> Rows:
    rng = np.random.default_rng(seed)
    debt, home = rng.normal(size=n_rows), rng.choice(["own", "rent"], n_rows)
    y = (rng.random(n_rows) < expit(-1 + debt)).astype(float)
    return Rows(pandas.DataFrame({"debt": debt, "home": home}), y, np.full(n_rows, name))


@pytest.fixture(scope="module")
def world() -> World:
    rows = some_market("m0", 0)
    for number in range(1, 6):
        rows = rows.beside(some_market(f"m{number}", number))
    return World.of(rows, seed=0)


def recipe_of(learner: str) -> ThetaRecipe:
    return ThetaRecipe.model_validate(TINY | {"learner": learner})


def test_learners_share_the_pooled_start(world: World) -> None:
    first, _, _ = world.learn(recipe_of("maml"))
    shared = dict(world.pooled)
    assert sorted(shared) == ["all markets: pooled rows", "fold 1 of 2: pooled rows", "fold 2 of 2: pooled rows"]
    second, report, _ = world.learn(recipe_of("reptile"))
    assert all(world.pooled[name] is done for name, done in shared.items())
    assert report["learner"]["learner"] == "reptile"
    alone, _, _ = World(world.table, world.schema_sha256, 0, {}).learn(recipe_of("reptile"))
    assert alone.pack() == second.pack()
    assert first.pack() != second.pack()


def test_cells_are_those_of_the_design_and_their_losses_those_of_the_service(world: World) -> None:
    theta, _, _ = world.learn(recipe_of("maml"))
    market = some_market("new", 9, 300)
    found = measure(theta, [market], DESIGN)
    sizes = found.groupby(["design", "size"])["draw"].nunique().to_dict()
    assert sizes == {(CASE_CONTROL, 12): 2, (RANDOM, 20): 2, (RANDOM, 50): 2}
    assert set(found["n_support"]) == {20, 50, 60}
    rest = measure_at_rest(theta, [market], DESIGN)
    assert rest.groupby("draw")["log_loss"].nunique().tolist() == [1, 1]
    level = measure(theta, [market], DESIGN, inner_steps=0)
    assert set(level["share"]) == {0.0}
    assert not np.allclose(level["log_loss"], rest["log_loss"])


def test_costs_count_what_a_market_moves(world: World) -> None:
    theta, _, _ = world.learn(recipe_of("map_bayes"))
    found = measure_costs(theta, some_market("new", 9, 300), DESIGN)
    # a slope for each free input, the scale, the shift and the level; the network itself stays
    assert 3 <= found["n_moved"] <= len(theta.effects.slots) + 3
    assert found["n_bytes"] > 1000
    assert min(found["adapt_ms"], found["score_us"], found["scores_a_second"]) > 0


def made_up(gains: dict[str, float]) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Cells of three markets in which each method is better than theta by its gain."""
    base = {"split": 0, "rate_factor": 0.0, "n_support": 50, "n_defaults": 9, "share": 1.0}
    rows = [
        {"world": "sba_states", "method": name, "market": market, "draw": 0, "design": design, "size": size}
        | {"log_loss": 0.4 + 0.01 * place - gain, "auc": 0.7 + gain}
        | base
        for name, gain in gains.items()
        for place, market in enumerate("abc")
        for design, size in ((RANDOM, 50), (CASE_CONTROL, 12))
    ]
    numbers = {"adapt_ms": 1.0, "score_us": 2.0, "scores_a_second": 3.0, "n_bytes": 1024.0, "n_moved": 5.0}
    strength = {"n_defaults": [5.0, 50.0], "share": [0.0, 1.0]}
    used = {"inner_lr": 0.5, "inner_steps": 3, "outer_lr": 0.001, "outer_steps": 40, "strength": strength}
    costs = [
        {"world": "sba_states", "split": 0, "method": name, "pooled_s": 60.0, "learnt_s": 7.0, "used": used} | numbers
        for name in gains
        if name != THETA_LEVEL
    ]
    return pandas.DataFrame(rows), pandas.DataFrame(costs)


def test_the_report_ranks_learners_by_what_they_gain(tmp_path) -> None:
    cells, costs = made_up({NO_EPISODES: 0.0, THETA_LEVEL: 0.001, "maml": 0.002, "map_bayes": 0.004})
    assert learners_of(cells) == ["map_bayes", "maml"]
    told = write_report(cells, costs, DESIGN, tmp_path)
    assert "| map_bayes | -0.0030 [-0.0030, -0.0030] | -0.0030 | 1.0 | 0% |" in told
    text = (tmp_path / "families.md").read_text()
    assert "| maml | 7 | 1.0 | 2 | 3 | 1 | 5 |" in text
    assert "| maml | 0.5 | 3 | 0.001 | 40 | 0.16, 0.44, 1.00 |" in text
    assert (tmp_path / "families.png").stat().st_size > 1000


def test_a_hole_in_the_tables_is_a_fault(tmp_path) -> None:
    cells, costs = made_up({NO_EPISODES: 0.0, THETA_LEVEL: 0.001, "maml": 0.002})
    holed = cells[(cells["method"] != "maml") | (cells["design"] == RANDOM)]
    with pytest.raises(ValueError, match="lack cells"):
        write_report(holed, costs, DESIGN, tmp_path)
