"""The few-shot harness on a made-up portfolio whose truth is known: fair draws, honest rivals, right statistics."""

import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy.special import expit

from benchmarks.few_shot import data, rivals, run
from benchmarks.few_shot.data import DATASETS, DataNotFound, Rows, load, schema_of
from benchmarks.few_shot.design import Design, TooFewMarkets, draw_cells, held_out_markets
from benchmarks.few_shot.level import InterceptPrior, learn_prior
from benchmarks.few_shot.pooled import PooledLogistic, PooledTrees
from benchmarks.few_shot.report import write_report
from benchmarks.few_shot.rival import Rival, SourceMarkets
from benchmarks.few_shot.scratch import Scratch, fit_logistic, fit_trees
from benchmarks.few_shot.statistics import difference, harmed_share, market_means

N_MARKETS, N_ROWS = 12, 160
DESIGN = Design(n_splits=2, n_supports=(10, 40), n_draws=2, min_query=100)


@pytest.fixture(scope="module")
def frame() -> pandas.DataFrame:
    """Twelve markets whose levels are normal with sd 0.8; risk rises with `debt` and for renters, gaps in `debt`."""
    rng = np.random.default_rng(0)
    market = np.repeat([f"m{i:02}" for i in range(N_MARKETS)], N_ROWS)
    level = np.repeat(rng.normal(0, 0.8, N_MARKETS), N_ROWS)
    debt = rng.normal(size=len(market))
    home = rng.choice(["own", "rent"], len(market))
    y = rng.random(len(market)) < expit(-1.5 + level + debt + 0.8 * (home == "rent"))
    debt[rng.random(len(market)) < 0.1] = np.nan
    columns = {"market": market, "product": "loan", "default": y.astype(int), "issued": 2010, "debt": debt}
    return pandas.DataFrame(columns | {"home": home, "lender_grade": "A", "zip3": "123"})


