"""The examples of the docs page run against the demo's product by "Execute"."""

from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import Client

from app.api import examples
from app.demo.synthetic import synthetic_portfolio
from app.store.database import Database
from tests.app.bank import Bank


@pytest.fixture
def demo(client: Client, database: Database) -> Bank:
    """The demo's product and market, as far as examples need them."""
    portfolio = synthetic_portfolio(datetime.now(UTC).date())
    assert (portfolio.slug, portfolio.market) == (examples.PRODUCT, examples.MARKET)
    assert portfolio.later["account"].iloc[0] == examples.ACCOUNT
    bank = Bank(client, database, examples.MARKET, product=examples.PRODUCT)
    outcome = {"definition": "as the source data has it", "performance_window_days": portfolio.window_days}
    schema = portfolio.schema.model_dump(mode="json")
    assert bank.declare_product(slug=examples.PRODUCT, feature_schema=schema, outcome=outcome).status_code == 201
    bank.add_theta()
    bank.put_market(examples.MARKET, **examples.MARKET_DECLARATION)
    later = [{"account": account, "features": {}} for account in portfolio.later["account"].iloc[:2]]
    assert client.post(f"{bank.market}/scores", json={"rows": later}).status_code == 200
    return bank


def operations(client: Client) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation with a body: method, path and its description, in the order of the docs page."""
    paths = client.get("/openapi.json").json()["paths"]
    found = [(method, path, described) for path in paths for method, described in paths[path].items()]
    return [operation for operation in found if "requestBody" in operation[2]]


def bodies(described: dict[str, Any]) -> list[tuple[str, Any]]:
    """The examples of an operation: media type and body."""
    found = []
    for media_type, content in described["requestBody"]["content"].items():
        named = [example["value"] for example in content.get("examples", {}).values()]
        shown = content.get("schema", {}).get("examples", [])
        found += [(media_type, body) for body in [*named, *shown, content.get("example")] if body is not None]
    return found


def place(path: str, described: dict[str, Any]) -> str:
    """The path with its parameters' examples filled in."""
    for parameter in described["parameters"]:
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", str(parameter["schema"]["examples"][0]))
    return path


def what_others_need_first(operation: tuple[str, str, dict[str, Any]]) -> tuple[bool, ...]:
    """A market before all else, source data before thetas, samples before versions."""
    method, path, _ = operation
    return method != "put", "source-data" not in path, "samples" not in path


def test_every_example_is_taken(demo: Bank) -> None:
    n_run = 0
    for method, path, described in sorted(operations(demo.client), key=what_others_need_first):
        examples_given = bodies(described)
        assert examples_given, f"{method} {path} has no example"
        for media_type, body in examples_given:
            sent: dict[str, Any] = {"json": body} if media_type == "application/json" else {"content": body}
            url = place(path, described)
            answer = demo.client.request(method, url, headers={"Content-Type": media_type}, **sent)
            assert answer.is_success, f"{method} {url}: {answer.text}"
            n_run += 1
    assert n_run >= 10


def test_every_operation_says_what_it_does(client: Client) -> None:
    document = client.get("/openapi.json").json()
    tags = [tag["name"] for tag in document["tags"]]
    for path, operations_there in document["paths"].items():
        for method, described in operations_there.items():
            assert described["summary"], (method, path)
            assert len(described["description"]) > 20, (method, path)
            assert len(described["tags"]) == 1, (method, path)
            assert described["tags"][0] in tags, (method, path)
