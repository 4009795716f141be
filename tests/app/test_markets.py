"""Markets: what they declare, and what of it may change."""

from datetime import date, timedelta
from typing import Any

import pytest

from tests.app.bank import BASE_RATE, MARKET, Bank, rows

TOMORROW = (date.today() + timedelta(days=2)).isoformat()


def test_a_market_is_declared_and_read_back(bank: Bank) -> None:
    found = bank.client.get(bank.market).json()
    assert found["base_rate"] == BASE_RATE
    assert (found["currency"], found["activation"]) == ("EUR", "automatic")
    assert (found["last_version"], found["active_version"]) == (0, None)


def test_a_second_put_replaces_the_declaration_and_keeps_the_versions(bank: Bank) -> None:
    bank.post(rows(9))
    before = bank.client.get(bank.market).json()
    changed = bank.put_market("north", currency="USD", activation="approval").json()
    assert (changed["currency"], changed["activation"], changed["base_rate"]) == ("USD", "approval", None)
    assert (changed["last_version"], changed["active_version"]) == (1, 1)
    assert changed["created_at"] == before["created_at"]
    assert changed["updated_at"] > before["updated_at"]


def test_markets_are_listed_by_name_in_pages(bank: Bank) -> None:
    bank.put_market("south", **MARKET)
    bank.put_market("east", **MARKET)
    page = bank.client.get(f"{bank.product}/markets", params={"limit": 2}).json()
    assert [item["slug"] for item in page["items"]] == ["east", "north"]
    rest = bank.client.get(f"{bank.product}/markets", params={"after": page["next_after"]}).json()
    assert [item["slug"] for item in rest["items"]] == ["south"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "XXX"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"base_rate": BASE_RATE | {"value": 0.3}}, "base_rate"),
        ({"base_rate": BASE_RATE | {"value": 0}}, "base_rate.value"),
        ({"base_rate": BASE_RATE | {"high": 1.5}}, "base_rate.high"),
        ({"base_rate": BASE_RATE | {"as_of": "2025-13-01"}}, "base_rate.as_of"),
        ({"base_rate": BASE_RATE | {"as_of": 20250101}}, "base_rate.as_of"),
        ({"base_rate": BASE_RATE | {"as_of": TOMORROW}}, "base_rate.as_of"),
        ({"base_rate": BASE_RATE | {"value": True}}, "base_rate.value"),
        ({"activation": "never"}, "activation"),
        ({"last_version": 7}, "last_version"),
    ],
)
def test_a_declaration_that_breaks_the_rules_is_refused(shared_bank: Bank, change: dict[str, Any], field: str) -> None:
    answer = shared_bank.put_market("south", **(MARKET | change))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert shared_bank.client.get(f"{shared_bank.product}/markets/south").status_code == 404


def test_unknown_products_and_markets_are_told_apart(shared_bank: Bank) -> None:
    assert shared_bank.client.get("/v1/products/none/markets/north").json()["code"] == "unknown_product"
    assert shared_bank.client.get(f"{shared_bank.product}/markets/none").json()["code"] == "unknown_market"
    assert shared_bank.client.put("/v1/products/none/markets/x", json=MARKET).json()["code"] == "unknown_product"
