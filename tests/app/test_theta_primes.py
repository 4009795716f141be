"""Versions of a market: their history, who may serve, and the way back."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.app.bank import BASE_RATE, MARKET, Bank, features, row, rows

HOLD, REFUSE = 7, 13  # seeds by which the fake engine chooses its verdict


def activate(bank: Bank, version: int, **draft: str) -> tuple[int, str | int | None]:
    answer = bank.client.post(f"{bank.market}/theta-primes/{version}/activate", json=draft)
    return answer.status_code, answer.json()["active_version"] if answer.is_success else answer.json()["code"]


def basis(bank: Bank) -> tuple[str, int | None]:
    score = bank.score(features()).json()["scores"][0]
    return score["basis"], score["theta_prime_version"]


def test_a_version_says_how_it_came_to_be(bank: Bank) -> None:
    bank.post(rows(9), seed=5)
    found = bank.client.get(f"{bank.market}/theta-primes/1").json()
    assert (found["version"], found["theta_version"], found["verdict"]) == (1, 1, "activate")
    assert (found["recipe"]["seed"], found["design"], found["base_rate"]) == (5, "random", BASE_RATE)
    assert (found["n_samples"], found["n_defaults"], len(found["sample_ids"])) == (9, 3, 9)
    assert len(found["sha256"]) == 64
    assert found["report"]["n_support"] == 9


def test_versions_are_listed_oldest_first(bank: Bank) -> None:
    for prefix in "ABC":
        bank.post(rows(3, prefix=prefix))
    page = bank.client.get(f"{bank.market}/theta-primes", params={"limit": 2}).json()
    assert [item["version"] for item in page["items"]] == [1, 2]
    rest = bank.client.get(f"{bank.market}/theta-primes", params={"after": page["next_after"]}).json()
    assert [item["version"] for item in rest["items"]] == [3]


def test_a_version_on_hold_waits_for_a_person(bank: Bank) -> None:
    bank.post(rows(9), seed=HOLD)
    assert basis(bank) == ("theta", None)
    assert activate(bank, 1) == (200, 1)
    assert basis(bank) == ("theta_prime", 1)


def test_a_refused_version_never_serves(bank: Bank) -> None:
    bank.post(rows(9), seed=REFUSE)
    assert bank.client.get(f"{bank.market}/theta-primes/1").json()["verdict"] == "refuse"
    assert activate(bank, 1) == (409, "refused_version")
    assert basis(bank) == ("theta", None)


def test_under_approval_nothing_serves_by_itself(bank: Bank) -> None:
    bank.put_market("north", **MARKET, activation="approval")
    receipt = bank.post(rows(9)).json()
    assert (receipt["adaptation"]["verdict"], receipt["active_version"]) == ("activate", None)
    assert basis(bank) == ("theta", None)
    assert activate(bank, 1) == (200, 1)


def test_rolling_back_is_the_same_call_and_scores_follow_at_once(bank: Bank) -> None:
    bank.post(rows(9))
    bank.post(rows(9, prefix="B"))
    assert basis(bank) == ("theta_prime", 2)
    assert activate(bank, 1) == (200, 1)
    assert basis(bank) == ("theta_prime", 1)
    assert activate(bank, 0) == (200, None)
    assert basis(bank) == ("theta", None)
    assert activate(bank, 2) == (200, 2)


def test_the_history_says_who_what_and_when(bank: Bank) -> None:
    bank.post(rows(9))
    activate(bank, 0, activated_by="M. Moreau", note="complaints from the branch")
    activate(bank, 0, activated_by="nobody")  # nothing changes, nothing is written
    history = bank.client.get(f"{bank.market}/theta-primes/activations").json()["items"]
    assert [(entry["version"], entry["replaced_version"], entry["activated_by"]) for entry in history] == [
        (1, None, "automatic"),
        (None, 1, "M. Moreau"),
    ]
    assert history[1]["note"] == "complaints from the branch"
    assert history[0]["created_at"] < history[1]["created_at"]


def test_a_new_theta_moves_no_market_by_itself(bank: Bank) -> None:
    bank.post(rows(9))
    bank.put_market("south", **MARKET)
    bank.add_theta(level=-3.0)
    north, south = (market.score(features()).json()["scores"][0] for market in (bank, bank.at("south")))
    assert (north["theta_version"], north["theta_prime_version"]) == (1, 1)
    assert (south["theta_version"], south["basis"]) == (2, "theta")
    again = bank.client.post(f"{bank.market}/theta-primes", json={"seed": 1})
    assert again.status_code == 201
    assert (again.json()["adaptation"]["version"], again.json()["adaptation"]["theta_version"]) == (2, 2)
    assert again.json()["adaptation"]["report"]["theta_level"] == -3.0
    assert again.json()["active_version"] == 2


def test_adapting_again_needs_no_body_and_some_samples(bank: Bank) -> None:
    answer = bank.client.post(f"{bank.market}/theta-primes")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_samples")
    bank.post(rows(9))
    assert bank.client.post(f"{bank.market}/theta-primes").status_code == 201


def test_the_same_samples_and_recipe_give_the_same_weights(bank: Bank) -> None:
    bank.post(rows(9), seed=3)
    bank.client.post(f"{bank.market}/theta-primes", json={"seed": 3})
    versions = bank.client.get(f"{bank.market}/theta-primes").json()["items"]
    assert versions[0]["sha256"] == versions[1]["sha256"]


def test_what_is_not_there_is_not_found(bank: Bank) -> None:
    assert activate(bank, 1) == (404, "unknown_theta_prime")
    answer = bank.client.get(f"{bank.market}/theta-primes/1")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_theta_prime")
    assert bank.client.get(f"{bank.market}/theta-primes/0").json()["code"] == "invalid_parameter"
    assert bank.client.post(f"{bank.market}/theta-primes/9999999999/activate").json()["code"] == "invalid_parameter"


def test_activations_race_without_losing_an_entry(bank: Bank) -> None:
    for prefix in "ABC":
        bank.post([row(f"{prefix}-{i}", defaulted=i == 0) for i in range(3)])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: activate(bank, i % 3 + 1), range(24)))
    assert {status for status, _ in answers} == {200}
    history = bank.client.get(f"{bank.market}/theta-primes/activations").json()["items"]
    chain = [(entry["replaced_version"], entry["version"]) for entry in history]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(chain))
    assert bank.client.get(bank.market).json()["active_version"] == chain[-1][1]


def test_thetas_are_read_and_activated(bank: Bank) -> None:
    bank.add_theta(activate=False)
    found = bank.client.get(f"{bank.product}/thetas").json()["items"]
    assert [(theta["version"], theta["status"], theta["active"]) for theta in found] == [
        (1, "succeeded", True),
        (2, "succeeded", False),
    ]
    answer = bank.client.post(f"{bank.product}/thetas/2/activate", json={"activated_by": "M. Moreau"})
    assert (answer.status_code, answer.json()["active"]) == (200, True)
    history = bank.client.get(f"{bank.product}/thetas/activations").json()["items"]
    assert [(entry["version"], entry["activated_by"]) for entry in history] == [(1, "a test"), (2, "M. Moreau")]
    missing = bank.client.get(f"{bank.product}/thetas/3")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_theta")


def test_a_theta_is_asked_for_and_followed(bank: Bank) -> None:
    bank.load_any_source()
    answer = bank.client.post(f"{bank.product}/thetas", json={"learner": "maml", "seed": 4})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{bank.product}/thetas/2"
    found = bank.client.get(answer.headers["location"]).json()
    assert found == answer.json()
    assert (found["status"], found["recipe"]["learner"], found["recipe"]["seed"]) == ("queued", "maml", 4)


@pytest.mark.parametrize(
    ("lines", "told"), [("A,1,,,\nA,0,,,\n", "of one market"), ("A,1,,,\nB,1,,,\n", "have one outcome")]
)
def test_a_training_that_is_sure_to_fail_is_refused(bank: Bank, lines: str, told: str) -> None:
    bank.load_source(lines)
    answer = bank.client.post(f"{bank.product}/thetas", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_little_source_data")
    assert told in answer.json()["detail"]
    assert bank.client.get(f"{bank.product}/thetas").json()["items"][-1]["version"] == 1
    bank.load_any_source()
    assert bank.client.post(f"{bank.product}/thetas", json={}).status_code == 202
