"""The imputation benchmark: gaps, metrics and rivals by hand, a run that resumes, a report that says what failed."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from benchmarks.few_shot.data import Rows
from benchmarks.imputation import enriched, generated, miwae
from benchmarks.imputation import run as running
from benchmarks.imputation.chained import fit_chained
from benchmarks.imputation.coverage import CoverageJob, coverage_claim, coverage_section
from benchmarks.imputation.gaps import make_gaps
from benchmarks.imputation.libraries import fit_median, fit_neighbours, fit_ridge
from benchmarks.imputation.metrics import covered, crps, rmse, two_sample_auc
from benchmarks.imputation.miwae import fit_miwae
from benchmarks.imputation.report import write_report
from benchmarks.imputation.risk import Logistic, RiskJob, Trees
from benchmarks.imputation.risk_report import risk_section
from benchmarks.imputation.tables import TABLES, Table
from meta.generator import fit_generator
from meta.imputers import Layout
from meta.imputers.conditional_fit import ConditionalSettings

MIXED = Layout(("a", "b", "kind"), (None, None, ("x", "y")))


def related(n_rows: int = 600, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n_rows)
    return np.stack([a, 2.0 * a + 0.2 * rng.normal(size=n_rows), (a > 0).astype(float)], axis=1)


def test_gaps_at_random_by_a_column_and_by_themselves() -> None:
    values, rng = related(20_000), np.random.default_rng(0)
    for mechanism in ("MCAR", "MNAR"):
        assert make_gaps(values, mechanism, 0.3, rng).mean(axis=0) == pytest.approx([0.3] * 3, abs=0.015)
    by_first = make_gaps(values, "MAR", 0.3, rng)
    assert by_first.mean(axis=0) == pytest.approx([0.0, 0.3, 0.3], abs=0.015)
    high = values[:, 0] > np.quantile(values[:, 0], 0.9)
    assert by_first[high, 1].mean() > 0.5 > 0.1 > by_first[values[:, 0] < np.quantile(values[:, 0], 0.1), 1].mean()
    own = make_gaps(values, "MNAR", 0.3, rng)[:, 1]
    assert values[own, 1].mean() > values[~own, 1].mean() + 0.5


def test_what_has_no_value_is_not_hidden() -> None:
    values = related(500)
    values[:100, 1] = np.nan
    assert not make_gaps(values, "MNAR", 0.5, np.random.default_rng(0))[:100, 1].any()


def test_rmse_by_hand() -> None:
    asked = np.array([[True, False], [True, False]])
    assert rmse(np.array([[1.0, 9.0], [4.0, 9.0]]), np.array([[1.0, 0.0], [2.0, 0.0]]), asked) == pytest.approx(2**0.5)


def test_crps_by_hand_and_of_one_value() -> None:
    # mean distance to the truth 2, of the three pairs 2, 4 and 6: mean 4
    assert crps(np.array([[0.0], [2.0], [6.0]]), np.array([2.0])).tolist() == [pytest.approx(2.0 - 2.0)]
    assert crps(np.full((5, 1), 3.0), np.array([1.0])).tolist() == [pytest.approx(2.0)]


def test_right_draws_cover_nine_in_ten_discrete_ones_too() -> None:
    rng = np.random.default_rng(0)
    for round_ in (lambda x: x, np.rint):
        draws, truth = round_(rng.normal(size=(20, 20_000))), round_(rng.normal(size=20_000))
        assert covered(draws, truth, rng).mean() == pytest.approx(0.9, abs=0.02)
    assert covered(0.3 * draws, truth, rng).mean() < 0.6


def test_rows_of_one_kind_cannot_be_told_apart_and_shifted_ones_can() -> None:
    real = related(1500, 1)
    assert two_sample_auc(real, related(1500, 2), 0) < 0.6
    assert two_sample_auc(real, related(1500, 2) + np.array([0.0, 1.0, 0.0]), 0) > 0.9


def test_tables_code_categories_and_scale_to_one(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"Cont 1": [0.0, 5.0, 10.0], "Cont 2 ": [1.0, 2.0, 5.0]})
    frame.to_csv(tmp_path / "spam.csv", index=False)
    table = TABLES["spam"](tmp_path)
    assert table.layout.names == ("Cont 1", "Cont 2")
    np.testing.assert_allclose(table.scaled(table.layout.one_hot(table.values))[:, 1], [0.0, 0.25, 1.0])
    mixed = Table.of("mixed", MIXED, related(50))
    assert mixed.owners.tolist() == [0, 1, 2, 2]


def test_chained_trees_follow_other_columns_and_draw_around_it() -> None:
    truth, rng = related(), np.random.default_rng(1)
    gaps = make_gaps(truth, "MCAR", 0.2, rng)
    known = np.where(gaps, np.nan, truth)
    fitted = fit_chained(MIXED, known, 0, n_rounds=2)
    filled = fitted.fill(known)
    assert np.abs(filled - truth)[gaps[:, 1] & ~gaps[:, 0], 1].mean() < 0.7
    drawn = fitted.draw(known, rng.random((30, *known.shape)))
    one = gaps[:, 1] & ~gaps[:, 0]
    assert 0.1 < drawn[:, one, 1].std(axis=0).mean() < 1.0
    assert set(np.unique(drawn[:, :, 2])) <= {0.0, 1.0}
    np.testing.assert_allclose(fitted.expected(known)[:, 2:].sum(axis=1), 1.0)


def test_scikit_learns_imputers_stand_behind_the_same_protocol() -> None:
    truth = related(300)
    known = np.where(make_gaps(truth, "MCAR", 0.2, np.random.default_rng(1)), np.nan, truth)
    for fit in (fit_ridge, fit_neighbours):
        fitted = fit(MIXED, known, 0)
        assert fitted.expected(known).shape == (300, 4)
        assert not np.isnan(fitted.fill(known)).any()
        assert fitted.draw(known, np.random.default_rng(0).random((3, *known.shape))).shape == (3, 300, 3)


def test_no_flag_is_predicted_from_its_siblings() -> None:
    """Flags that are missing together: a regressor taught on siblings falls back to the mean where it is asked."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, 900)
    layout = Layout(("a", "b", "kind"), (None, None, ("x", "y", "z")))
    truth = np.stack([np.sin(kind) + 0.1 * rng.normal(size=900), np.cos(kind), kind], axis=1)
    known = truth.copy()
    known[::4, 2] = np.nan
    fitted = fit_ridge(layout, known, 0)
    seen = {step.feat_idx: step.neighbor_feat_idx.tolist() for step in fitted.model.imputation_sequence_}
    assert [seen[flag] for flag in (2, 3, 4)] == [[0, 1]] * 3
    assert seen[0] == [1, 2, 3, 4]
    assert (fitted.model.min_value, fitted.sampler.max_value) == (0.0, 1.0)  # or chained lines leave all that was seen
    asked = np.isnan(known[:, 2])
    wrong = fitted.expected(known)[asked, 2:] - layout.one_hot(truth)[asked, 2:]
    assert np.sqrt((wrong**2).mean()) < 0.15  # the mean's is 0.47


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(running.TABLES, "letter", lambda folder: Table.of("small", MIXED, related(400)))


