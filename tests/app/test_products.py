"""Products and the feature schema that every theta is bound to."""

from typing import Any

import pytest
from httpx import Client
from pydantic import ValidationError

from app.domain.schema import Feature, FeatureSchema
from tests.app.bank import FEATURES, PRODUCT, Bank


def test_a_product_is_declared_once_and_read_back(client: Client) -> None:
    created = client.post("/v1/products", json=PRODUCT)
    assert created.status_code == 201
    assert created.headers["location"] == "/v1/products/card"
    assert client.get("/v1/products/card").json() == created.json()
    assert created.json()["active_theta_version"] is None
    assert created.json()["points_scale"] == {"base_points": 600.0, "base_odds": 50.0, "pdo": 20.0}
    assert created.json()["schema_sha256"] == FeatureSchema.model_validate(PRODUCT["feature_schema"]).sha256()


def test_the_same_declaration_again_changes_nothing(client: Client) -> None:
    first = client.post("/v1/products", json=PRODUCT)
    again = client.post("/v1/products", json=PRODUCT)
    assert (again.status_code, again.json()) == (200, first.json())


def test_another_declaration_under_the_same_name_is_a_conflict(client: Client) -> None:
    client.post("/v1/products", json=PRODUCT)
    other = client.post("/v1/products", json=PRODUCT | {"title": "Another"})
    assert (other.status_code, other.json()["code"]) == (409, "product_exists")
    assert client.get("/v1/products/card").json()["title"] == PRODUCT["title"]


def test_products_are_listed_in_pages(client: Client) -> None:
    for slug in ("c", "a", "b"):
        client.post("/v1/products", json=PRODUCT | {"slug": slug})
    first = client.get("/v1/products", params={"limit": 2}).json()
    assert [item["slug"] for item in first["items"]] == ["a", "b"]
    rest = client.get("/v1/products", params={"limit": 2, "after": first["next_after"]}).json()
    assert [item["slug"] for item in rest["items"]] == ["c"]
    assert rest["next_after"] is None


def test_an_unknown_product_is_not_found(client: Client) -> None:
    answer = client.get("/v1/products/none")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_product")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "two words"}, "slug"),
        ({"title": ""}, "title"),
        ({"colour": "red"}, "colour"),
        ({"outcome": {"definition": "x", "performance_window_days": 0}}, "outcome.performance_window_days"),
        ({"points_scale": {"pdo": 0}}, "points_scale.pdo"),
        ({"feature_schema": {"features": []}}, "feature_schema.features"),
        ({"feature_schema": {"features": FEATURES + FEATURES}}, "feature_schema"),
        (
            {"feature_schema": {"features": [FEATURES[0], {"name": "market", "kind": "numeric"}]}},
            "feature_schema.features.1",
        ),
        (
            {"feature_schema": {"features": [FEATURES[0], {"name": "x", "kind": "date"}]}},
            "feature_schema.features.1.kind",
        ),
    ],
)
def test_a_declaration_that_breaks_the_rules_is_refused(shared_bank: Bank, change: dict[str, Any], field: str) -> None:
    answer = shared_bank.declare_product(**({"slug": "refused"} | change))
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_body"
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]
    assert shared_bank.count("products") == 1


NUMBER = Feature(name="x", kind="numeric", minimum=0, maximum=10)
TEXT = Feature(name="x", kind="categorical", nullable=False)


@pytest.mark.parametrize(
    ("feature", "value", "rule"),
    [
        (NUMBER, 5, None),
        (NUMBER, None, None),
        (NUMBER, -0.1, "must be at least 0"),
        (NUMBER, 11, "must be at most 10"),
        (NUMBER, True, "must be a number"),
        (NUMBER, "5", "must be a number"),
        (NUMBER, [5], "must be a number"),
        (NUMBER, float("nan"), "must be a finite number"),
        (NUMBER, float("inf"), "must be a finite number"),
        (NUMBER, 10**400, "must be a finite number"),
        (TEXT, "any", None),
        (TEXT, None, "is required and must not be null"),
        (TEXT, "", "must have 1 to 200 characters"),
        (TEXT, "x" * 201, "must have 1 to 200 characters"),
        (TEXT, "a\x00b", "must not hold control characters"),
        (TEXT, "\ud800", "must not hold control characters"),
        (TEXT, 3, "must be a string"),
        (TEXT, {"a": 1}, "must be a string"),
    ],
)
def test_one_value_and_a_column_of_it_are_judged_alike(feature: Feature, value: object, rule: str | None) -> None:
    assert feature.fault(value) == rule
    good: list[object] = [1.0] if feature is NUMBER else ["good"]
    expected = [] if rule is None else [(1, rule)]
    assert feature.faults_in([*good, value, *good]) == expected


def test_the_order_of_features_is_part_of_the_schema() -> None:
    one = FeatureSchema.model_validate({"features": FEATURES})
    other = FeatureSchema.model_validate({"features": FEATURES[::-1]})
    assert one.sha256() != other.sha256()
    assert one.sha256() == FeatureSchema.model_validate(one.model_dump(mode="json")).sha256()


def test_a_schema_never_holds_a_range_upside_down() -> None:
    with pytest.raises(ValidationError, match="minimum must not be above maximum"):
        Feature(name="x", kind="numeric", minimum=2, maximum=1)


def test_the_service_keeps_the_order_of_features(bank: Bank) -> None:
    found = bank.client.get(bank.product).json()["feature_schema"]["features"]
    assert [feature["name"] for feature in found] == [feature["name"] for feature in FEATURES]
