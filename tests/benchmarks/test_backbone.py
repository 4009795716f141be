"""The backbone benchmark: fair folds, right statistics, networks that are what they say. Nothing is timed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from scipy.special import expit
from scipy.stats import chi2

from benchmarks.backbone import measure, report, run
from benchmarks.backbone.candidates import CANDIDATES, CHOSEN
from benchmarks.backbone.folds import Fold, Part, make_folds, stopping_markets
from benchmarks.backbone.measure import Predicted, Score, differences, loss_at_level, luck, reported_markets, verdict
from benchmarks.backbone.networks import Additive, LastLayerHead, Periodic, WithoutLinear
from benchmarks.backbone.report import claims, write_report
from benchmarks.backbone.run import Cell, Setting, run_world
from benchmarks.backbone.worlds import WORLDS
from benchmarks.few_shot.statistics import Difference
from meta.nets import Ensemble
from meta.source import SourceTable
from meta.types import Column

N_MARKETS, N_ROWS = 9, 120


@pytest.fixture(scope="module")
def table() -> SourceTable:
    """Nine markets; risk rises with `debt`, which has gaps, and for renters."""
    rng = np.random.default_rng(0)
    market = np.repeat([f"m{i}" for i in range(N_MARKETS)], N_ROWS)
    debt, home = rng.normal(size=len(market)), rng.choice(["own", "rent"], len(market))
    defaulted = rng.random(len(market)) < expit(-1.0 + debt + 0.8 * (home == "rent"))
    debt[rng.random(len(market)) < 0.1] = np.nan
    frame = pandas.DataFrame({"debt": debt, "home": home, "market": market, "defaulted": defaulted})
    columns = [Column("debt", "numeric"), Column("home", "categorical")]
    return SourceTable.from_frame(columns, frame.assign(row_id=np.arange(len(frame))))


@pytest.fixture(scope="module")
def fold(table: SourceTable) -> Fold:
    return next(make_folds(table, {"debt": 1}, seed=0))


def _score(losses: list[list[float]]) -> Score:
    return Score(np.array(losses), np.array(losses), auc=0.7, slope=1.0, seconds=1.0, n_steps=100.0)


def test_every_market_is_asked_once_and_what_stops_or_teaches_is_of_others(table: SourceTable) -> None:
    folds = list(make_folds(table, {}, seed=0))
    assert sorted(np.concatenate([np.unique(f.asked.market) for f in folds])) == sorted(np.unique(table.market))
    for fold in folds:
        parts = [set(part.market) for part in (fold.learn, fold.stop, fold.asked)]
        assert all(parts)
        assert len(set.union(*parts)) == sum(map(len, parts)) == N_MARKETS


def test_a_market_too_large_to_spare_stops_nothing() -> None:
    sizes = {"huge": 5000} | {f"m{i}": 250 for i in range(20)}
    for seed in range(20):
        chosen = stopping_markets(sizes, 0.15, np.random.default_rng(seed))
        assert "huge" not in chosen
        assert sum(sizes[name] for name in chosen) == 1500


def test_a_markets_level_costs_nothing_but_its_prior() -> None:
    y = np.array([1.0, 0.0, 0.0, 0.0] * 500)
    right = loss_at_level(np.full(2000, np.log(1 / 3)), y)
    assert loss_at_level(np.full(2000, np.log(1 / 3) + 0.2), y) == pytest.approx(right, abs=1e-4)
    assert loss_at_level(np.full(2000, np.log(1 / 3) + 4.0), y) > right + 0.001


def test_small_markets_and_those_of_one_outcome_are_not_reported() -> None:
    market = np.repeat(["few", "goods", "mixed"], [measure.MIN_ROWS - 1, 150, 150])
    y = np.where(market == "goods", 0.0, np.arange(len(market)) % 5 == 0).astype(np.float64)
    found = reported_markets(np.arange(len(market), dtype=np.float64), y, market)
    assert [m.name for m in found] == ["mixed"]
    np.testing.assert_array_equal(found[0].logits, np.flatnonzero(market == "mixed"))


def test_slope_and_stretched_losses_undo_what_one_number_can() -> None:
    rng = np.random.default_rng(0)
    logits, market = rng.normal(-1.5, 1.0, 8000), np.repeat(list("abcd"), 2000)
    y = (rng.random(8000) < expit(logits)).astype(np.float64)
    right = measure.score(Predicted(logits[None], y, market))
    shy = measure.score(Predicted(-1.5 + 0.8 * (logits[None] + 1.5), y, market))
    assert shy.slope == pytest.approx(right.slope / 0.8, rel=1e-3)
    assert shy.auc == right.auc
    assert shy.losses.shape == (1, 4)
    np.testing.assert_allclose(shy.stretched, right.stretched, atol=1e-4)
    assert shy.losses.mean() > right.losses.mean()


def test_the_auc_weighs_markets_by_their_defaults() -> None:
    y = np.array(([1.0] + [0.0] * 3) * 50 + [1.0] + [0.0] * 199)
    market = np.repeat(["many", "one"], 200)
    logits = np.where(market == "many", y, -y) + 0.0  # right in the one, wrong in the other
    assert measure.score(Predicted(logits[None], y, market)).auc == pytest.approx(50 / 51)


def test_differences_are_paired_and_have_none_to_themselves() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.4, 0.1, (2, 30))  # markets differ by far more than candidates do
    scores = {"base": _score(base.tolist()), "other": _score((base - 0.001).tolist())}
    found = differences(scores, "base")
    assert found["base"] == Difference(0.0, 0.0, 0.0, 30)
    assert (found["other"].mean, found["other"].n_markets) == (pytest.approx(-0.001), 30)
    assert -0.0011 < found["other"].low <= found["other"].high < -0.0009


def test_the_luck_of_the_starts_widens_intervals() -> None:
    even = np.zeros((2, 30))
    gap = even + np.array([[0.001], [-0.001]])
    usual = 0.001 / np.sqrt(chi2.median(1))  # the starts' sd is 0.00141, over the root of 2
    assert luck({"base": even, "other": gap}) == {"base": 0.0, "other": pytest.approx(usual)}
    assert luck({"base": even[:1], "other": gap[:1]}) == {"base": 0.0, "other": 0.0}
    found = differences({"base": _score(even.tolist()), "other": _score(gap.tolist())}, "base")["other"]
    assert (found.low, found.high) == (pytest.approx(-1.96 * usual), pytest.approx(1.96 * usual))


def test_one_candidate_of_bad_luck_widens_its_own_interval_alone() -> None:
    even, apart = np.zeros((2, 30)), np.array([[1.0], [-1.0]])
    steady = {str(i): even + 0.001 * apart for i in range(4)}
    found = luck({"base": even, "wild": even + apart, **steady})
    assert found["wild"] == pytest.approx(1.0)
    assert found["0"] == pytest.approx(0.001 / np.sqrt(chi2.median(1)))


def test_what_stops_is_blind_to_the_levels_of_its_markets() -> None:
    rng = np.random.default_rng(0)
    market, logits = np.repeat(["a", "b"], 4000), rng.normal(-1.0, 1.0, 8000)
    y = (rng.random(8000) < expit(logits)).astype(np.float64)
    part = Part(np.empty((8000, 0), np.float32), y, market)
    assert part.loss(logits + np.where(market == "a", 0.3, -0.3)) == pytest.approx(part.loss(logits), abs=1e-4)
    assert part.loss(0.5 * logits) > part.loss(logits) + 0.005


def test_better_means_in_two_worlds_and_worse_in_none() -> None:
    better, worse, even = (Difference(m, m - 1.0, m + 1.0, 9) for m in (-2.0, 2.0, 0.5))
    assert verdict({"a": better, "b": better, "c": even}) == "better"
    assert verdict({"a": better, "b": even, "c": even}) == "even"
    assert verdict({"a": better, "b": better, "c": worse}) == "even"
    assert verdict({"a": worse, "b": worse, "c": even}) == "worse"


@pytest.mark.parametrize(
    "build",
    [
        lambda e: WithoutLinear(e.n_features, (4, 4), 2),
        lambda e: LastLayerHead(e.n_features, (4, 4), 2),
        lambda e: Periodic.over(e, (4, 4), 2),
        lambda e: Additive.over(e),
    ],
)
def test_networks_answer_a_logit_a_row_and_every_weight_learns(fold: Fold, build) -> None:
    network, x = build(fold.encoder), torch.from_numpy(fold.learn.x[:64])
    params = {n: v.requires_grad_() for n, v in network.init(torch.Generator().manual_seed(0)).items()}
    logits = network.readout(network.forward(params, x, 0.2, torch.Generator().manual_seed(0)))
    assert logits.shape == (64,)
    (logits * torch.linspace(-1, 1, 64)).sum().backward()
    assert all(v.grad is not None and v.grad.abs().sum() > 0 for v in params.values())


def test_ensembles_with_a_part_left_out_are_the_ensemble_otherwise(fold: Fold) -> None:
    n, x = fold.encoder.n_features, torch.from_numpy(fold.learn.x[:16])
    whole = Ensemble(n, (4, 6), 2)
    params = whole.init(torch.Generator().manual_seed(0))
    params["wide"] = torch.ones(n)
    bare = WithoutLinear(n, (4, 6), 2)
    narrow = {name: value for name, value in params.items() if name != "wide"}
    torch.testing.assert_close(bare.forward(narrow, x) + x.sum(1, keepdim=True), whole.forward(params, x))
    blind = {**params, "head_w": torch.cat([torch.zeros(2, 4), params["head_w"][:, 4:]], dim=1)}
    last = {**params, "head_w": params["head_w"][:, 4:]}
    torch.testing.assert_close(LastLayerHead(n, (4, 6), 2).forward(last, x), whole.forward(blind, x))


def test_additive_contributions_add_up_and_know_one_column_each(fold: Fold) -> None:
    network, x = Additive.over(fold.encoder), torch.from_numpy(fold.learn.x[:32])
    params = network.init(torch.Generator().manual_seed(0))
    params["wide"] = torch.linspace(-1, 1, network.n_inputs)
    parts = network.contributions(params, x)
    torch.testing.assert_close(parts.sum(1) + params["head_b"], network.readout(network.forward(params, x)))
    other = x.clone()
    other[:, torch.from_numpy(fold.encoder.column_of_slot == 0)] = 0.5
    moved = network.contributions(params, other) - parts
    assert moved[:, 1].abs().max() == 0 < moved[:, 0].abs().max()


def test_the_periodic_network_sees_numbers_through_their_rank_alone(fold: Fold) -> None:
    network = Periodic.over(fold.encoder, (4,), 2)
    assert network.inner.n_inputs == len(network.kept) + 8
    assert set(network.bins.ravel().tolist()) | set(network.kept.tolist()) == set(range(fold.encoder.n_features))
    x = torch.from_numpy(fold.learn.x)
    rank = x[:, network.bins].sum(-1) / network.n_real
    assert rank.min() >= 0
    assert rank.max() <= 1


def test_signed_trees_keep_to_the_declared_direction(fold: Fold) -> None:
    against = replace(fold, signs={"debt": -1})
    with_it, opposed = (np.corrcoef(f.signed_teacher.pds, fold.teacher.pds)[0, 1] for f in (fold, against))
    assert with_it > 0.8 > opposed


def test_what_was_done_is_taken_up_and_what_is_not_installed_is_left_out(
    table: SourceTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fit(candidate: str, fold: Fold, start: int) -> Cell:
        calls.append((candidate, fold.number, start))
        if candidate == "LightGBM":
            raise ImportError("no lightgbm")
        return Cell(np.full(len(fold.asked.y), float(start)), 1.0, 7)

    monkeypatch.setattr(run, "fit_cell", fit)
    monkeypatch.setitem(WORLDS, "synthetic", replace(WORLDS["synthetic"], read=lambda folder, seed: table))
    for _ in range(2):
        found = run_world("synthetic", [CHOSEN, "LightGBM"], tmp_path, tmp_path, Setting(n_starts=2))
        assert list(found) == [CHOSEN]
    assert found[CHOSEN].logits.shape == (2, N_MARKETS * N_ROWS)
    assert (found[CHOSEN].logits[1] == 1.0).all()
    assert [call[0] for call in calls].count(CHOSEN) == 6


@pytest.mark.parametrize("name", ["histogram boosting, monotone", "ridge logistic, additive", "additive network"])
def test_candidates_rank_markets_that_they_have_not_seen(
    fold: Fold, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.backbone import training

    monkeypatch.setattr(training, "SCHEDULE", replace(training.SCHEDULE, n_steps=40, validate_every=20, warmup=2))
    found = run.fit_cell(name, fold, 0)
    assert measure.auc(fold.asked.y, found.logits) > 0.65


def test_the_report_names_what_is_best_and_says_so_of_no_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0.4, 0.1, (2, 12))
    moves = {CHOSEN: 0.0, "LightGBM": 0.002, "without teacher": -0.001, "width 128": 0.0}
    scores = {
        world: {name: _score((base + move + rng.normal(0, 1e-5, base.shape)).tolist()) for name, move in moves.items()}
        for world in ("sba_states", "synthetic")
    }
    said = write_report(scores, Setting(), tmp_path)
    assert "Better in log loss beyond the interval in two worlds and worse in none: without teacher." in said
    assert "is **not** borne out" in said
    assert "Leaving out the teacher: worse in 0, better in 2 of 2 worlds" in said
    text = (tmp_path / "backbone.md").read_text()
    assert "| LightGBM | **+20.0 [" in text
    assert (tmp_path / "backbone.png").stat().st_size > 0
    kept = {world: {n: s for n, s in by_name.items() if n != "without teacher"} for world, by_name in scores.items()}
    assert "teacher's share of 0.5, stands" in write_report(kept, Setting(), tmp_path)
    gaps = {world: differences(by_name, CHOSEN) for world, by_name in scores.items()}
    assert claims(gaps, gaps)[0].startswith("**SBA, US states** (12 markets): lowest loss: without teacher")
    assert set(report.PARTS) <= set(CANDIDATES)
