"""The few-shot harness on a made-up portfolio whose truth is known: fair draws, honest rivals, right statistics."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy.special import expit

from benchmarks.few_shot import data, rivals, run
from benchmarks.few_shot.data import DATASETS, DataNotFound, Rows, count_rows, load, schema_of, unit_of
from benchmarks.few_shot.design import (
    Design,
    Posted,
    Setting,
    TooFewMarkets,
    held_out_markets,
    make_draws,
    query_share,
    source_of,
)
from benchmarks.few_shot.hierarchical import HierarchicalLogistic, mode_of_moves
from benchmarks.few_shot.level import InterceptPrior, intercept_at_rate, learn_prior
from benchmarks.few_shot.metrics import measure_all
from benchmarks.few_shot.optional import Skipped, require
from benchmarks.few_shot.rehearsal import rehearse
from benchmarks.few_shot.report import write_report
from benchmarks.few_shot.rival import Rival, SourceMarkets
from benchmarks.few_shot.rows_added import Ceiling, TreesWithRowsAdded
from benchmarks.few_shot.scratch import Scratch, fit_logistic, fit_scorecard, fit_trees
from benchmarks.few_shot.tabpfn import TabPfn

N_MARKETS, N_ROWS = 12, 160
DESIGN = Design(
    n_splits=2,
    n_supports=(10, 40),
    n_defaults=(5, 100),
    n_draws=2,
    min_query=50,
    rehearsed_supports=(40,),
    n_rehearsed=3,
)


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
    columns = {"market": market, "product": "loan", "default": y.astype(int), "issued": 2005, "debt": debt}
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


def _metric(name: str, y: np.ndarray, pd: np.ndarray) -> float:
    return float(measure_all(y, pd[None])[name][0])


def test_a_state_is_cut_into_eras_and_other_years_are_left_out(frame: pandas.DataFrame, tmp_path: Path) -> None:
    world = DATASETS["sba_state_eras"]
    years = np.resize(["1971-05-01", "1999-12-31", "2003-01-01", "2004-06-30", "2006-01-02", "2002-01-01"], len(frame))
    frame.assign(issued=years).to_parquet(tmp_path / world.file)
    rows = load(world, tmp_path)
    assert count_rows(world, tmp_path) - len(rows) == len(frame) // 3
    assert {name for name in rows.market if name.startswith("m00")} == {"m00 1990s", "m00 2003-04", "m00 2005-06"}
    assert (unit_of("m00 1990s"), unit_of("debt consolidation")) == ("m00", "debt consolidation")
    groups = held_out_markets(rows, Design(n_splits=2, n_supports=(10,), min_query=30))
    assert not {unit_of(name) for name in groups[0]} & {unit_of(name) for name in groups[1]}
    assert not np.isin(source_of(rows, groups[0]).unit, [unit_of(name) for name in groups[0]]).any()
    assert groups[0] == ["m00 2003-04"] or all(name.endswith("2003-04") for name in groups[0])


def test_every_large_market_is_held_out_once(rows: Rows) -> None:
    groups = held_out_markets(rows, DESIGN)
    assert sorted(name for group in groups for name in group) == sorted(np.unique(rows.market))
    assert groups == held_out_markets(rows, DESIGN)
    with pytest.raises(TooFewMarkets, match="at least 8"):
        held_out_markets(rows.of(["m00", "m01"]), DESIGN)


def test_larger_supports_hold_the_smaller_and_never_the_query() -> None:
    y = np.repeat([1.0, 0.0], [40, 160])
    first, second = make_draws("m00", y, DESIGN, n_draws=2)
    supports = {setting: set(posted.support.tolist()) for setting, posted in first.cells}
    assert len(supports[Setting("random", 10)]) == 10
    assert supports[Setting("random", 10)] < supports[Setting("random", 40)]
    assert set(first.query.tolist()) != set(second.query.tolist())
    assert sorted([*first.query, *first.pool]) == list(range(200))
    assert y[first.query].mean() == 0.2
    assert all(chosen <= set(first.pool.tolist()) for chosen in supports.values())
    assert {setting.size for setting in supports if setting.design == "case_control"} == {5}
    (capped, *_) = make_draws("m00", y, Design(n_supports=(10,), n_defaults=(), max_query=50), 1)
    assert (len(capped.query), y[capped.query].mean(), len(capped.pool)) == (50, 0.2, 100)


def test_label_selected_supports_declare_the_markets_own_rate_and_two_wrong_ones() -> None:
    y = np.repeat([1.0, 0.0], [40, 160])
    (draw,) = make_draws("m00", y, DESIGN, n_draws=1)
    posted = {setting.rate_factor: p for setting, p in draw.cells if setting.design == "case_control"}
    assert {factor: p.base_rate for factor, p in posted.items()} == {
        1.0: 0.2,
        0.75: pytest.approx(0.15),
        1.33: pytest.approx(0.266),
    }
    assert posted[1.0].y.sum() == 5
    assert len(posted[1.0].y) == 25
    np.testing.assert_array_equal(posted[1.0].support, posted[0.75].support)


@pytest.mark.parametrize(("n_bad", "n_good", "share"), [(40, 160, 0.5), (20, 60, 0.375), (120, 280, 0.5)])
def test_the_query_is_half_the_market_or_what_the_supports_leave(n_bad: int, n_good: int, share: float) -> None:
    design = Design(n_supports=(20, 50), n_defaults=(5, 12), min_query=20)
    assert query_share(n_bad, n_good, design) == pytest.approx(share)


def test_more_label_selected_supports_have_room_where_the_query_may_be_smaller() -> None:
    design = Design(n_supports=(50,), n_defaults=(5, 12), min_query=20)
    assert query_share(16, 84, design) == pytest.approx(0.25)  # 12 of 16 defaulters are left for supports
    assert query_share(13, 87, design) == pytest.approx(0.5)  # 12 of 13 would leave 7 accounts to judge: 5 must do


def test_a_support_is_corrected_for_how_it_was_selected() -> None:
    selected = Posted(np.arange(5), np.array([1.0, 0, 0, 0, 0]), base_rate=0.1)
    assert selected.correction == pytest.approx(np.log(9 / 4))
    np.testing.assert_allclose(selected.weights, [0.5, 1.125, 1.125, 1.125, 1.125])
    assert np.average(selected.y, weights=selected.weights) == pytest.approx(0.1)
    drawn = Posted(np.arange(5), selected.y)
    assert (drawn.correction, drawn.weights.tolist()) == (0.0, [1.0] * 5)
    assert Posted(np.arange(2), np.zeros(2), 0.1).correction == 0.0


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


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: benchmarks/few_shot/requirements.txt")


@pytest.mark.parametrize(
    "model_of",
    [
        lambda s: s.trees,
        lambda s: s.logistic,
        pytest.param(lambda s: s.catboost, marks=needs("catboost")),
        pytest.param(lambda s: s.scorecard, marks=needs("optbinning")),
    ],
)
def test_pooled_models_rank_markets_that_they_have_not_seen(rows: Rows, source: SourceMarkets, model_of) -> None:
    model = model_of(source)
    new = rows.of(["m10", "m11"])
    assert _metric("auc", new.y, expit(model.logits(new.features))) > 0.65
    assert _metric("auc", source.rows.y, expit(model.unseen_logits)) > 0.65
    unknown = new.features.assign(home="castle", debt=np.nan)
    assert np.isfinite(model.logits(unknown)).all()


def _gain(rival: Rival, rows: Rows, better: str, worse: str) -> float:
    """Mean log loss that ``better`` saves over ``worse`` on four new markets, 40 accounts posted."""
    gains = []
    for name in ("m08", "m09", "m10", "m11"):
        market = rows.of([name])
        rival.meet(market.features)
        for draw in make_draws(name, market.y, DESIGN, 2):
            pds = rival.pds(dict(draw.cells)[Setting("random", 40)], draw.query)
            losses = {n: _metric("log_loss", market.y[draw.query], pd) for n, pd in pds.items()}
            gains.append(losses[worse] - losses[better])
    return float(np.mean(gains))


def test_the_level_helps_where_levels_differ(rows: Rows, source: SourceMarkets) -> None:
    rival = rivals.Pooled("Logistic", lambda s: s.logistic)
    chosen = rival.learn(source)
    assert chosen["level_sd"] > 0.3
    assert _gain(rival, rows, "Logistic + level", "Logistic") > 0
    rehearsed = chosen["rehearsed"]
    assert {name: len(losses) for name, losses in rehearsed.items()} == {"Logistic": 6, "Logistic + level": 6}


def test_a_declared_rate_sets_the_level_of_a_pooled_model(rows: Rows, source: SourceMarkets) -> None:
    rival = rivals.Pooled("Logistic", lambda s: s.logistic)
    rival.learn(source)
    rival.meet(rows.of(["m08"]).features)
    everyone = np.arange(N_ROWS)
    posted = Posted(np.arange(0), np.zeros(0), base_rate=0.3)
    assert rival.level.prior_given(posted).mean == pytest.approx(intercept_at_rate(rival.level.logits, 0.3))
    level = rival.level.prior_given(posted).mean
    assert expit(rival.level.logits[everyone] + level).mean() == pytest.approx(0.3)
    assert intercept_at_rate(np.zeros(4), 0.2) == pytest.approx(np.log(0.25))


def test_the_hierarchical_prior_spans_no_move_and_a_fit_of_the_rows() -> None:
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    y, offset = np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, -1.0)
    np.testing.assert_allclose(mode_of_moves(np.zeros((4, 4)), offset, y), y - expit(-1.0))
    kernel = 0.5 * x @ x.T + 0.2
    residual = mode_of_moves(kernel, offset, y)
    np.testing.assert_allclose(residual, y - expit(offset + kernel @ residual), atol=1e-8)
    beta, intercept = 0.5 * x.T @ residual, 0.2 * residual.sum()  # primal coefficients: gradient of the posterior is 0
    gradient = x.T @ (y - expit(offset + x @ beta + intercept)) - beta / 0.5
    np.testing.assert_allclose(gradient, 0.0, atol=1e-8)


def test_the_hierarchical_logistic_keeps_up_with_the_level_alone(rows: Rows, source: SourceMarkets) -> None:
    rival = HierarchicalLogistic()
    assert rival.learn(source)["tau"] in rival.TAUS
    pooled = rivals.Pooled("Logistic", lambda s: s.logistic)
    pooled.learn(source)
    market = rows.of(["m08"])
    for either in (rival, pooled):
        either.meet(market.features)
    (draw,) = make_draws("m08", market.y, DESIGN, 1)
    for setting, posted in draw.cells:
        rival.tau = 0.0
        found = rival.pds(posted, draw.query)[rival.names[0]]
        np.testing.assert_allclose(
            found, pooled.pds(posted, draw.query)["Logistic + level"], atol=1e-6, err_msg=setting
        )


@pytest.mark.parametrize("fit", [fit_logistic, fit_trees, pytest.param(fit_scorecard, marks=needs("optbinning"))])
def test_scratch_copes_with_one_class_and_with_categories_it_has_not_seen(source: SourceMarkets, fit) -> None:
    rival = Scratch("Scratch", fit, (5, 20) if fit is fit_trees else (0.01, 1.0), n_draws=1)
    assert set(rival.learn(source)["strength"]) == {"10", "40"}
    accounts = source.rows.features.iloc[:60].assign(home=["own"] * 20 + ["rent"] * 40)
    rival.meet(accounts)
    support, query = np.arange(10), np.arange(20, 60)
    pds = rival.pds(Posted(support, np.zeros(10)), query)["Scratch"]
    np.testing.assert_allclose(pds, 0.5 / 11)
    drawn = Posted(support, np.array([1.0, 0.0] * 5))
    rival.meet(accounts)
    pds = rival.pds(drawn, query)["Scratch"]
    assert ((pds > 0) & (pds < 1)).all()
    selected = rival.pds(Posted(drawn.support, drawn.y, base_rate=0.1), query)["Scratch"]
    np.testing.assert_allclose(selected / (1 - selected), pds / (1 - pds) / 9)  # the odds of one in two against 1 : 9


def test_a_package_that_is_not_there_skips_its_rival_with_the_reason() -> None:
    require("numpy")
    with pytest.raises(Skipped, match=r"no_such_package is not installed: pip install -r"):
        require("no_such_package")


@needs("optbinning")
def test_a_scorecard_leaves_out_what_cannot_be_binned() -> None:
    from benchmarks.few_shot.scorecard import fit_bins

    features = pandas.DataFrame({"empty": [np.nan] * 6, "debt": [0.0, 1, 2, 3, 4, 5]})
    y = np.array([0.0, 0, 0, 1, 1, 1])
    assert fit_bins(Rows(features, y, np.full(6, "new"))).variable_names == ["debt"]
    rate = fit_scorecard(features[["empty"]], np.array([0.0, 0, 0, 0, 0, 1]), 1.0)(features)
    np.testing.assert_allclose(expit(rate), 1 / 6)


def test_rows_added_and_all_rows_are_trained_with_the_pooled(rows: Rows, source: SourceMarkets) -> None:
    rival, ceiling = TreesWithRowsAdded(), Ceiling()
    rehearsed = rival.learn(source)["rehearsed"][rival.names[0]]
    assert np.isnan(rehearsed).sum() == np.isfinite(rehearsed).sum() == 3  # the second of two draws is left out
    ceiling.learn(source)
    market = rows.of(["m08"])
    (draw,) = make_draws("m08", market.y, DESIGN, 1)
    everything = Posted(draw.pool, market.y[draw.pool])
    for method in (rival, ceiling):
        method.meet(market.features)
    ceiling.know(everything, draw.query)
    most = rival.pds(everything, draw.query)[rival.names[0]]
    for _, posted in draw.cells:
        np.testing.assert_allclose(ceiling.pds(posted, draw.query)[ceiling.names[0]], most)
    assert np.isfinite(most).all()


class Truth:
    """A rival for the tests: the same PD for everyone, and a worse one; says a range of the mean PD."""

    names = ("theta_prime", "LightGBM + level", "theta", "theta_prime, guarded")
    n_draws = None

    def learn(self, source: SourceMarkets) -> dict[str, object]:
        self.rate = float(source.rows.y.mean())
        losses = {"LightGBM + level": [0.5, 0.5], "theta + level": [0.6, float("nan")]}
        return {"rate": self.rate, "rehearsed": losses}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.n_rows = len(accounts)

    def pds(self, posted: Posted, query: np.ndarray) -> dict[str, np.ndarray]:
        assert not set(posted.support) & set(query)
        assert max(*posted.support, *query) < self.n_rows
        own = (posted.y.sum() + 10 * self.rate) / (len(posted.y) + 10) if posted.base_rate is None else posted.base_rate
        rates = (own, self.rate, 0.9, own)
        return {name: np.full(len(query), rate) for name, rate in zip(self.names, rates, strict=True)}

    def mean_pd_ranges(self, query: np.ndarray) -> dict[str, tuple[float, float]]:
        return {"theta_prime": (0.0, 1.0), "theta": (0.9, 1.0)}


class Absent:
    """A rival that can't be run here."""

    names = ("Absent",)
    n_draws = None

    def learn(self, source: SourceMarkets) -> dict[str, object]:
        raise Skipped("no weights")