def test_a_run_leaves_files_and_takes_up_what_is_there(small: None, tmp_path: Path) -> None:
    jobs = running.plan(["letter"], ["mean", "gain_paper"], 1, tmp_path, tmp_path / "kept")
    assert [(job.method, job.seed) for job in jobs] == [("mean", 0), ("gain_paper", 0)]
    running.run_job(jobs[0])
    (cell,) = running.gather(jobs)
    assert cell["rmse"] == pytest.approx(cell["rmse"])
    assert cell["coverage"] < 0.2
    assert "collapsed" not in cell  # of means all fills are alike
    assert 0.5 < cell["told_apart"] <= 1.0
    jobs[0].file.write_text(json.dumps({"kept": True}))
    running.run_job(jobs[0])
    assert running.gather(jobs) == [{"kept": True}]


def test_a_fit_that_fails_is_a_result(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = running.plan(["letter"], ["gain_paper"], 1, tmp_path, tmp_path / "kept")
    monkeypatch.setattr(running, "make_gaps", lambda values, *rest: np.zeros(values.shape, dtype=bool))
    running.run_job(job)
    assert running.gather([job])[0]["failed"].startswith("InvalidColumns: GAIN learns from gaps")


def cells(ours: float, cover: float) -> list[dict]:
    def cell(method: str, seed: int, error: float, coverage: float) -> dict:
        return {
            **{"table": "credit", "mechanism": "MCAR", "rate": 0.2, "seed": seed, "method": method, "rmse": error},
            **{"crps": error / 4, "coverage": coverage, "told_apart": 0.6, "fit_s": 9.0, "fill_s_per_100k": 0.5},
        }

    rivals = [
        cell("lightgbm", 0, 0.118, 0.86),
        cell("gain_reference", 0, 0.136, 0.2),
        cell("gain_reference", 1, 0.138, 0.2),
    ]
    return [*rivals, cell("conditional", 0, ours, cover)]


def test_the_report_says_what_was_reached(tmp_path: Path) -> None:
    speed = {
        "many": {"conditional": 0.4, "gain": 0.2, "boosting": 24.0, "lightgbm": 9.0},
        "one": {"conditional": 2e-4, "gain": 1e-4},
    }
    told = write_report(cells(0.119, 0.91), speed, ["## More\n"], tmp_path)
    assert "REACHED: Credit, 23 numbers: conditional 0.1190, within 5 % of the best chained" in told
    assert "60 times faster" in told
    page = (tmp_path / "imputation.md").read_text()
    assert "| Chained LightGBM, by column type | 1 | 0.1180 |" in page
    assert "## More" in page
    assert (tmp_path / "imputation.png").stat().st_size > 1000
    told = write_report(cells(0.13, 0.99), speed | {"many": speed["many"] | {"conditional": 1.0}}, [], tmp_path)
    assert "**NOT REACHED: Credit, 23 numbers: conditional 0.1300, within 5 %" in told
    assert "**NOT REACHED: Credit, 23 numbers: coverage 99.0%" in told
    assert "**NOT REACHED: 100,000 rows 24 times faster" in told


def test_failed_fits_are_listed(tmp_path: Path) -> None:
    broken = {
        "table": "credit",
        "mechanism": "MCAR",
        "rate": 0.2,
        "seed": 4,
        "method": "gain_paper",
        "failed": "TrainingDiverged: x",
    }
    write_report([*cells(0.119, 0.9), broken], {}, [], tmp_path)
    assert "- credit, gain_paper, seed 4: TrainingDiverged: x" in (tmp_path / "imputation.md").read_text()


def test_trees_split_on_gaps_themselves() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    y = (rng.random(3000) < 1 / (1 + np.exp(-2.0 * x))).astype(float)
    features = pandas.DataFrame(
        {"a": np.where(rng.random(3000) < 0.3, np.nan, x), "kind": rng.choice(["u", "v"], 3000)}
    )
    rows = Rows(features.astype({"kind": object}), y, np.repeat([f"M{i}" for i in range(8)], 375))
    model = Trees(rows)
    pd = model.pds(features[:0], y[:0], pandas.DataFrame({"a": [-1.5, np.nan, 1.5], "kind": ["u", "v", "new"]}))
    assert pd[0] < pd[1] < pd[2]


def test_medians_and_indicators_tell_a_gap_from_a_value() -> None:
    """Who has no "a" defaults as the highest do; a median alone would have it in the middle."""
    rng = np.random.default_rng(0)
    x, gone = rng.normal(size=4000), rng.random(4000) < 0.3
    y = (rng.random(4000) < 1 / (1 + np.exp(-np.where(gone, 2.0, 2.0 * x)))).astype(float)
    features = pandas.DataFrame({"a": np.where(gone, np.nan, x), "kind": rng.choice(["u", "v"], 4000)})
    model = Logistic(Rows(features.astype({"kind": object}), y, np.repeat([f"M{i}" for i in range(8)], 500)))
    asked = pandas.DataFrame({"a": [-1.0, 0.0, 1.0, np.nan], "kind": ["u", "v", "new", None]})
    low, middle, high, unknown = model.pds(features[:0], y[:0], asked)
    assert low < middle < high
    assert unknown == pytest.approx(high, abs=0.06)


def test_the_level_of_a_new_market_follows_its_accounts() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    market = np.repeat([f"M{i}" for i in range(8)], 500)
    level = np.repeat(rng.normal(scale=0.8, size=8), 500)
    y = (rng.random(4000) < 1 / (1 + np.exp(-x - level))).astype(float)
    model = Logistic(Rows(pandas.DataFrame({"a": x}), y, market))
    asked = pandas.DataFrame({"a": [0.0]})
    (rest,) = model.pds(asked[:0], y[:0], asked)
    posted = pandas.DataFrame({"a": np.zeros(50)})
    (lifted,) = model.pds(posted, np.ones(50), asked)
    (lowered,) = model.pds(posted, np.zeros(50), asked)
    assert lowered < rest - 0.1 < rest + 0.1 < lifted


def test_medians_take_the_place_of_means_in_numbers_alone() -> None:
    values = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [9.0, 1.0, 1.0]])
    fitted = fit_median(MIXED, values, 0)
    assert fitted.expected(np.full((1, 3), np.nan))[0].tolist() == [
        0.0,
        1.0,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
    ]


