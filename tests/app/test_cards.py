"""Model cards: what is stored of a version, on one page, with words on what it is not."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from app.domain import card_texts
from app.domain.markets import BaseRate
from app.main import create_app
from app.services.training_run import run_training
from app.settings import Settings
from app.software import software_versions
from app.store.database import Database
from tests.app import fake_engine
from tests.app.bank import BASE_RATE, FEATURES, MARKET, PRODUCT, Bank, rows
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving
from tests.conftest import throwaway_database

REPORT = {
    "level": {"shift": 0.25, "sd": 0.5, "unit": "logit"},
    "evidence": "thin",
    "ladder": [{"step": "level", "kept": True}],
    "cross_fitted": None,
    "findings": [{"check": "sign", "column": None, "severity": "note", "text": "as expected"}],
}
DATED = {"opened_on_column": "opened", "observed_on_column": "observed"}
SOURCE = """market,defaulted,annual_income,utilisation,home,opened,observed
spain,1,20000,0.5,rent,2019-03-05,2021-01-01
spain,0,30000,0.5,own,2019-11-30,2021-01-01
italy,0,30000,0.5,own,2020-02-29,2021-06-01
"""


def reporting_adapt(*arguments: Any, **settings: Any) -> Any:
    return replace(fake_engine.adapt(*arguments, **settings), report=REPORT)


@pytest.fixture(scope="module")
def bank(postgres_url: str, migrated_template: str) -> Iterator[Bank]:
    """A bank with theta 2 learned from dated rows; each test has a market of its own."""
    with throwaway_database(postgres_url, template=migrated_template) as url:
        database = Database(url)
        engine = replace(FAKE_ENGINE, adapt=reporting_adapt)
        with serving(create_app(Settings(database_url=url, n_threads=4), engine)) as client:
            bank = Bank(client, database).open()
            learn(bank)
            yield bank
        database.close()


def learn(bank: Bank) -> None:
    sent = {"content": SOURCE, "headers": {"Content-Type": "text/csv"}, "params": DATED}
    assert bank.client.post(f"{bank.product}/source-data", **sent).status_code == 201
    bank.load_source("france,0,1,0.5,own\n")
    assert bank.client.post(f"{bank.product}/thetas", json={"seed": 3}).status_code == 202
    with bank.database.reading() as tx:
        training_id = tx.exec_driver_sql("SELECT max(id) FROM trainings").scalar_one()
    assert run_training(bank.database, training_id, fake_engine.train_theta)


def market(bank: Bank, slug: str, **declared: Any) -> Bank:
    assert bank.put_market(slug, **MARKET | declared).status_code == 200
    return bank.at(slug)


def card(bank: Bank, path: str) -> dict[str, Any]:
    answer = bank.client.get(f"{path}/card")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    for link in found["links"].values():
        assert bank.client.get(link).is_success, link
    assert found["links"]["self"] == f"{path}/card"
    return found


def test_the_card_of_a_theta_says_what_taught_it(bank: Bank) -> None:
    found = card(bank, f"{bank.product}/thetas/2")
    assert found["data"] == {
        "n_rows": 4,
        "n_defaults": 1,
        "n_markets": 3,
        "first_vintage": "2019-03",
        "last_vintage": "2020-02",
        "n_undated": 1,
        "markets": [
            {"market": "france", "n_rows": 1, "n_defaults": 0},
            {"market": "italy", "n_rows": 1, "n_defaults": 0},
            {"market": "spain", "n_rows": 2, "n_defaults": 1},
        ],
    }
    # one default of four: the binomial's error, 2 / sqrt(3) on the logit's scale, is more than the markets' own, 1
    reach = 4.302653 * 2 / math.sqrt(3)
    low, high = (1 / (1 + 3 * math.exp(side * reach)) for side in (1, -1))
    assert (found["base_rate"].pop("low"), found["base_rate"].pop("high")) == pytest.approx((low, high), rel=1e-5)
    assert found["base_rate"] == {
        "value": 0.25,
        "interval": 0.95,
        "n_defaults": 1,
        "n_rows": 4,
        "n_markets": 3,
        "source": "observed in the source markets",
    }
    assert (found["seed"], found["recipe"]["seed"], found["results"]) == (3, 3, {"n_rows": 4})
    assert found["software"] == software_versions()
    theta = bank.client.get(f"{bank.product}/thetas/2").json()
    schema_sha256 = bank.client.get(bank.product).json()["schema_sha256"]
    assert found["hashes"] == {"weights": theta["sha256"], "feature_schema": schema_sha256}
    assert found["product"]["outcome"] == PRODUCT["outcome"]
    assert found["product"]["features"] == [feature["name"] for feature in FEATURES]
    assert any("IFRS 9" in limit for limit in found["limits"])
    assert (found["active"], found["activations"], found["theta_primes"]) == (False, [], [])


def test_a_theta_from_before_says_that_it_does_not_know(bank: Bank) -> None:
    found = card(bank, f"{bank.product}/thetas/1")
    assert (found["data"], found["base_rate"], found["software"]) == (None, None, None)
    assert [entry["activated_by"] for entry in found["activations"]] == ["a test"]


def test_a_theta_names_what_was_adapted_from_it(bank: Bank) -> None:
    made = market(bank, "made")
    made.post(rows(9))
    made.post(rows(9, prefix="B"), seed=7)
    adapted = [each for each in card(bank, f"{bank.product}/thetas/1")["theta_primes"] if each["market"] == "made"]
    assert adapted == [
        {"market": "made", "version": 1, "verdict": "activate", "n_defaults": 3, "active": True},
        {"market": "made", "version": 2, "verdict": "hold", "n_defaults": 6, "active": False},
    ]


def test_the_card_of_a_theta_prime(bank: Bank) -> None:
    east = market(bank, "east", title="The East")
    opened = [date(2022, 5, 9), date(2022, 6, 9), date(2023, 1, 1)]
    sent = [rows(3, opened=day)[position] for position, day in enumerate(opened)]
    assert east.post(sent, seed=5).status_code == 201
    east.client.post(f"{east.market}/theta-primes/0/activate", json={"activated_by": "M. Moreau", "note": "a drill"})
    found = card(bank, f"{east.market}/theta-primes/1")
    assert found["market"] == {"slug": "east", "title": "The East", "currency": "EUR"}
    assert found["data"] == {
        "n_samples": 3,
        "n_defaults": 1,
        "design": "random",
        "first_vintage": "2022-05",
        "last_vintage": "2023-01",
        "first_observed_on": "2023-06-13",
        "last_observed_on": "2024-02-05",
    }
    assert (found["verdict"], found["reasons"]) == ("activate", ["seed 5 says activate"])
    assert (found["seed"], found["base_rate"], found["results"]) == (5, BASE_RATE, REPORT)
    theta = bank.client.get(f"{bank.product}/thetas/1").json()
    assert (found["theta"]["version"], found["theta"]["sha256"]) == (1, theta["sha256"])
    version = bank.client.get(f"{east.market}/theta-primes/1").json()
    assert (found["hashes"]["weights"], found["software"]) == (version["sha256"], software_versions())
    history = [(entry["version"], entry["replaced_version"], entry["activated_by"]) for entry in found["activations"]]
    assert history == [(1, None, "automatic"), (None, 1, "M. Moreau")]
    assert found["active"] is False


def test_the_history_is_of_this_version_alone(bank: Bank) -> None:
    past = market(bank, "past")
    for prefix in "ABC":
        past.post(rows(3, prefix=prefix))
    found = card(bank, f"{past.market}/theta-primes/1")
    assert [(entry["version"], entry["replaced_version"]) for entry in found["activations"]] == [(1, None), (2, 1)]


def test_limits_follow_from_design_rate_and_number_of_defaults() -> None:
    rate = BaseRate(value=0.1, low=0.05, high=0.2, source="bureau", as_of=date(2025, 1, 1))

    def limits(**changes: Any) -> str:
        usual: dict[str, Any] = {"design": "random", "n_samples": 40, "n_defaults": 12, "base_rate": rate}
        usual["expected"] = None
        return " ".join(card_texts.limits_of_theta_prime(**usual | changes))

    assert "made from 12 defaulted accounts. Below 50 an AUC" in limits()
    assert "an AUC" not in limits(n_defaults=50)
    assert "as good as that and 40 accounts: 10.00% (5.00% to 20.00%), bureau, 2025-01-01" in limits()
    assert "declared base rate alone" in limits(design="case_control")
    assert "No base rate was declared" in limits(base_rate=None)
    assert "mature markets that were left out" not in limits()
    measured = {"harmed_share": 0.125, "n_markets": 40, "harm": 0.002, "at": {"n_defaults": 9.6}}
    said = "With about 10 defaults, 12% of 40 mature markets that were left out lost more than 0.002 log loss"
    assert said in limits(expected=measured)
    assert "in the trials that chose how much of a move to keep" in limits(expected=measured)


def test_the_docs_say_what_gains_were_measured_on(bank: Bank) -> None:
    schemas = bank.client.get("/openapi.json").json()["components"]["schemas"]
    for name, field in (("ThetaCard", "results"), ("ThetaPrimeCard", "results"), ("ThetaPrimeDetail", "report")):
        said = schemas[name]["properties"][field]["description"]
        assert all(words in said for words in ("same trials that chose", "true default rate declared", "no guard"))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("thetas/99", 404, "unknown_theta"),
        ("thetas/0", 422, "invalid_parameter"),
        ("markets/north/theta-primes/99", 404, "unknown_theta_prime"),
        ("markets/none/theta-primes/1", 404, "unknown_market"),
    ],
)
def test_what_is_not_there_has_no_card(bank: Bank, path: str, status: int, code: str) -> None:
    answer = bank.client.get(f"{bank.product}/{path}/card")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_theta_in_training_has_no_card_yet(bank: Bank) -> None:
    version = bank.client.post(f"{bank.product}/thetas", json={}).json()["version"]
    answer = bank.client.get(f"{bank.product}/thetas/{version}/card")
    assert (answer.status_code, answer.json()["code"]) == (409, "untrained_theta")
    assert "is queued" in answer.json()["detail"]
