"""The study of the open question: a fair design, fits that converge, sums done by hand. Nothing is timed."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from scipy.special import expit, logit

from app.domain.recipes import ThetaRecipe
from benchmarks.few_shot.data import Rows
from benchmarks.open_question import networks, summary, trees
from benchmarks.open_question.contestants import METHODS, POOLED, SCRATCH, TREES, Recipes
from benchmarks.open_question.design import ALL, Design, folds_of, labels_of, samples_of, split_test
from benchmarks.open_question.networks import Network, plan_of
from benchmarks.open_question.report import write_report
from benchmarks.open_question.run import choose, judged, run_world
from benchmarks.open_question.summary import Estimate, differences, ends_at, estimate, levels, reached_with
from benchmarks.open_question.trees import Trees, TreesWithSource
from benchmarks.open_question.worlds import TOGETHER, Target, World, cut, synthetic_world
from meta.pooled import AbsenceTeacher

SMALL = Design(sizes=(50, 120), n_seeds=2)
TINY = {"n_members": 2, "width": 4, "n_folds": 2, "pooled_steps": 12, "outer_steps": 3, "teacher_share": 0.0}


def _rows(n: int, seed: int = 0, markets: tuple[str, ...] = ("a", "b")) -> Rows:
    """Risk rises with `debt` and for renters."""
    rng = np.random.default_rng(seed)
    features = pandas.DataFrame({"debt": rng.normal(size=n), "home": rng.choice(["own", "rent"], n)})
    pd = expit(-1.0 + 1.5 * features["debt"] + 0.8 * (features["home"] == "rent")).to_numpy()
    return Rows(features, (rng.random(n) < pd).astype(np.float64), rng.choice(markets, n))


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(seed=0, n_targets=2, target_rows=300, n_source=6, source_rows=150, together=True)


def test_targets_are_the_largest_markets_and_no_source_row_is_of_them() -> None:
    rows = _rows(600, markets=("a", "b", "b", "c", "c", "c"))
    found = cut("w", rows, n_targets=2)
    assert list(found.targets) == ["c", "b", TOGETHER]
    assert set(found.source.market) == {"a"}
    assert len(found.targets[TOGETHER].rows) == len(found.targets["b"].rows) + len(found.targets["c"].rows)


def test_markets_of_the_synthetic_world_share_no_draws(world: World) -> None:
    income = np.concatenate([world.source.features["income"], world.targets[TOGETHER].rows.features["income"]])
    debts = np.concatenate([world.source.features["dti"], world.targets[TOGETHER].rows.features["dti"]])
    known = ~(np.isnan(income) | np.isnan(debts))
    assert len(np.unique(np.stack([income, debts])[:, known], axis=1).T) > 0.99 * known.sum()
    true_pd = world.targets[TOGETHER].true_pd
    assert true_pd is not None
    assert true_pd.mean() == pytest.approx(world.targets[TOGETHER].rows.y.mean(), abs=0.05)


def test_judged_rows_are_never_learned_from_and_the_same_alone_and_pooled() -> None:
    rows = _rows(500)
    pool, test = split_test(rows, SMALL)
    assert sorted(np.concatenate([pool, test])) == list(range(500))
    for market in ("a", "b"):
        inside = np.flatnonzero(rows.market == market)
        _, alone = split_test(rows.at(inside), SMALL)
        assert set(inside[alone]) == set(test) & set(inside)
        assert rows.y[inside[alone]].mean() == pytest.approx(rows.y[inside].mean(), abs=0.01)
    for seed in range(3):
        for sample in samples_of(pool, "t", seed, SMALL):
            assert not set(sample.rows) & set(test)


def test_larger_samples_begin_with_the_smaller_and_seeds_differ() -> None:
    pool = np.arange(100, 400)
    first, second = (samples_of(pool, "t", seed, SMALL) for seed in (0, 1))
    assert [sample.size for sample in first] == ["50", "120", ALL]
    for small, large in pairwise(first):
        np.testing.assert_array_equal(large.rows[: len(small.rows)], small.rows)
    assert sorted(first[-1].rows) == pool.tolist()
    assert set(first[0].rows) != set(second[0].rows)
    assert [s.size for s in samples_of(pool[:140], "t", 0, SMALL)] == ["50", ALL]  # 120 are nearly all


@pytest.mark.parametrize(("n", "n_folds"), [(50, 4), (1000, 2), (9000, 1)])
def test_rows_that_watch_are_not_trained_on(n: int, n_folds: int) -> None:
    folds = folds_of(n)
    assert len(folds.train) == len(folds.watched) == n_folds
    for train, watched in zip(folds.train, folds.watched, strict=True):
        assert sorted(np.concatenate([train, watched])) == list(range(n))
    assert len(np.unique(folds.watched)) == folds.watched.size


def test_a_network_converges_on_the_truth_and_says_when_it_was_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, new = _rows(1200), _rows(2000, seed=1)
    monkeypatch.setattr(networks, "WIDTHS", (16, 16))
    found = Network().fit(rows, 1.6e-2, seed=0)
    truth = -1.0 + 1.5 * new.features["debt"] + 0.8 * (new.features["home"] == "rent")
    assert np.corrcoef(found.score(new.features), truth)[0, 1] > 0.95
    assert not found.capped
    assert found.n_steps > 0
    monkeypatch.setattr(networks, "STEPS", (40, 40))
    assert Network().fit(rows, 1e-4, seed=0).capped


def test_a_run_stops_after_so_many_checks_without_a_new_best() -> None:
    rows = _rows(60)
    noise = Rows(rows.features, np.random.default_rng(3).permutation(rows.y), rows.market)
    state, plan = networks._converge(Network()._encoded(noise), folds_of(60), 1.6e-2, seed=0)
    assert state.step == state.best_step + networks.PATIENCE * plan.validate_every < plan.n_steps


def test_plans_grow_with_rows_within_bounds() -> None:
    assert plan_of(30, 1e-3).n_steps == networks.STEPS[0]
    assert plan_of(10 * 128, 1e-3).n_steps == networks.EPOCHS * 10
    assert plan_of(10**6, 1e-3).n_steps == networks.STEPS[1]


def test_folds_run_side_by_side_as_they_would_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "DROPOUT", 0.0)  # which is drawn for all folds at once, as are values to hide
    monkeypatch.setattr(AbsenceTeacher, "hide", lambda self, x, generator: x)
    rows = _rows(80)
    encoded = Network()._encoded(rows)
    places = np.stack([np.arange(40), np.arange(40, 80)])
    both, alone = networks._Batches(encoded, places, 0), networks._Batches(encoded, places[1:], 0)
    together, single = both.gradient_at(both.start(), 0), alone.gradient_at(alone.start(), 0)
    for name, gradient in single.gradient.items():
        torch.testing.assert_close(together.gradient[name][1], gradient[0], rtol=1e-4, atol=1e-6)


def test_trees_choose_no_round_where_there_is_nothing_to_learn() -> None:
    rows = _rows(50)
    one_class = Rows(rows.features, np.zeros(50), rows.market)
    found = Trees().fit(one_class, (4, 10), seed=0)
    assert found.score(rows.features) == pytest.approx(logit(0.5 / 51))
    assert found.n_steps == 0
    assert Trees().fit(_rows(800), (4, 10), seed=0).n_steps > 10


def test_trees_with_source_rows_find_a_targets_own_level() -> None:
    source, rows = _rows(2000, seed=2, markets=tuple("abcdef")), _rows(400, seed=3)
    riskier = Rows(rows.features, np.maximum(rows.y, np.random.default_rng(0).random(400) < 0.5), rows.market)
    found = TreesWithSource(source, 0).fit(riskier, 4.0, seed=0)
    assert expit(found.score(riskier.features)).mean() == pytest.approx(riskier.y.mean(), abs=0.05)


def test_excess_is_the_expected_loss_above_that_of_the_truth() -> None:
    rows = _rows(4)
    target = Target("t", Rows(rows.features, np.array([0.0, 1.0, 0.0, 1.0]), rows.market), np.full(4, 0.5))
    found = judged(target, np.arange(4), logit(np.array([0.2, 0.5, 0.5, 0.5])))
    by_hand = (0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8)) / 4
    assert found["excess"] == pytest.approx(by_hand)
    assert found["log_loss"] == pytest.approx(-(np.log(0.8) + 3 * np.log(0.5)) / 4)
    assert found["auc"] == pytest.approx(0.75)  # of four pairs, two are tied


def test_sizes_are_chosen_for_by_all_targets_together_and_all_rows_by_each() -> None:
    class Watcher:
        seen: list[tuple[int, float]] = []  # noqa: RUF012 - of this test alone

        def choices(self) -> tuple[float, float]:
            return 1.0, 2.0

        def watch(self, rows: Rows, choice: float, seed: int) -> float:
            self.seen.append((len(rows), choice))
            likes = 2.0 if len(rows) == 50 or len(rows) > 350 else 1.0
            return abs(choice - likes)

    found = choose(Watcher(), cut("w", _rows(600), 2), Design(sizes=(50,)))  # type: ignore[arg-type]
    assert {by_size["50"]["choice"] for by_size in found.values()} == {2.0}
    assert {name: by_size[ALL]["choice"] for name, by_size in found.items()} == {"a": 1.0, "b": 1.0, TOGETHER: 2.0}
    assert sum(n == 50 for n, _ in Watcher.seen) == 2 * 3  # two choices, two markets and their rows together


def _cells(values: dict[str, dict[str, list[float]]]) -> pandas.DataFrame:
    """values: method -> size -> a loss a seed, the same for two markets but for 0.1 more in the second."""
    return pandas.DataFrame(
        {"method": method, "size": size, "market": market, "seed": seed, "log_loss": loss + 0.1 * (market == "b")}
        for method, sizes in values.items()
        for size, losses in sizes.items()
        for market in ("a", "b")
        for seed, loss in enumerate(losses)
    )


def test_differences_are_paired_by_market_and_seed() -> None:
    cells = _cells({"x": {"50": [0.5, 0.7], ALL: [0.3, 0.3]}, "y": {"50": [0.4, 0.6], ALL: [0.3, 0.3]}})
    gaps = differences(cells, "x", "y", "log_loss")
    assert list(gaps) == ["50", ALL]
    assert (gaps["50"].mean, gaps["50"].low, gaps["50"].high) == pytest.approx((0.1, 0.1, 0.1))
    assert gaps["50"].n_markets == 2
    assert ends_at(gaps) == ALL
    assert levels(cells, "x", "log_loss")["50"].mean == pytest.approx(0.65)
    assert reached_with(cells, "x", 0.35, "log_loss") == ALL
    assert reached_with(cells, "x", 0.1, "log_loss") is None


def test_intervals_resample_markets_and_their_seeds() -> None:
    between = estimate(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert (between.mean, between.low, between.high) == (0.5, 0.0, 1.0)
    rng = np.random.default_rng(0)
    one = estimate(rng.normal(size=(1, 400)))
    assert one.high - one.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_a_difference_ends_where_it_is_never_shown_again() -> None:
    far, near = Estimate(0.1, 0.05, 0.15, 4), Estimate(0.01, -0.01, 0.02, 4)
    small = Estimate(0.0004, 0.0001, 0.0007, 4)
    assert ends_at({"50": near, "200": far, "1000": near}) == "1000"
    assert ends_at({"50": far, "200": small}) is None
    assert ends_at({"50": far, "200": small}, margin=0.001) == "200"
    assert labels_of([ALL, "200", "50"]) == ["50", "200", ALL]


def test_the_whole_study_on_a_tiny_world_twice(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, small in {"STEPS": (6, 6), "N_CHECKS": 2, "MEMBERS": 2, "WIDTHS": (4, 4), "STEP_SIZES": (1e-2,)}.items():
        monkeypatch.setattr(networks, name, small)
    monkeypatch.setattr(trees, "SHAPES", ((2, 5),))
    monkeypatch.setattr(trees, "WEIGHTS", (1.0,))
    monkeypatch.setattr(summary, "N_RESAMPLES", 50)
    recipes = Recipes(ThetaRecipe(**TINY), ThetaRecipe(learner="maml", **TINY))  # type: ignore[arg-type]
    design = Design(sizes=(50,), n_seeds=1)
    cells = run_world(world, design, tmp_path / "runs", METHODS, recipes)
    assert len(cells) == (1 + 1 + 2) * 2 * len(METHODS)  # two markets and both together, judged by market; two sizes
    assert cells[["log_loss", "auc", "excess"]].notna().all(axis=None)
    shared = cells.groupby("method")["shared_seconds"].max()
    assert shared[SCRATCH] == shared[TREES] == 0 < shared[POOLED]
    again = run_world(world, design, tmp_path / "runs", METHODS, recipes)  # everything is taken up from files
    pandas.testing.assert_frame_equal(cells.drop(columns="shared_seconds"), again.drop(columns="shared_seconds"))
    kept = run_world(world, Design(sizes=(50,), n_seeds=3), tmp_path / "runs", METHODS, recipes, kept_only=True)
    assert len(kept) == len(cells)  # the other two seeds have not been run
    answer = write_report(cells, tmp_path)
    assert "Synthetic" in answer
    assert {file.name for file in tmp_path.glob("open_question*")} >= {"open_question.md", "open_question.csv"}
    with pytest.raises(ValueError, match="another design"):
        run_world(world, Design(sizes=(60,)), tmp_path / "runs", METHODS, recipes)
