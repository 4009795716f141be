"""Outcomes: scored accounts become samples with the features of the ledger, by the rules of all samples."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import Response
from sqlalchemy import text

from app.store import samples, scores
from app.store.database import Database
from app.store.scores import Opening
from tests.app.bank import MARKET, Bank, features, rows

OLD = {"opened_on": "2023-01-01", "observed_on": "2024-06-01"}
TODAY = date.today()


def outcome(defaulted: bool = False, **values: Any) -> dict[str, Any]:
    return OLD | {"defaulted": defaulted} | values


def send(bank: Bank, *sent: Any, dry_run: bool = False, headers: dict[str, str] | None = None, **more: Any) -> Response:
    params = {"dry_run": dry_run}
    return bank.client.post(f"{bank.market}/outcomes", json={"rows": sent} | more, params=params, headers=headers)


def score(bank: Bank, account: str | None, **values: Any) -> str:
    """Score one account; returns the id of its score."""
    row = {"features": features(**values)} | ({} if account is None else {"account": account})
    answer = bank.client.post(f"{bank.market}/scores", json={"rows": [row]})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["scores"][0]["id"])


def score_many(bank: Bank, n: int) -> None:
    sent = [{"account": f"A-{i}", "features": features(income=1000.0 * i)} for i in range(n)]
    assert bank.client.post(f"{bank.market}/scores", json={"rows": sent}).status_code == 200


def dated(bank: Bank, score_id: str, moment: str) -> None:
    """Move a score to another time, behind the ledger's back."""
    with bank.database.writing() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger refuses the change
        tx.execute(text("UPDATE scores SET created_at = :moment WHERE id = :id"), {"moment": moment, "id": score_id})


def sampled(bank: Bank) -> dict[str, tuple[bool, dict[str, Any]]]:
    with bank.database.reading() as tx:
        found = tx.execute(text("SELECT account, defaulted, features FROM samples ORDER BY id"))
        return {row[0]: (row[1], row[2]) for row in found}


def faults(answer: Response) -> list[tuple[int, str, str]]:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rows"), answer.text
    return [(fault["row"], fault["field"], fault["rule"]) for fault in answer.json()["errors"]]


def test_scored_accounts_become_samples_with_the_features_as_scored(bank: Bank) -> None:
    score_many(bank, 9)
    bank.client.put(f"{bank.market}/accounts/A-1", json={"features": features(income=777.0)})  # known only later
    answer = send(bank, *(outcome(i % 3 == 0, account=f"A-{i}") for i in range(9)))
    assert answer.status_code == 201, answer.text
    receipt = answer.json()
    assert receipt["rows"] == {"n_rows": 9, "n_used": 9, "n_defaults": 3, "set_aside": []}
    assert (receipt["adaptation"]["version"], receipt["active_version"]) == (1, 1)
    assert sampled(bank) == {f"A-{i}": (i % 3 == 0, features(income=1000.0 * i)) for i in range(9)}
    listed = bank.client.get(f"{bank.market}/samples").json()["items"]
    assert {(item["design"], item["opened_on"], item["batch"]) for item in listed} == {("random", "2023-01-01", 1)}


def test_a_row_may_name_its_score(bank: Bank) -> None:
    first, _ = score(bank, "A-1", income=1.0), score(bank, "A-1", income=2.0)
    nameless = score(bank, None, income=3.0)
    sent = outcome(score=first), outcome(True, score=nameless, account="A-2")
    assert send(bank, *sent).status_code == 201
    assert sampled(bank) == {"A-1": (False, features(income=1.0)), "A-2": (True, features(income=3.0))}


@pytest.mark.parametrize(
    ("moments", "chosen"),
    [
        (["2022-12-01T00:00Z", "2023-01-01T23:59:59Z", "2023-01-02T00:00Z"], 1),
        (["2023-01-02T00:00Z", "2022-12-01T00:00Z", "2022-11-01T00:00Z"], 1),
        (["2024-01-01T00:00Z", "2023-03-01T00:00Z", "2023-05-01T00:00Z"], 1),
    ],
)
def test_an_account_counts_as_last_scored_by_its_day_of_opening_or_first_after(
    bank: Bank, moments: list[str], chosen: int
) -> None:
    for number, moment in enumerate(moments):
        dated(bank, score(bank, "A-1", income=float(number)), moment)
    assert send(bank, outcome(account="A-1")).status_code == 201
    assert sampled(bank) == {"A-1": (False, features(income=float(chosen)))}