def test_sections_are_of_what_was_run(tmp_path: Path) -> None:
    assert risk_section([RiskJob("taiwan", "MCAR", 0.3, "none", tmp_path, tmp_path)]) == ""
    for way, loss in (("none", 0.5), ("conditional", 0.49)):
        rows = [
            {"market": m, "draw": 0, "n": n, "log_loss": loss, "auc": 0.7, "slope": 1.0}
            for m in ("A", "B")
            for n in (0, 20)
        ]
        (tmp_path / f"risk.taiwan.MCAR30.{way}.json").write_text(json.dumps({"strongest": "x", "rows": rows}))
    jobs = [RiskJob("taiwan", "MCAR", 0.3, way, tmp_path, tmp_path) for way in ("none", "conditional")]
    assert "| theta, conditional | -0.0100 [-0.0100, -0.0100] |" in risk_section(jobs)
    held = [{"market": "N", "design": "random", "size": 0, "held": 0.97, "log_loss": 0.2, "width": 1.0}]
    job = CoverageJob("conditional", 0.25, 0, tmp_path)
    assert coverage_section([job]) == ""
    assert coverage_claim([job]) == []
    job.file.write_text(json.dumps(held))
    assert "| conditional, 20 draws | 0.25 | 1 | 97.0% (width 1.00" in coverage_section([job])
    assert coverage_claim([job])[0].startswith("**NOT REACHED")


