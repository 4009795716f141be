"""Samples: which rows are used, which are set aside, which bodies are refused; and what the market becomes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from httpx import Response

from app.domain.samples import Design, is_mature
from tests.app.bank import MARKET, Bank, features, row, rows

OPENED = date(2023, 1, 1)
FUTURE = datetime.now(UTC).date() + timedelta(days=2)


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_samples_become_a_version_that_serves(bank: Bank) -> None:
    receipt = bank.post(rows(9))
    assert receipt.status_code == 201
    found = receipt.json()
    assert found["rows"] == {"n_rows": 9, "n_used": 9, "n_defaults": 3, "set_aside": []}
    assert found["adaptation"]["version"] == found["active_version"] == 1
    assert (found["adaptation"]["verdict"], found["adaptation"]["theta_version"]) == ("activate", 1)
    assert found["adaptation"]["report"]["n_support"] == 9
    assert bank.client.get(bank.market).json()["active_version"] == 1


def test_a_later_version_is_adapted_from_theta_on_all_samples(bank: Bank) -> None:
    bank.post(rows(9))
    second = bank.post(rows(5, prefix="B")).json()
    assert second["adaptation"]["version"] == 2
    assert (second["adaptation"]["n_samples"], second["adaptation"]["n_defaults"]) == (14, 5)
    assert second["adaptation"]["report"]["n_support"] == 14


def test_a_dry_run_says_the_same_and_keeps_nothing(bank: Bank) -> None:
    rehearsed = bank.post(rows(9), dry_run=True)
    assert rehearsed.status_code == 201
    assert (bank.count("samples"), bank.count("theta_primes"), bank.count("activations")) == (0, 0, 1)
    assert bank.client.get(bank.market).json()["active_version"] is None
    done = bank.post(rows(9)).json()
    assert rehearsed.json() == done | {"dry_run": True}


@pytest.mark.parametrize(
    ("design", "defaulted", "days", "mature"),
    [
        ("random", False, 365, True),
        ("random", False, 364, False),
        ("random", True, 364, False),
        ("random", True, 365, True),
        ("case_control", True, 0, True),
        ("case_control", False, 364, False),
    ],
)
def test_maturity(design: Design, defaulted: bool, days: int, mature: bool) -> None:
    dates = {"opened_on": OPENED, "observed_on": OPENED + timedelta(days=days)}
    assert is_mature(defaulted=defaulted, window_days=365, design=design, **dates) is mature


def test_young_rows_are_set_aside_and_reported(bank: Bank) -> None:
    sent = [
        row("old-1"),
        row("old-2", defaulted=True),
        row("young-good", days=30),
        row("young-bad", days=30, defaulted=True),
    ]
    random = bank.post(sent).json()["rows"]
    assert random["set_aside"] == [{"row": 2, "reason": "immature"}, {"row": 3, "reason": "immature"}]
    bank.put_market("south", **MARKET)
    south = bank.at("south").post(sent, design="case_control").json()["rows"]
    assert south["set_aside"] == [{"row": 2, "reason": "immature"}]
    assert (south["n_used"], south["n_defaults"]) == (3, 2)


def test_an_account_is_a_sample_once(bank: Bank) -> None:
    bank.post(rows(3))
    sent = [row("A-0"), row("new"), row("new", defaulted=True)]
    assert bank.post(sent).json()["rows"]["set_aside"] == [
        {"row": 0, "reason": "already_sampled"},
        {"row": 2, "reason": "repeated"},
    ]
    assert bank.count("samples") == 4


def test_a_young_row_does_not_stand_in_the_way_of_its_mature_twin(bank: Bank) -> None:
    report = bank.post([row("X", days=10), row("X")]).json()["rows"]
    assert (report["n_used"], report["set_aside"]) == (1, [{"row": 0, "reason": "immature"}])


def test_the_same_account_may_be_a_sample_of_two_markets(bank: Bank) -> None:
    bank.put_market("south", **MARKET)
    bank.post(rows(3))
    assert bank.at("south").post(rows(3)).json()["rows"]["n_used"] == 3


def test_where_no_row_is_usable_nothing_is_adapted(bank: Bank) -> None:
    receipt = bank.post([row("young", days=30)])
    assert receipt.status_code == 201
    assert receipt.json()["adaptation"] is None
    assert receipt.json()["rows"]["n_used"] == 0
    assert (bank.count("samples"), bank.count("theta_primes")) == (0, 0)
    assert bank.client.get(bank.market).json()["last_version"] == 0


def test_every_fault_of_every_row_is_listed_and_nothing_is_stored(bank: Bank) -> None:
    sent = [
        row("A-1"),
        row("A-2", features=features(income=-1) | {"colour": "red"}),
        row("A-3", defaulted=1, features=features(utilisation=3)),
        {"account": "A-4"},
        row("no spaces", observed_on="2020-01-01"),
        row("A-6", opened_on="01.02.2023"),
        row("A-7", observed_on=FUTURE.isoformat()),
        row("A-8", colour="red"),
        "a row",
    ]
    answer = bank.post(sent)
    assert code(answer) == (422, "invalid_rows")
    found = {(fault.get("row"), fault["field"]) for fault in answer.json()["errors"]}
    assert found == {
        (1, "features.annual_income"),
        (1, "features.colour"),
        (2, "defaulted"),
        (2, "features.utilisation"),
        (3, "features"),
        (3, "defaulted"),
        (3, "opened_on"),
        (3, "observed_on"),
        (4, "account"),
        (6, "observed_on"),
        (5, "opened_on"),
        (7, "rows"),
        (8, "rows"),
    }
    assert bank.count("samples") == 0


def test_a_fault_names_no_personal_value(bank: Bank) -> None:
    sent = [row("A-1", features=features(income=-123456.0, utilisation=7.5, home="x" * 300))]
    answer = bank.post(sent)
    by_field = {fault["field"]: fault for fault in answer.json()["errors"]}
    assert "value" not in by_field["features.annual_income"]
    assert by_field["features.utilisation"]["value"] == 7.5  # declared as not personal
    assert "123456" not in answer.text
    assert "xxx" not in answer.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"design": "random", "rows": []}, "rows"),
        ({"design": "cohort", "rows": [row("A")]}, "design"),
        ({"rows": [row("A")]}, "design"),
        ({"design": "random", "rows": [row("A")], "recipe": {"seed": -1}}, "recipe.seed"),
        ({"design": "random", "rows": {"0": row("A")}}, "rows"),
    ],
)
def test_a_malformed_body_is_refused(shared_bank: Bank, body: dict[str, Any], field: str) -> None:
    answer = shared_bank.client.post(f"{shared_bank.market}/samples", json=body)
    assert code(answer) == (422, "invalid_body")
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


def test_designs_are_not_mixed(bank: Bank) -> None:
    bank.post(rows(9))
    assert code(bank.post(rows(3, prefix="B"), design="case_control")) == (422, "mixed_designs")
    assert bank.count("samples") == 9


def test_rows_drawn_by_label_need_a_declared_base_rate(bank: Bank) -> None:
    bank.put_market("south", currency="EUR")
    south = bank.at("south")
    assert code(south.post(rows(9), design="case_control")) == (422, "base_rate_required")
    assert bank.count("samples") == 0
    bank.put_market("south", **MARKET)
    assert south.post(rows(9), design="case_control").json()["adaptation"]["report"]["base_rate"] == 0.1


def test_defaulters_alone_are_completed_from_thetas_reference_rows(bank: Bank) -> None:
    ids = bank.load_source("A,0,1000,,own\nA,1,20,0.5,rent\nB,0,30,0.5,rent\n")
    bank.add_theta(reference=(ids[2], ids[0]))
    for design in ("case_control", "random"):
        bank.put_market(design, **MARKET)
        receipt = bank.at(design).post(rows(3, every=1), design=design).json()
        assert receipt["adaptation"]["report"]["n_reference"] == 2
        assert receipt["adaptation"]["n_defaults"] == receipt["adaptation"]["n_samples"] == 3


def test_defaulters_alone_without_a_base_rate_are_refused(bank: Bank) -> None:
    bank.put_market("south", currency="EUR")
    assert code(bank.at("south").post(rows(3, every=1))) == (422, "base_rate_required")


def test_goods_alone_move_the_level_only_where_rows_are_random(bank: Bank) -> None:
    goods = [row(f"G-{i}") for i in range(4)]
    assert code(bank.post(goods, design="case_control")) == (422, "defaults_required")
    assert bank.post(goods).json()["adaptation"]["n_defaults"] == 0


def test_without_an_active_theta_there_is_nothing_to_adapt(client: Any, database: Any) -> None:
    bank = Bank(client, database)
    bank.declare_product()
    bank.put_market("north", **MARKET)
    assert code(bank.post(rows(3))) == (409, "no_active_theta")
    bank.add_theta(activate=False)
    assert code(bank.post(rows(3))) == (409, "no_active_theta")


def test_unknown_places_are_said_before_rows_are_read(bank: Bank) -> None:
    assert code(bank.at("none").post(["x"])) == (404, "unknown_market")
    answer = bank.client.post("/v1/products/none/markets/north/samples", json={"design": "random", "rows": ["x"]})
    assert code(answer) == (404, "unknown_product")


def test_samples_are_listed_without_features_in_pages(bank: Bank) -> None:
    bank.post(rows(3))
    bank.post(rows(2, prefix="B"))
    first = bank.client.get(f"{bank.market}/samples", params={"limit": 3}).json()
    assert [(item["account"], item["batch"]) for item in first["items"]] == [("A-0", 1), ("A-1", 1), ("A-2", 1)]
    rest = bank.client.get(f"{bank.market}/samples", params={"after": first["next_after"]}).json()
    assert [(item["account"], item["batch"]) for item in rest["items"]] == [("B-0", 2), ("B-1", 2)]
    assert set(first["items"][0]) == {"id", "account", "defaulted", "opened_on", "observed_on", "design", "batch"}


def test_concurrent_bodies_make_versions_without_gaps_and_lose_nothing(bank: Bank) -> None:
    n_posts, n_rows = 12, 5

    def post(number: int) -> dict[str, Any]:
        answer = bank.post(rows(n_rows, prefix=f"P{number}"))
        assert answer.status_code == 201, answer.text
        return answer.json()

    with ThreadPoolExecutor(n_posts) as pool:
        receipts = list(pool.map(post, range(n_posts)))
    by_version = sorted((receipt["adaptation"] for receipt in receipts), key=lambda found: found["version"])
    assert [found["version"] for found in by_version] == list(range(1, n_posts + 1))
    assert [found["n_samples"] for found in by_version] == [n_rows * i for i in range(1, n_posts + 1)]
    market = bank.client.get(bank.market).json()
    assert (market["last_version"], market["active_version"]) == (n_posts, n_posts)
    last = bank.client.get(f"{bank.market}/theta-primes/{n_posts}").json()
    everything = bank.client.get(f"{bank.market}/samples", params={"limit": 1000}).json()["items"]
    assert last["sample_ids"] == [sample["id"] for sample in everything]
    assert len(everything) == n_posts * n_rows


def test_of_concurrent_bodies_with_one_account_one_is_used(bank: Bank) -> None:
    with ThreadPoolExecutor(6) as pool:
        reports = [answer.json()["rows"] for answer in pool.map(lambda _: bank.post([row("same")]), range(6))]
    assert sorted(report["n_used"] for report in reports) == [0, 0, 0, 0, 0, 1]
    assert bank.count("samples") == 1