def test_every_unknown_is_listed_with_every_other_fault(bank: Bank) -> None:
    bank.put_market("south", **MARKET)
    elsewhere = score(bank.at("south"), "A-9")
    nameless, known = score(bank, None), score(bank, "A-1")
    sent = [
        outcome(account="A-1"),
        outcome(account="A-9"),
        outcome(score=elsewhere),
        outcome(score=str(uuid4())),
        outcome(score=nameless),
        outcome(score=known, account="A-2"),
        outcome(),
        outcome(score="A-1"),
        outcome(account="a b"),
        outcome(account="A-1", features=features()),
        outcome(account="A-1", observed_on="2022-01-01"),
        {"account": "A-1"},
        "A-1",
    ]
    form = "must be an object of score, account, defaulted, opened_on, observed_on"
    assert sorted(faults(send(bank, *sent))) == [
        (1, "account", "has no score in this market"),
        (2, "score", "is not the id of a score in this market"),
        (3, "score", "is not the id of a score in this market"),
        (4, "account", "is required: this score was recorded without one"),
        (5, "account", "is not the account of this score"),
        (6, "score", "is required, or else account"),
        (7, "score", "must be the id of a score, a UUID"),
        (8, "account", "must be 1 to 100 letters, digits or . _ : - and start with a letter or digit"),
        (9, "rows", f"{form} and nothing else"),
        (10, "observed_on", "must not be before opened_on"),
        (11, "defaulted", "is required"),
        (11, "observed_on", "is required"),
        (11, "opened_on", "is required"),
        (12, "rows", form),
    ]
    assert (bank.count("samples"), bank.count("theta_primes")) == (0, 0)


def test_young_rows_repeated_accounts_and_samples_are_set_aside(bank: Bank) -> None:
    score_many(bank, 4)
    bank.post(rows(1))
    young = {"opened_on": str(TODAY - timedelta(days=30)), "observed_on": str(TODAY)}
    sent = [outcome(account=f"A-{i}") for i in (0, 1, 1)] + [outcome(True, account="A-2") | young]
    assert send(bank, *sent).json()["rows"] == {
        "n_rows": 4,
        "n_used": 1,
        "n_defaults": 0,
        "set_aside": [
            {"row": 0, "reason": "already_sampled"},
            {"row": 2, "reason": "repeated"},
            {"row": 3, "reason": "immature"},
        ],
    }


def test_designs_are_not_mixed(bank: Bank) -> None:
    score_many(bank, 2)
    bank.post(rows(3, prefix="B"), design="case_control")
    answer = send(bank, outcome(account="A-1"))
    assert (answer.status_code, answer.json()["code"]) == (422, "mixed_designs")
    assert send(bank, outcome(account="A-1"), design="case_control").status_code == 201


def test_a_dry_run_says_the_same_and_keeps_nothing(bank: Bank) -> None:
    score_many(bank, 6)
    sent = [outcome(i % 3 == 0, account=f"A-{i}") for i in range(6)]
    rehearsed = send(bank, *sent, dry_run=True)
    assert (bank.count("samples"), bank.count("theta_primes")) == (0, 0)
    assert rehearsed.json() == send(bank, *sent).json() | {"dry_run": True}


def test_a_key_makes_samples_once(bank: Bank) -> None:
    score_many(bank, 6)
    sent, key = [outcome(i == 0, account=f"A-{i}") for i in range(6)], {"Idempotency-Key": "outcomes-1"}
    first, again = send(bank, *sent, headers=key), send(bank, *sent, headers=key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (bank.count("samples"), bank.count("theta_primes")) == (6, 1)
    other = send(bank, *sent[1:], headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_a_body_may_be_longer_than_a_statement_has_parameters(database: Database) -> None:
    n_rows = 2**16
    openings = [Opening(f"A-{i}", TODAY) for i in range(n_rows)]
    with database.reading() as tx:
        assert scores.find_scored_at_opening(tx, 1, openings) == {}
        assert scores.find_scored(tx, 1, [UUID(int=i) for i in range(n_rows)]) == {}
        assert samples.find_sampled(tx, 1, [opening.account for opening in openings]) == set()


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/v1/products/none/markets/north", "unknown_product"), ("/v1/products/card/markets/none", "unknown_market")],
)
def test_unknown_places_are_said_before_rows_are_read(shared_bank: Bank, path: str, problem: str) -> None:
    answer = shared_bank.client.post(f"{path}/outcomes", json={"rows": ["x"]})
    assert (answer.status_code, answer.json()["code"]) == (404, problem)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"rows": []}, 422, "rows"),
        ({}, 422, "rows"),
        ({"rows": [outcome(account="A-1")], "design": "cohort"}, 422, "design"),
        ({"rows": [outcome(account="A-1")], "recipe": {"seed": -1}}, 422, "recipe.seed"),
        ({"rows": [outcome(account="A-1")] * 101}, 413, None),
    ],
)
def test_a_malformed_body_is_refused(shared_bank: Bank, body: Any, status: int, field: str | None) -> None:
    answer = shared_bank.client.post(f"{shared_bank.market}/outcomes", json=body)
    assert answer.status_code == status
    assert [fault["field"] for fault in answer.json()["errors"]] == ([] if field is None else [field])
