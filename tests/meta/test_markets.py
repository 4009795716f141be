"""From source rows to a market's theta_prime: adaptation, guard, strength, and meta-training that resumes."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch

from meta.adaptation import DeclaredRate, MarketRows, adapt_markets, posterior_of
from meta.checkpoint import sha256
from meta.effects import jackknife_spread
from meta.errors import CorruptArtifact, InvalidEpisode, InvalidRecipe
from meta.guard import Case, GuardRule, Judgement, judge
from meta.meta_training import MetaTraining
from meta.metrics import log_loss
from meta.serving import serve
from meta.source import SourceTable, assign_folds, column_values
from meta.strength import Strength
from meta.thetas import LearnerSettings, Theta, pack_theta_prime, theta_sha256
from meta.training_settings import TrainingSettings
from tests.meta.toy import model_of, pd_of

SCHEMA = "5" * 64
SETTINGS = TrainingSettings(
    LearnerSettings("meta_sgd", inner_lr=1.0, inner_steps=2, n_members=4, widths=(16, 16)),
    n_folds=2,
    pooled_steps=120,
    batch_size=128,
    outer_steps=20,
    meta_batch=4,
    n_query=30,
)
RULES = (GuardRule(0, 0.01, 0.0), GuardRule(5, 0.01, 0.002))


@pytest.fixture(scope="module")
def table(portfolio, columns) -> SourceTable:
    return SourceTable.from_frame(columns, portfolio[portfolio["market"] != "M08"])


@pytest.fixture(scope="module")
def trained(table: SourceTable):
    return MetaTraining(SCHEMA, table, SETTINGS).run(lambda progress: None)


@pytest.fixture(scope="module")
def theta(trained) -> Theta:
    return trained[0]


@pytest.fixture(scope="module")
def posted(portfolio, columns):
    rows = portfolio[portfolio["market"] == "M08"]
    return {c.name: column_values(c, rows[c.name]) for c in columns}


@pytest.fixture(scope="module")
def newcomer(portfolio, posted, theta: Theta):
    rows = portfolio[portfolio["market"] == "M08"]
    return theta.encoder.encode(posted), rows["defaulted"].to_numpy(dtype=np.float64)


class MemoryStore:
    """Keeps every state that was saved."""

    def __init__(self, latest: bytes | None = None) -> None:
        self.states = [] if latest is None else [latest]

    def save(self, state: bytes) -> None:
        self.states.append(state)

    def load(self) -> bytes | None:
        return self.states[-1] if self.states else None


def test_theta_ranks_and_prices_a_market_it_has_not_seen(theta: Theta, newcomer) -> None:
    x, y = newcomer
    blind = log_loss(y, np.full(len(y), y.mean()))
    assert log_loss(y, pd_of(theta, theta.at_rest(), x)) < blind


def test_theta_is_right_on_average_on_the_rows_it_learned_from(theta: Theta, table: SourceTable) -> None:
    weights = {**theta.at_rest(), "level": torch.zeros(1, dtype=torch.float64)}
    assert pd_of(theta, weights, table.x).mean() == pytest.approx(table.y.mean(), abs=1e-4)


def test_the_report_holds_every_source_market_once(trained, table: SourceTable) -> None:
    report = trained[1]
    assert sorted(row["market"] for row in report["leave_markets_out"]) == sorted(set(table.market))
    assert all(row["n_markets"] >= 2 and 0 <= row["harmed_share"] <= 1 for row in report["expected_gain"])


def test_a_killed_run_resumes_to_the_same_theta(table: SourceTable, theta: Theta, monkeypatch) -> None:
    monkeypatch.setattr("meta.stages.SAVE_EVERY_S", 0.0)

    class Killed(Exception):
        pass

    def die_at(step: int):
        def listen(progress) -> None:
            if progress.step == step:
                raise Killed

        return listen

    store = MemoryStore()
    for step in (70, 90):  # in the middle of pooled rows, then again further on
        with pytest.raises(Killed):
            MetaTraining(SCHEMA, table, SETTINGS).run(die_at(step), store)
    seen = []
    resumed, _ = MetaTraining(SCHEMA, table, SETTINGS).run(seen.append, store)
    assert (seen[0].phase, seen[0].step) == ("the teacher of pooled rows", 89)  # not 0: it goes on, and says so
    assert sha256(resumed.pack()) == sha256(theta.pack())


def test_a_state_of_other_settings_or_a_broken_one_is_not_taken_up(table: SourceTable) -> None:
    store = MemoryStore()
    quick = replace(SETTINGS, pooled_steps=10, outer_steps=2, teacher_share=0.0)
    training = MetaTraining(SCHEMA, table, quick)
    expected, _ = training.run(lambda progress: None, store)
    for stored in (store.states[-1][:-1] + b"!", store.states[-1]):
        other = MetaTraining(SCHEMA, table, replace(quick, seed=1))
        seen = []
        other.run(seen.append, MemoryStore(stored))
        first = next(event for event in seen if event.step > 0)
        assert (first.phase, first.step) == ("fold 1 of 2: pooled rows", 1)
    assert sha256(expected.pack()) == sha256(training.run(lambda progress: None)[0].pack())


@pytest.fixture(scope="module")
def bayes(table: SourceTable):
    """A short training of the learner that takes in how markets differ: theta, report and every event."""
    learner = replace(SETTINGS.learner, learner="map_bayes", inner_steps=6)
    settings = replace(SETTINGS, learner=learner, pooled_steps=10, outer_steps=2, teacher_share=0.0)
    seen = []
    return *MetaTraining(SCHEMA, table, settings).run(seen.append), seen


def test_progress_ends_where_it_said(bayes) -> None:
    seen = bayes[2]
    assert seen[-1].step == seen[-1].n_steps
    assert seen[-1].eta_s == 0.0
    steps = [event.step for event in seen]
    assert steps == sorted(steps)


def test_theta_holds_the_spreads_that_its_folds_taught(bayes) -> None:
    theta, report, _ = bayes
    effects, params = theta.effects, theta.params
    slots = torch.from_numpy(effects.slots)
    torch.testing.assert_close(params["prior.slope_sd"][slots].double(), torch.from_numpy(effects.slope_sd))
    torch.testing.assert_close(params["prior.center"][slots].double(), torch.from_numpy(effects.center))
    assert torch.count_nonzero(params["prior.slope_sd"]) == len(slots)
    assert params["prior.scale_sd"].item() == pytest.approx(effects.scale_sd)
    assert params["prior.logit_center"].item() == pytest.approx(effects.logit_center)
    told = report["effects"]
    assert (told["scale_sd"], told["theta_sd"]) == (effects.scale_sd, effects.theta_sd)
    assert set(told["slope_sd"]) <= set(theta.encoder.column_names)
    assert effects.theta_sd > 0
    assert max(told["slope_sd"].values()) == effects.slope_sd.max()


def test_thetas_disagree_by_the_jackknife_with_their_levels_taken_out() -> None:
    # two thetas, apart by 2 on every row after centring: sum of squares 2, variance 2, times (2 - 1)^2 / 2: 1
    assert jackknife_spread([np.array([1.0, -1.0]), np.array([9.0, 11.0])]) == pytest.approx(1.0)
    assert jackknife_spread([np.array([1.0, -1.0]), np.array([11.0, 9.0])]) == pytest.approx(0.0)
    # three: 0, 3 and -3 around their mean 0 on one row: variance 9, times (3 - 1)^2 / 3: 12
    three = [np.array([a, -a]) for a in (0.0, 3.0, -3.0)]
    assert jackknife_spread(three) == pytest.approx(np.sqrt(12.0))


def test_no_rows_give_theta_at_rest_bit_for_bit(theta: Theta, newcomer) -> None:
    x, _ = newcomer
    empty = MarketRows(x[:0], np.zeros(0), "random")
    (adapted,) = adapt_markets(theta, [empty])
    for name, value in theta.at_rest().items():
        assert torch.equal(adapted.theta_prime[name], value), name


def test_under_five_defaults_only_the_level_moves(theta: Theta, newcomer) -> None:
    x, y = newcomer
    keen = replace(theta, strength=Strength((1.0,), (1.0,)))
    rows = np.r_[np.flatnonzero(y == 1)[:4], np.flatnonzero(y == 0)[:30]]
    (adapted,) = adapt_markets(keen, [MarketRows(x[rows], y[rows], "random")])
    at_rest = keen.at_rest()
    moved = {name for name, value in adapted.theta_prime.items() if not torch.equal(value, at_rest[name])}
    assert moved == {"level"}


def test_goods_alone_lower_the_level_only(theta: Theta, newcomer) -> None:
    x, y = newcomer
    goods = x[y == 0][:40]
    (adapted,) = adapt_markets(theta, [MarketRows(goods, np.zeros(40), "random")])
    assert adapted.share == 0.0
    assert adapted.level < theta.level_prior.mean


def test_the_evidence_moves_the_ranking(theta: Theta, newcomer) -> None:
    x, y = newcomer
    keen = replace(theta, strength=Strength((5.0,), (1.0,)))
    (adapted,) = adapt_markets(keen, [MarketRows(x[:150], y[:150], "random")])
    assert not torch.equal(adapted.theta_prime["head_w"], keen.at_rest()["head_w"])
    fitted = log_loss(y[:150], pd_of(theta, adapted.theta_prime, x[:150]))
    assert fitted < log_loss(y[:150], pd_of(theta, theta.at_rest(), x[:150]))


def test_a_batch_of_markets_adapts_as_each_alone(theta: Theta, newcomer) -> None:
    x, y = newcomer
    keen = replace(theta, strength=Strength((5.0,), (1.0,)))
    markets = [MarketRows(x[a:b], y[a:b], "random") for a, b in ((0, 60), (60, 180), (180, 190))]
    for together, market in zip(adapt_markets(keen, markets), markets, strict=True):
        (alone,) = adapt_markets(keen, [market])
        for name, value in alone.theta_prime.items():
            torch.testing.assert_close(together.theta_prime[name], value, rtol=1e-4, atol=1e-5)


def test_a_market_adapts_to_the_same_bytes_whatever_the_number_of_threads(theta: Theta, newcomer) -> None:
    x, y = newcomer
    market = MarketRows(x, y, "random")
    usual, hashes = torch.get_num_threads(), set()
    try:
        for n_threads in (1, 2, 4):
            torch.set_num_threads(n_threads)
            (adapted,) = adapt_markets(theta, [market])
            posterior = posterior_of(theta, market, adapted)
            hashes.add(sha256(pack_theta_prime(adapted.theta_prime, posterior, theta_sha256(theta))))
    finally:
        torch.set_num_threads(usual)
    assert len(hashes) == 1


def test_the_level_of_a_label_selected_support_follows_the_declared_rate(theta: Theta, newcomer) -> None:
    x, y = newcomer
    rows = np.r_[np.flatnonzero(y == 1)[:12], np.flatnonzero(y == 0)[:48]]
    means = []
    for rate in (0.05, 0.2, 0.4):
        market = MarketRows(x[rows], y[rows], "case_control", DeclaredRate(rate, rate, rate))
        (adapted,) = adapt_markets(theta, [market])
        means.append(pd_of(theta, adapted.theta_prime, x).mean())
    np.testing.assert_allclose(means, [0.05, 0.2, 0.4], rtol=0.35)
    with pytest.raises(InvalidEpisode, match="needs a declared base rate"):
        MarketRows(x[rows], y[rows], "case_control")


def test_the_guard_refuses_what_is_worse_on_rows_it_has_not_seen(theta: Theta, newcomer, posted) -> None:
    x, y = newcomer

    def judged(theta: Theta, n_rows: int, inner_steps: int | None = None) -> Judgement:
        rows = MarketRows(x[:n_rows], y[:n_rows], "random")
        columns = {name: values[:n_rows] for name, values in posted.items()}
        (adapted,) = adapt_markets(theta, [rows], inner_steps=inner_steps)
        return judge(Case(theta, rows, columns, adapted, 0, inner_steps, 5, RULES))

    still = replace(theta.level_prior, sd=0.01)  # so that only the ranking is judged
    uphill = replace(theta, level_prior=still, strength=Strength((1.0,), (1.0,)), params=_steps_times(theta, -20.0))
    judgement = judged(uphill, 200)
    assert judgement.verdict == "refuse"
    assert judgement.findings[0].check == "gain"
    assert judgement.cross_fitted.report()["theta_prime"]["gain"]["high"] < 0
    diverged = judged(replace(uphill, params=_steps_times(theta, 1e4)), 200, inner_steps=8)
    assert diverged.verdict == "refuse"
    assert "diverged" in diverged.reasons[0]
    assert judged(theta, 200).verdict == "activate"
    few = judged(theta, 4)
    assert (few.verdict, few.cross_fitted) == ("hold", None)


def _steps_times(theta: Theta, factor: float):
    return {n: v * factor if n.startswith("lr.") else v for n, v in theta.params.items()}


def test_theta_and_theta_prime_survive_storage(theta: Theta, newcomer) -> None:
    x, y = newcomer
    content = theta.pack()
    stored = Theta.unpack(content, sha256(content), SCHEMA)
    assert stored.pack() == content
    (adapted,) = adapt_markets(theta, [MarketRows(x[:100], y[:100], "random")])
    posterior = posterior_of(theta, MarketRows(x[:100], y[:100], "random"), adapted)
    prime = pack_theta_prime(adapted.theta_prime, posterior, theta_sha256(theta))
    served = serve(stored, sha256(content), (prime, sha256(prime)))
    np.testing.assert_array_equal(served.logits(x), model_of(theta, adapted.theta_prime).logits(x))
    np.testing.assert_array_equal(served.posterior.root, posterior.root)
    with pytest.raises(CorruptArtifact, match="learned on schema"):
        Theta.unpack(content, sha256(content), "6" * 64)
    with pytest.raises(CorruptArtifact, match="came from theta"):
        serve(stored, "7" * 64, (prime, sha256(prime)))
    with pytest.raises(CorruptArtifact, match="expected a theta_prime"):
        serve(stored, sha256(content), (content, sha256(content)))


def test_a_giant_market_is_never_a_fold_of_its_own(columns, portfolio: pandas.DataFrame) -> None:
    names = portfolio["market"].unique()
    giant = pandas.concat([portfolio, *[portfolio[portfolio["market"] == names[0]]] * 9], ignore_index=True)
    folds = assign_folds(SourceTable.from_frame(columns, giant), 3, seed=0)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_source_rows_that_cannot_teach_are_refused(portfolio, columns, table: SourceTable) -> None:
    with pytest.raises(InvalidEpisode, match="both defaulters and goods"):
        SourceTable.from_frame(columns, portfolio[portfolio["defaulted"]])
    with pytest.raises(InvalidEpisode, match="at least 10 source markets of 40 rows, found 8"):
        assign_folds(table, 5, seed=0)
    with pytest.raises(InvalidRecipe, match="n_folds"):
        replace(SETTINGS, n_folds=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="no CUDA device"):
        replace(SETTINGS, device="cuda")