def test_generated_accounts_are_judged_against_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table.of("mixed", MIXED, related(1200))
    y = (np.random.default_rng(3).random(1200) < 1 / (1 + np.exp(-2.0 * table.values[:, 0]))).astype(np.int8)
    pandas.DataFrame({"default": y}).to_parquet(tmp_path / "taiwan.parquet")
    monkeypatch.setattr(generated, "credit_one_hot", lambda folder: table)
    monkeypatch.setattr(generated, "find_spec", lambda name: None)
    monkeypatch.setattr(generated, "TEACHING", 600)
    quick = ConditionalSettings(n_steps=250, width=32, n_bins=12)
    monkeypatch.setattr(generated, "fit_generator", lambda *given: fit_generator(*given, settings=quick))
    found = generated.measure_generated(tmp_path, tmp_path / "generated.json")
    assert found["generator"]["correlations"] < 0.2 < found["columns"]["correlations"]
    assert found["real"]["told_apart"] < 0.6 < found["columns"]["told_apart"]
    assert found["generator"]["auc"] > 0.6
    assert generated.measure_generated(tmp_path, tmp_path / "generated.json") == json.loads(json.dumps(found))
    page = generated.generated_section(found)
    assert "| Real ones | " in page
    assert "| CTGAN | not run: the package ctgan is not installed | | | |" in page
    assert generated.generated_section({}) == ""