@pytest.fixture(scope="module")
def folder(frame: pandas.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for world in DATASETS.values():
        frame.to_parquet(folder / world.file)
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    return load(DATASETS["lendingclub_states"], folder)


@pytest.fixture(scope="module")
def source(rows: Rows) -> SourceMarkets:
    return SourceMarkets(rows.of([f"m{i:02}" for i in range(8)]), DESIGN)


def test_the_lenders_own_columns_and_the_market_are_no_features(rows: Rows) -> None:
    assert list(rows.features) == ["product", "debt", "home"]
    assert [feature.kind for feature in schema_of(rows.features).features] == ["categorical", "numeric", "categorical"]
    assert rows.features["debt"].isna().any()


def test_an_absent_file_says_where_the_original_is(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match="SBAnational"):
        load(DATASETS["sba_states"], tmp_path)


def test_the_folder_is_given_or_in_the_environment_or_beside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THETAPRIME_DATA", "/elsewhere")
    assert data.find_folder(Path("/here")) == Path("/here")
    assert data.find_folder(None) == Path("/elsewhere")
    monkeypatch.delenv("THETAPRIME_DATA")
    assert data.find_folder(None).parts[-2:] == ("shared", "data")


def test_every_large_market_is_held_out_once(rows: Rows) -> None:
    groups = held_out_markets(rows, DESIGN)
    assert sorted(name for group in groups for name in group) == sorted(np.unique(rows.market))
    assert groups == held_out_markets(rows, DESIGN)
    with pytest.raises(TooFewMarkets, match="at least 8"):
        held_out_markets(rows.of(["m00", "m01"]), DESIGN)


def test_larger_supports_hold_the_smaller_and_never_the_query() -> None:
    cells = list(draw_cells("m00", N_ROWS, DESIGN, n_draws=2))
    small, large, other_draw, _ = cells
    assert (small.n_support, large.n_support) == (10, 40)
    assert set(small.support) < set(large.support)
    assert set(other_draw.support) != set(small.support)
    for cell in cells:
        assert sorted([*cell.support, *cell.query]) == list(range(N_ROWS))
    assert set(next(draw_cells("m01", N_ROWS, DESIGN, 1)).support) != set(small.support)


def test_the_prior_of_intercepts_is_found() -> None:
    rng = np.random.default_rng(1)
    intercepts = rng.normal(0.4, 0.5, 60)
    market = np.repeat(np.arange(60).astype(str), 300)
    logits = rng.normal(-1, 1, len(market))
    y = (rng.random(len(market)) < expit(logits + np.repeat(intercepts, 300))).astype(float)
    prior = learn_prior(logits, y, market)
    assert prior.mean == pytest.approx(intercepts.mean(), abs=0.1)
    assert prior.sd == pytest.approx(intercepts.std(), abs=0.1)


def test_the_mode_balances_prior_and_rows() -> None:
    prior = InterceptPrior(0.2, 0.5)
    assert prior.mode(np.zeros(0), np.zeros(0)) == 0.2
    logits, y = np.full(6, -1.0), np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    found = prior.mode(logits, y)
    assert (y - expit(logits + found)).sum() == pytest.approx((found - 0.2) / 0.25, abs=1e-8)
    vague = InterceptPrior(0.0, 100.0).mode(np.full(6, -40.0), y)
    assert vague == pytest.approx(40.0, abs=0.01)


@pytest.mark.parametrize("model_of", [lambda s: PooledTrees(s.rows, 0), lambda s: PooledLogistic(s.rows)])
def test_pooled_models_rank_markets_that_they_have_not_seen(rows: Rows, source: SourceMarkets, model_of) -> None:
    model = model_of(source)
    new = rows.of(["m10", "m11"])
    assert run.measure(new.y, expit(model.logits(new.features)))["auc"] > 0.65
    assert run.measure(source.rows.y, expit(model.unseen_logits))["auc"] > 0.65
    unknown = new.features.assign(home="castle", debt=np.nan)
    assert np.isfinite(model.logits(unknown)).all()


def test_the_level_helps_where_levels_differ(rows: Rows, source: SourceMarkets) -> None:
    rival = rivals.Pooled("Logistic", lambda s: s.logistic)
    assert rival.learn(source)["level_sd"] > 0.3
    gains = []
    for name in ("m08", "m09", "m10", "m11"):
        market = rows.of([name])
        rival.meet(market.features)
        cell = list(draw_cells(name, len(market), DESIGN, 1))[1]
        pds = rival.pds(cell.support, market.y[cell.support], cell.query)
        losses = [run.measure(market.y[cell.query], pds[n])["log_loss"] for n in rival.names]
        gains.append(losses[0] - losses[1])
    assert np.mean(gains) > 0


@pytest.mark.parametrize("fit", [fit_logistic, fit_trees])
def test_scratch_copes_with_one_class_and_with_categories_it_has_not_seen(source: SourceMarkets, fit) -> None:
    rival = Scratch("Scratch", fit, (0.01, 1.0) if fit is fit_logistic else (5, 20))
    assert set(rival.learn(source)["strength"]) == {"10", "40"}
    accounts = source.rows.features.iloc[:60].assign(home=["own"] * 20 + ["rent"] * 40)
    rival.meet(accounts)
    support, query = np.arange(10), np.arange(20, 60)
    pds = rival.pds(support, np.zeros(10), query)["Scratch"]
    np.testing.assert_allclose(pds, 0.5 / 11)
    pds = rival.pds(support, np.array([1.0, 0.0] * 5), query)["Scratch"]
    assert ((pds > 0) & (pds < 1)).all()


class Truth:
    """A rival for the tests: the same PD for everyone, and a worse one."""

    names = ("theta_prime", "LightGBM + level", "theta")
    n_draws = None

    def learn(self, source: SourceMarkets) -> dict[str, float]:
        self.rate = float(source.rows.y.mean())
        return {"rate": self.rate}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.n_rows = len(accounts)

    def pds(self, support: np.ndarray, y: np.ndarray, query: np.ndarray) -> dict[str, np.ndarray]:
        assert len(support) + len(query) == self.n_rows
        rates = ((y.sum() + 10 * self.rate) / (len(y) + 10), self.rate, 0.9)
        return {name: np.full(len(query), rate) for name, rate in zip(self.names, rates, strict=True)}


def _with_truth() -> dict[str, Rival]:
    return {"truth": Truth()}


def test_a_run_is_resumed_and_reported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "make_rivals", _with_truth)
    jobs = run.plan(["lendingclub_states"], ["truth"], DESIGN, folder, tmp_path / "var")
    cells = run.run(jobs, n_processes=1)
    assert capsys.readouterr().out.count("truth: learnt") == 2
    assert len(cells) == N_MARKETS * 2 * 2 * 3
    pandas.testing.assert_frame_equal(run.run(jobs, n_processes=1), cells)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="another design"):
        run.plan(["lendingclub_states"], ["truth"], Design(seed=1), folder, tmp_path / "var")
    claim = write_report(cells, DESIGN, jobs, tmp_path / "docs")
    assert re.search(r"theta_prime's log loss is not above that of LightGBM \+ level: -0\.\d+ \[.*12 markets", claim)
    text = (tmp_path / "docs" / "few_shot.md").read_text()
    assert claim.split(": ", 1)[1] in text
    assert "Held-out markets in each cell: 12" in text
    assert (tmp_path / "docs" / "few_shot_lendingclub_states.png").stat().st_size > 10_000
    raw = pandas.read_csv(tmp_path / "docs" / "few_shot.csv")
    assert len(raw) == N_MARKETS * 2 * 3


def _cells(losses: dict[tuple[str, str, int], float], n_draws: dict[str, int]) -> pandas.DataFrame:
    return pandas.DataFrame(
        {"world": "w", "split": 0, "market": market, "n_support": n, "draw": draw, "method": method, "log_loss": loss}
        for (method, market, n), loss in losses.items()
        for draw in range(n_draws[method])
    )


def test_markets_are_weighed_alike_and_compared_in_pairs() -> None:
    losses = {("a", "x", 10): 0.5, ("a", "x", 20): 0.3, ("a", "y", 10): 0.9, ("a", "y", 20): 0.9}
    losses |= {("b", "x", 10): 0.4, ("b", "x", 20): 0.3, ("b", "y", 10): 0.9, ("b", "y", 20): 0.8}
    cells = _cells(losses, {"a": 3, "b": 1})
    assert market_means(cells, by_n=False).set_index(["method", "market"]).log_loss["a", "x"] == pytest.approx(0.4)
    gap = difference(cells, "a", "b", "log_loss")
    assert (gap.mean, gap.n_markets) == (pytest.approx(0.05), 2)
    assert gap.low == pytest.approx(0.05)
    assert gap.high == pytest.approx(0.05)
    assert harmed_share(cells, "a", "b") == 1.0
    assert harmed_share(cells, "b", "a") == 0.0


def test_draws_that_only_one_method_had_are_left_out() -> None:
    cells = _cells({("a", "x", 10): 0.5, ("b", "x", 10): 0.4}, {"a": 2, "b": 1})
    cells.loc[(cells["method"] == "a") & (cells["draw"] == 1), "log_loss"] = 100.0
    assert difference(cells, "a", "b", "log_loss").mean == pytest.approx(0.1)
