"""The typed client against the running service: every noun, errors, files and frames."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import pandas
import pytest

from app.client import ThetaprimeClient, ThetaprimeError, TrainingFailed
from app.domain.outcomes import OutcomeRow
from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.domain.theta_primes import ActivationDraft
from app.services.training_run import run_training
from app.store.database import Database
from meta.errors import InvalidEpisode
from tests.app import bank as data
from tests.app.bank import Bank
from tests.app.fake_engine import train_theta

WHO = ActivationDraft(activated_by="A. Tester", note="because")
SOURCE = pandas.DataFrame(
    {
        "market": ["east"] * 3 + ["west"] * 2,
        "defaulted": [True, False, False, False, True],
        "annual_income": [10_000.0, 20_000.0, None, 40_000.0, 50_000.0],
        "utilisation": [0.1, 0.2, 0.3, None, 0.5],
        "home": ["own", "rent", None, "own", "mortgage"],
    }
)


@pytest.fixture
def thetaprime(client: httpx.Client) -> Iterator[ThetaprimeClient]:
    with ThetaprimeClient(http=httpx.Client(base_url=client.base_url, trust_env=False)) as thetaprime:
        yield thetaprime


def test_a_product_is_declared_once_and_read_back(thetaprime: ThetaprimeClient) -> None:
    declared = thetaprime.declare_product(data.PRODUCT)
    assert declared == thetaprime.declare_product(data.PRODUCT) == thetaprime.get_product("card")
    assert [product.slug for product in thetaprime.list_products()] == ["card"]
    assert declared.feature_schema.names == ["annual_income", "utilisation", "home"]


def test_a_refusal_names_its_status_code_and_every_fault(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    rows = [data.row("A-1"), data.row("A-2", features=data.features(utilisation=9.0)), {"account": "A-3"}]
    with pytest.raises(ThetaprimeError) as caught:
        thetaprime.post_samples("card", "north", rows)
    fault = caught.value
    assert (fault.status, fault.code, fault.title) == (422, "invalid_rows", "Rows break the rules")
    assert {(found.row, found.field) for found in fault.faults} >= {(1, "features.utilisation"), (2, "defaulted")}
    assert "422 invalid_rows" in str(fault)
    assert "row 1, features.utilisation must be at most 2" in str(fault)
    assert list(thetaprime.list_samples("card", "north")) == []


def test_a_name_never_becomes_another_path(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    with pytest.raises(ThetaprimeError) as caught:
        thetaprime.get_account("card", "north", "A/../../../card?x#y")
    assert caught.value.status in (404, 422)
    with pytest.raises(ThetaprimeError):
        thetaprime.get_product("card/thetas")


def test_what_json_cannot_say_is_refused_before_it_is_sent(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    with pytest.raises(ThetaprimeError, match="missing value is None"):
        thetaprime.put_account("card", "north", "A-1", {"utilisation": float("nan")})


@pytest.mark.parametrize("suffix", [".frame", ".csv", ".parquet", ".jsonl"])
def test_source_data_come_from_a_file_or_a_frame(thetaprime: ThetaprimeClient, tmp_path: Path, suffix: str) -> None:
    thetaprime.declare_product(data.PRODUCT)
    path = tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        SOURCE.to_csv(path, index=False)
    elif suffix == ".parquet":
        SOURCE.to_parquet(path)
    elif suffix == ".jsonl":
        SOURCE.to_json(path, orient="records", lines=True)
    receipt = thetaprime.upload_source_data("card", SOURCE if suffix == ".frame" else path)
    assert (receipt.n_stored, receipt.n_defaults) == (5, 2)
    counted = {market.market: (market.n_rows, market.n_defaults) for market in thetaprime.count_source_data("card")}
    assert counted == {"east": (3, 1), "west": (2, 1)}


def test_columns_of_source_data_have_the_names_that_the_file_gives_them(thetaprime: ThetaprimeClient) -> None:
    thetaprime.declare_product(data.PRODUCT)
    dates = {"start": ["2020-01-01"] * 5, "seen": ["2021-06-01"] * 4 + ["2020-02-01"]}
    frame = SOURCE.rename(columns={"market": "state", "defaulted": "bad"}).assign(note="x", **dates)
    receipt = thetaprime.upload_source_data(
        "card",
        frame,
        market_column="state",
        target_column="bad",
        opened_on_column="start",
        observed_on_column="seen",
        ignore_columns=["note"],
    )
    assert (receipt.n_rows, receipt.n_stored, receipt.n_immature) == (5, 4, 1)


@pytest.mark.parametrize("name", ["nothing.csv", "table.xlsx"])
def test_a_file_that_cannot_be_sent_is_named(thetaprime: ThetaprimeClient, tmp_path: Path, name: str) -> None:
    (tmp_path / "table.xlsx").write_bytes(b"x")
    with pytest.raises(ThetaprimeError, match=name):
        thetaprime.upload_source_data("card", tmp_path / name)


def test_a_theta_is_requested_waited_for_and_activated(thetaprime: ThetaprimeClient, database: Database) -> None:
    thetaprime.declare_product(data.PRODUCT)
    thetaprime.upload_source_data("card", SOURCE)
    requested = thetaprime.request_theta("card", ThetaRecipe(seed=5))
    assert (requested.version, requested.status, requested.recipe.seed) == (1, "queued", 5)
    seen = []

    def train_at_second_look(theta: object) -> None:
        seen.append(theta)
        if len(seen) == 2:
            assert run_training(database, 1, train_theta)

    theta = thetaprime.wait_for_theta("card", 1, on_progress=train_at_second_look, poll_every_s=0.01)
    assert theta.status == "succeeded"
    assert len(seen) == 3
    assert thetaprime.activate_theta("card", 1, WHO).active
    assert [found.version for found in thetaprime.list_thetas("card")] == [1]
    assert [entry.activated_by for entry in thetaprime.list_theta_activations("card")] == ["A. Tester"]


def test_waiting_for_a_training_that_fails_raises_its_error(thetaprime: ThetaprimeClient, database: Database) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise InvalidEpisode("too few markets")

    thetaprime.declare_product(data.PRODUCT)
    thetaprime.upload_source_data("card", SOURCE)
    thetaprime.request_theta("card")
    run_training(database, 1, cannot)
    with pytest.raises(TrainingFailed, match="too few markets") as caught:
        thetaprime.wait_for_theta("card", 1)
    assert (caught.value.code, caught.value.status) == ("training_failed", None)


def test_samples_make_versions_that_are_activated_and_rolled_back(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    rehearsed = thetaprime.post_samples("card", "north", data.rows(6), dry_run=True)
    assert rehearsed.dry_run
    assert list(thetaprime.list_theta_primes("card", "north")) == []
    receipt = thetaprime.post_samples("card", "north", data.rows(6), recipe=AdaptationRecipe(seed=1))
    assert receipt.adaptation is not None
    assert (receipt.adaptation.version, receipt.adaptation.n_defaults, receipt.active_version) == (1, 2, 1)
    assert thetaprime.adapt_again("card", "north", AdaptationRecipe(seed=7)).adaptation.verdict == "hold"
    assert thetaprime.activate_theta_prime("card", "north", 2, WHO).active_version == 2
    assert thetaprime.activate_theta_prime("card", "north", 1).active_version == 1
    assert thetaprime.activate_theta_prime("card", "north", 0).active_version is None
    history = [entry.version for entry in thetaprime.list_theta_prime_activations("card", "north")]
    assert history == [1, 2, 1, None]
    assert thetaprime.get_theta_prime("card", "north", 1).sample_ids == [
        sample.id for sample in thetaprime.list_samples("card", "north")
    ]


def test_markets_are_declared_and_listed(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    assert thetaprime.put_market("card", "south", data.MARKET).currency == "EUR"
    assert thetaprime.get_market("card", "south").base_rate is not None
    assert [market.slug for market in thetaprime.list_markets("card")] == ["north", "south"]
    assert [status.market for status in thetaprime.list_market_status("card")] == ["north", "south"]
    assert thetaprime.draw_market_status("card").startswith(b"<?xml")


def test_one_account_scores_alone_as_in_a_batch_and_in_a_frame(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    features = data.features(income=12_345.0, home="castle")
    assert thetaprime.put_account("card", "north", "A-1", features).features == features
    assert thetaprime.get_account("card", "north", "A-1").features == features
    alone = thetaprime.score_account("card", "north", "A-1")
    assert alone.unseen == ["home"]
    (in_batch,) = thetaprime.score_batch("card", "north", [{"account": "A-1", "features": features}])
    frame = (
        pandas.DataFrame([data.features(), features]).assign(account=["A-0", "A-1"]).set_index("account", drop=False)
    )
    in_frame = thetaprime.score_frame("card", "north", frame)
    assert list(in_frame.index) == ["A-0", "A-1"]
    assert alone.pd == in_batch.pd == in_frame.loc["A-1", "pd"]
    assert list(in_frame.loc["A-1", "unseen"]) == ["home"]
    assert thetaprime.get_score(alone.id).features == features
    assert thetaprime.replay_score(in_frame.loc["A-1", "id"]).identical


def test_scores_come_with_reasons_and_are_taken_apart(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    (plain,) = thetaprime.score_batch("card", "north", [{"features": data.features()}])
    (reasoned,) = thetaprime.score_batch("card", "north", [{"features": data.features()}], reasons=True)
    frame = pandas.DataFrame([data.features(), data.features(0.0, 0.0, "own")])
    framed = thetaprime.score_frame("card", "north", frame, reasons=True)
    assert plain.reasons is None
    assert reasoned.reasons is not None
    assert [dict(found) for found in framed["reasons"][0]] == [found.model_dump() for found in reasoned.reasons]
    assert len(framed["reasons"][1]) == 0
    assert thetaprime.score_frame("card", "north", frame)["reasons"].isna().all()
    explained = thetaprime.explain_score(plain.id)
    assert explained.identical
    assert explained.reasons == reasoned.reasons
    assert explained.total.points == pytest.approx(plain.points)


def test_a_version_has_a_card_and_each_of_its_samples_an_influence(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    thetaprime.post_samples("card", "north", data.rows(6))
    found = thetaprime.get_influence("card", "north", 1)
    assert {sample.sample_id for sample in found.samples} == set(
        thetaprime.get_theta_prime("card", "north", 1).sample_ids
    )
    card = thetaprime.get_theta_prime_card("card", "north", 1)
    assert (card.data.n_defaults, card.theta.version) == (2, 1)
    assert [made.market for made in thetaprime.get_theta_card("card", 1).theta_primes] == ["north"]


def test_outcomes_of_scored_accounts_become_samples(thetaprime: ThetaprimeClient, bank: Bank) -> None:
    scores = thetaprime.score_batch("card", "north", [{"account": f"A-{i}", "features": data.features()} for i in "12"])
    days = {"opened_on": date(2023, 1, 1), "observed_on": date(2024, 6, 1)}
    rows = [{"score": scores[0].id, "defaulted": True, **days}, OutcomeRow(account="A-2", defaulted=False, **days)]
    receipt = thetaprime.post_outcomes("card", "north", rows, recipe=AdaptationRecipe(seed=1))
    assert (receipt.rows.n_used, receipt.rows.n_defaults, receipt.active_version) == (2, 1, 1)
    assert [sample.account for sample in thetaprime.list_samples("card", "north")] == ["A-1", "A-2"]


def test_a_long_frame_goes_by_in_parts(
    thetaprime: ThetaprimeClient, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.client.score_tables.MAX_ROWS", 4)
    frame = pandas.DataFrame([data.features(income=1000.0 * i) for i in range(10)])
    scores = thetaprime.score_frame("card", "north", frame)
    assert len(scores) == 10
    assert scores["pd"].tolist() == thetaprime.score_frame("card", "north", frame.iloc[:10])["pd"].tolist()
    assert scores["id"].nunique() == 10
    assert len(thetaprime.score_frame("card", "north", frame.iloc[:0])) == 0