def _with_truth() -> dict[str, Rival]:
    return {"truth": Truth(), "absent": Absent()}


def test_a_run_is_resumed_and_reported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "make_rivals", _with_truth)
    jobs = run.plan(["sba_state_eras"], ["truth", "absent"], DESIGN, folder, tmp_path / "var")
    cells = run.run(jobs, n_processes=1)
    out = capsys.readouterr().out
    assert (out.count("truth: learnt"), out.count("absent: skipped, no weights")) == (2, 2)
    n_cells = 2 + 3  # two random sizes, one label-selected under three declared rates
    assert len(cells) == N_MARKETS * 2 * n_cells * 4
    pandas.testing.assert_frame_equal(run.run(jobs, n_processes=1), cells)
    assert "truth" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="another design"):
        run.plan(["lendingclub_states"], ["truth"], Design(seed=1), folder, tmp_path / "var")
    summary = write_report(cells, DESIGN, jobs, tmp_path / "docs")
    assert re.search(r"- REACHED: log loss of theta_prime minus that of LightGBM \+ level.*12 markets", summary)
    assert "on 1 of 1 sets (1 wanted)" in summary
    text = (tmp_path / "docs" / "few_shot.md").read_text()
    assert summary in text
    assert "Held-out markets in each random cell: 12" in text
    assert "| Absent | not run: no weights |" in text
    assert "Best rival on source markets: LightGBM + level." in text
    assert "100% ± 0% (width 1.000)" in text
    assert (tmp_path / "docs" / "few_shot_sba_state_eras.png").stat().st_size > 10_000
    raw = pandas.read_csv(tmp_path / "docs" / "few_shot.csv")
    assert len(raw) == N_MARKETS * n_cells * 4


def test_tabpfn_is_skipped_with_its_reason(
    source: SourceMarkets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TABPFN_WEIGHTS", raising=False)
    with pytest.raises(Skipped, match="TABPFN_WEIGHTS does not name a file"):
        TabPfn().learn(source)
    monkeypatch.setenv("TABPFN_WEIGHTS", str(tmp_path / "absent.ckpt"))
    with pytest.raises(Skipped, match="does not exist"):
        TabPfn().learn(source)


def test_the_rival_of_the_readme_runs(rows: Rows, source: SourceMarkets) -> None:
    text = (Path(run.__file__).parents[1] / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    known = {"np": np, "rehearse": rehearse}
    exec(code, known)
    rival = known["BaseRate"]()
    assert len(rival.learn(source)["rehearsed"]["Base rate"]) == 6
    rival.meet(rows.of(["m08"]).features)
    posted = Posted(np.arange(10), np.repeat([1.0, 0.0], 5))
    expected = (5 + 30 * rival.rate) / 40
    np.testing.assert_allclose(rival.pds(posted, np.arange(10, 14))["Base rate"], np.full(4, expected))
