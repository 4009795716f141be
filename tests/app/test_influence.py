"""Influence: hand-worked on the small engine, by the version's own theta, recipe, rate and samples."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from app.main import create_app
from app.settings import Settings
from app.store.database import Database
from tests.app.bank import BASE_RATE, MARKET, Bank, features, row, rows
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving
from tests.conftest import throwaway_database


@pytest.fixture(scope="module")
def bank(postgres_url: str, migrated_template: str) -> Iterator[Bank]:
    """A bank that computes the influence of nine samples at most; each test has a market of its own."""
    with throwaway_database(postgres_url, template=migrated_template) as url:
        database = Database(url)
        settings = Settings(database_url=url, n_threads=4, max_influence_samples=9)
        with serving(create_app(settings, FAKE_ENGINE)) as client:
            yield Bank(client, database).open()
        database.close()


def influence(bank: Bank, version: int = 1) -> dict[str, Any]:
    answer = bank.client.get(f"{bank.market}/theta-primes/{version}/influence")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def level(n_defaults: float, n: float, rate: float = 0.1) -> float:
    """The small engine's level: the rate of the samples and of ten accounts more at the declared rate."""
    found = (n_defaults + 10 * rate) / (n + 10)
    return math.log(found / (1 - found))


def market(bank: Bank, slug: str) -> Bank:
    assert bank.put_market(slug, **MARKET).status_code == 200
    return bank.at(slug)


def test_each_sample_is_left_out_once_and_the_largest_comes_first(bank: Bank) -> None:
    east = market(bank, "east")
    sent = [row(f"A-{i}", defaulted=i == 2, features=features(utilisation=0.0)) for i in range(3)]
    sent[0]["features"] = features(utilisation=2.0)
    assert east.post(sent).status_code == 201
    found = influence(east)
    ids = [sample["id"] for sample in bank.client.get(f"{east.market}/samples").json()["items"]]
    assert [sample["sample_id"] for sample in found["samples"]] == [ids[0], ids[2], ids[1]]
    bad, good = level(1, 3) - level(0, 2), level(1, 3) - level(1, 2)
    assert found["samples"][1] == {
        "sample_id": ids[2],
        "defaulted": True,
        "move": pytest.approx(bad),
        "level": pytest.approx(bad),
        "ranking": 0.0,
        "loss": pytest.approx(-bad),
    }
    first = found["samples"][0]
    assert (first["level"], first["ranking"]) == (pytest.approx(good), 2.0)
    assert first["move"] == pytest.approx(math.hypot(good, 2.0))
    expected = {"product": "card", "market": "east", "version": 1, "theta_version": 1, "n_samples": 3, "n_defaults": 1}
    assert found.items() >= expected.items()


def test_a_version_is_taken_as_it_was_made(bank: Bank) -> None:
    """Not by what the market has declared and sent since."""
    west = market(bank, "west")
    west.post(rows(3))
    before = influence(west)
    west.post(rows(3, prefix="B"))
    bank.put_market("west", **MARKET | {"base_rate": BASE_RATE | {"value": 0.15}})
    bank.add_theta(level=-4.0)
    assert influence(west) == before
    assert influence(west, 2)["n_samples"] == 6


def test_defaulters_alone_are_completed_as_they_were(bank: Bank) -> None:
    lone = market(bank, "lone")
    ids = bank.load_source("m,0,1,0.1,own\n" * 4)
    bank.add_theta(reference=tuple(ids))
    assert lone.post([row("A-1", defaulted=True)], design="case_control").status_code == 201
    (only,) = influence(lone)["samples"]
    assert only["level"] == pytest.approx(level(1, 1 + len(ids)) - level(0, len(ids)))


def test_a_version_of_too_many_samples_is_refused(bank: Bank) -> None:
    many = market(bank, "many")
    many.post(rows(9))
    assert len(influence(many)["samples"]) == 9
    many.post(rows(1, prefix="B"))
    answer = bank.client.get(f"{many.market}/theta-primes/2/influence")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_samples")
    assert answer.json()["detail"] == "Version 2 has 10 samples; at most 9 are left out."


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("north/theta-primes/9", 404, "unknown_theta_prime"), ("none/theta-primes/1", 404, "unknown_market")],
)
def test_what_is_not_there_has_no_influence(bank: Bank, path: str, status: int, code: str) -> None:
    answer = bank.client.get(f"{bank.product}/markets/{path}/influence")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