def test_ctgan_is_taught_categories_as_texts_and_the_label_as_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ctgan:
        """Gives back what it was taught, in another order."""

        def __init__(self, enable_gpu: bool) -> None:
            assert not enable_gpu

        def set_random_state(self, seed: int) -> None:
            assert seed == 0

        def fit(self, frame: pandas.DataFrame, discrete: list[str]) -> None:
            assert discrete == ["kind", "default"]
            self.frame = frame

        def sample(self, n_rows: int) -> pandas.DataFrame:
            return self.frame.iloc[::-1].head(n_rows)

    monkeypatch.setitem(sys.modules, "ctgan", SimpleNamespace(CTGAN=Ctgan))
    values = np.array([[1.5, 2.0, 0.0], [0.5, 3.0, np.nan], [0.1, 4.0, 1.0]])
    x, y = generated._of_ctgan(Table.of("mixed", MIXED, values), values, np.array([1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(x, values[::-1])
    assert y.tolist() == [0.0, 0.0, 1.0]


def test_a_support_is_enriched_with_as_many_accounts_of_each_label() -> None:
    features = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "kind": pandas.Series(["x", "y", None], dtype=object)})
    layout = Layout(("a", "kind"), (None, ("x", "y")))

    class Made:
        def __init__(self) -> None:
            self.layout = layout

        def sample(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return np.stack([100.0 + y, y], axis=1)

    y = np.array([1.0, 0.0, 0.0])
    support, labels = enriched._enriched(features, y, Made(), 2, np.random.default_rng(0))
    assert labels.tolist() == [1, 0, 0] * 3
    assert support["a"].tolist() == [1.0, 2.0, 3.0, *[101.0, 100.0, 100.0] * 2]
    assert support["kind"].tolist() == ["x", "y", None, *["y", "x", "x"] * 2]
    assert enriched._enriched(features, y, Made(), 0, np.random.default_rng(0))[0] is features


def test_enriched_supports_are_set_against_the_posted_accounts_alone() -> None:
    cells = [
        {"world": "w", "market": market, "draw": 0, "times": times, "way": way, "log_loss": 0.5 + by * times}
        for market in ("A", "B")
        for times in enriched.TIMES
        for way, by in (("theta_prime", 0.01), ("local 0.1", -0.02), ("local 1.0", -0.01))
    ]
    page = enriched.enriched_section({"cells": cells})
    assert "| theta_prime | 0.5000 | 0.5100 (+0.0100 [+0.0100, +0.0100]) |" in page
    assert "| Logistic regression of the support | 0.5000 | 0.4800 (-0.0200 [-0.0200, -0.0200]) |" in page
    assert enriched.enriched_section({}) == ""


def test_miwae_follows_the_other_columns_and_draws_around_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miwae, "MOST_STEPS", 1500)
    values = related(2000)
    known = np.where(np.random.default_rng(1).random(values.shape) < 0.2, np.nan, values)
    fitted = fit_miwae(MIXED, known, 0)
    asked = values[:300].copy()
    asked[:, 1] = np.nan
    truth = values[:300, 1]
    assert np.sqrt(np.mean((fitted.fill(asked)[:, 1] - truth) ** 2)) < 0.6 * truth.std()
    drawn = fitted.draw(asked, np.random.default_rng(2).random((20, *asked.shape)))[:, :, 1]
    assert 0.3 * truth.std() > drawn.std(axis=0).mean() > 0.02 * truth.std()
    kinds = MIXED.is_numeric.tolist().index(False)
    asked[:, kinds] = np.nan
    flags = fitted.expected(asked)[:, kinds:]
    np.testing.assert_allclose(flags.sum(axis=1), 1.0)
    assert np.array_equal(fitted.expected(asked), fitted.expected(asked))
