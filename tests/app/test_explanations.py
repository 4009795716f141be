"""Intervals, reasons and explanations: hand-worked by the small engine, recorded, and the same again later."""

import math
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.products import PointsScale
from app.domain.scorecard import points_from_logit, points_from_pd, points_of_contribution
from tests.app.bank import Bank, features, rows

POINTS_A_LOGIT = 20 / math.log(2)  # of the usual scale
INCOME = math.tanh(3.0)  # what an income of 30,000 adds to the small engine's logit
UTILISATION = math.tanh(0.5e-4)
UTILISATION_REASON = ("utilisation.above_reference", "utilisation", UTILISATION)
RENT = 0.25


@pytest.fixture(scope="module")
def adapted(shared_bank: Bank) -> Bank:
    """A bank whose market is served by its own version; no test here changes it."""
    assert shared_bank.post(rows(9)).status_code == 201
    put = shared_bank.client.put(f"{shared_bank.market}/accounts/A-1", json={"features": features()})
    assert put.status_code == 200
    return shared_bank


def score(bank: Bank) -> dict[str, Any]:
    found: dict[str, Any] = bank.client.get(f"{bank.market}/accounts/A-1/score").json()
    return found


def logit(pd: float) -> float:
    return math.log(pd / (1 - pd))


def reason(code: str, feature: str, added: float) -> dict[str, Any]:
    return {"code": code, "feature": feature, "points": pytest.approx(-POINTS_A_LOGIT * added, rel=1e-12)}


def explanation(bank: Bank, score_id: str) -> dict[str, Any]:
    answer = bank.client.get(f"/v1/scores/{score_id}/explanation")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- points ------------------------------------------------------------------------------------------------------


def test_points_are_linear_in_the_logit() -> None:
    scale = PointsScale(base_points=500, base_odds=20, pdo=40)
    assert points_from_logit(-math.log(20), scale) == 500
    assert points_from_logit(-math.log(40), scale) == pytest.approx(540, abs=1e-9)
    assert points_of_contribution(math.log(2), scale) == pytest.approx(-40, abs=1e-12)
    assert points_from_pd(0.2, scale) == pytest.approx(points_from_logit(math.log(0.25), scale), abs=1e-9)
    assert math.copysign(1, points_of_contribution(0.0, scale)) == 1


# --- intervals and reasons ---------------------------------------------------------------------------------------


def test_an_interval_lies_around_its_pd(adapted: Bank) -> None:
    found = score(adapted)
    assert logit(found["pd_low"]) == pytest.approx(logit(found["pd"]) - 0.5)
    assert logit(found["pd_high"]) == pytest.approx(logit(found["pd"]) + 0.5)
    assert found["n_defaults"] == 3


def test_the_score_of_one_account_always_has_its_reasons(adapted: Bank) -> None:
    expected = [("annual_income.above_reference", "annual_income", INCOME), ("home.category", "home", RENT)]
    assert score(adapted)["reasons"] == [reason(*each) for each in (*expected, UTILISATION_REASON)]


def test_a_batch_has_reasons_where_they_are_asked_for(adapted: Bank) -> None:
    sent = [features(0.0, None, "own"), features(0.0, 0.0, "own"), features(home="boat")]
    without = adapted.score(*sent).json()["scores"]
    asked = adapted.score(*sent, params={"reasons": True}).json()["scores"]
    assert [each["reasons"] for each in without] == [None] * 3
    assert [each["pd"] for each in without] == [each["pd"] for each in asked]
    assert asked[0]["reasons"] == [reason("utilisation.not_provided", "utilisation", 0.125)]
    assert asked[1]["reasons"] == []
    assert asked[2]["reasons"][1] == reason("home.unseen_category", "home", 0.5)
    for each in (*without, *asked):
        recorded = adapted.client.get(f"/v1/scores/{each['id']}").json()
        assert recorded.items() >= each.items()


def test_reasons_in_a_cell_of_csv(adapted: Bank) -> None:
    body, csv = "annual_income,utilisation,home\n0,,rent\n0,0,own\n", {"Content-Type": "text/csv"}
    answer = adapted.client.post(f"{adapted.market}/scores?reasons=true", content=body, headers=csv)
    cells = [line.split(",")[7] for line in answer.text.splitlines()]
    assert cells[0] == "reasons"
    parted = [entry.split(":") for entry in cells[1].split()]
    assert [code for code, _ in parted] == ["home.category", "utilisation.not_provided"]
    assert [float(points) for _, points in parted] == pytest.approx([-0.25 * POINTS_A_LOGIT, -0.125 * POINTS_A_LOGIT])
    assert cells[2] == "none"


# --- explanations ------------------------------------------------------------------------------------------------


def test_an_explanation_adds_up_to_the_score(adapted: Bank) -> None:
    scored = score(adapted)
    found = explanation(adapted, scored["id"])
    assert [(each["feature"], each["value"]) for each in found["contributions"]] == list(features().items())
    assert [each["logit"] for each in found["contributions"]] == [INCOME, UTILISATION, RENT]
    assert found["total"]["logit"] == pytest.approx(logit(scored["pd"]), abs=1e-9)
    assert found["total"]["points"] == pytest.approx(scored["points"], abs=1e-9)
    for unit in ("logit", "points"):
        parts = [found["base"][unit], *(each[unit] for each in found["contributions"])]
        assert math.fsum(parts) == pytest.approx(found["total"][unit], abs=1e-9)
    assert found["reasons"] == scored["reasons"]
    assert (found["recorded_points"], found["account"]) == (scored["points"], "A-1")


def test_an_explanation_is_of_the_versions_that_scored(bank: Bank) -> None:
    by_theta = bank.score(features(0.0, 0.0, "own")).json()["scores"][0]
    bank.post(rows(9))
    found = explanation(bank, by_theta["id"])
    assert (found["theta_version"], found["theta_prime_version"]) == (1, None)
    assert found["base"]["logit"] == -2.0
    assert found["base"]["points"] == pytest.approx(600 + POINTS_A_LOGIT * (2 - math.log(50)))
    assert [each["points"] for each in found["contributions"]] == [0.0, 0.0, 0.0]
    assert (found["recorded_pd"], found["replayed_pd"], found["identical"]) == (by_theta["pd"], by_theta["pd"], True)


@pytest.mark.parametrize("column", ["pd", "pd_low", "pd_high"])
def test_a_number_that_is_another_by_its_last_bit_is_noticed(bank: Bank, column: str) -> None:
    bank.score(features())
    with bank.database.writing() as tx:
        recorded, score_id = tx.execute(text(f"SELECT {column}, id FROM scores")).one()
        tx.execute(text("ALTER TABLE scores DISABLE TRIGGER ALL"))
        tx.execute(text(f"UPDATE scores SET {column} = :value"), {"value": math.nextafter(recorded, 1)})
        tx.execute(text("ALTER TABLE scores ENABLE TRIGGER ALL"))
    replay = bank.client.get(f"/v1/scores/{score_id}/replay").json()
    assert replay["identical"] is False
    assert replay[f"recorded_{column}"] > replay[f"replayed_{column}"] == recorded
    assert explanation(bank, score_id)["identical"] is False


def test_a_score_from_before_intervals_is_the_same_by_its_pd_alone(bank: Bank) -> None:
    bank.score(features())
    with bank.database.writing() as tx:
        tx.execute(text("ALTER TABLE scores DISABLE TRIGGER ALL"))
        score_id = tx.execute(text("UPDATE scores SET pd_low = NULL, pd_high = NULL RETURNING id")).scalar_one()
        tx.execute(text("ALTER TABLE scores ENABLE TRIGGER ALL"))
    replay = bank.client.get(f"/v1/scores/{score_id}/replay").json()
    assert (replay["recorded_pd_low"], replay["identical"]) == (None, True)
    assert 0 < replay["replayed_pd_low"] < replay["replayed_pd"]
