"""The main walk on real parts, by every learner: theta, a new market's samples, theta_prime, its scores."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Client

from app.engine.training import train_theta
from app.main import create_app
from app.services import training
from app.services.training_run import run_training
from app.settings import Settings
from app.store import products, thetas
from app.store.database import Database
from meta.learners import REGISTRY
from tests.app.bank import features, row
from tests.app.serving import serving
from tests.e2e.real_bank import TINY, found_bank, read_theta

NORTH = "/v1/products/card/markets/north"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Source rows of six mature markets, and two new markets that declare a base rate of 0.1."""
    found = found_bank(database_url)
    yield found
    found.close()


def learn(database: Database, learner: str, imputer: str = "none") -> None:
    with database.writing() as tx:
        recipe = TINY.model_copy(update={"learner": learner, "imputer": imputer})
        version = training.request_theta(tx, "card", recipe, activate=True).version
        product = products.find_product(tx, "card")
        assert product is not None
        training_id = thetas.get_training(tx, product.id, version).id
    assert run_training(database, training_id, train_theta)
    assert read_theta(database, version).active


def accounts(n: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        features(
            draw.gauss(30_000, 8_000), round(draw.random(), 3), draw.choice(["own", "rent", "mortgage", None, "boat"])
        )
        for _ in range(n)
    ]


def labelled(n: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed + 1)
    return [
        row(f"A-{seed}-{i}", features=found, defaulted=draw.random() < 0.1 + 0.4 * found["utilisation"])
        for i, found in enumerate(accounts(n, seed))
    ]


def activate(client: Client) -> None:
    """Put version 1 in service, whatever its verdict on these few made-up rows."""
    answer = client.post(f"{NORTH}/theta-primes/1/activate", json={"activated_by": "a test"})
    assert answer.status_code in (200, 201), answer.text


def scores(client: Client, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = client.post(f"{NORTH}/scores", json={"rows": [{"features": each} for each in found]})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["scores"])


@pytest.mark.parametrize("learner", sorted(REGISTRY))
def test_a_market_is_opened_by(learner: str, database: Database, database_url: str) -> None:
    learn(database, learner)
    with serving(create_app(Settings(database_url=database_url, n_threads=4))) as client:
        before = scores(client, accounts(3, seed=9))
        assert {score["basis"] for score in before} == {"theta"}

        posted = client.post(f"{NORTH}/samples", json={"design": "random", "rows": labelled(60, seed=1)})
        assert posted.status_code == 201, posted.text
        outcome = posted.json()["adaptation"]
        report = outcome["report"]
        assert outcome["version"] == 1
        assert report["n_support"] == 60
        assert report["n_defaults"] == outcome["n_defaults"] > 0
        gain = report["cross_fitted"]["theta_prime"]["gain"]
        assert gain["low"] <= gain["mean"] <= gain["high"]
        activate(client)

        after = scores(client, accounts(3, seed=9))
        assert {(score["basis"], score["theta_prime_version"]) for score in after} == {("theta_prime", 1)}
        assert [score["pd"] for score in after] != [score["pd"] for score in before]
        assert all(0 < score["pd"] < 1 for score in after)
        assert [score["n_defaults"] for score in (before[0], after[0])] == [None, outcome["n_defaults"]]
        for score in (*before, *after):  # each by the version that scored it, whichever serves now
            assert 0 < score["pd_low"] < score["pd"] < score["pd_high"] < 1
            replay = client.get(f"/v1/scores/{score['id']}/replay").json()
            assert replay["identical"], replay
            explained(client, score)
        judged(client, outcome)


def explained(client: Client, score: dict[str, Any]) -> None:
    """An explanation adds up to the score, to a millionth of a logit, by the versions that scored."""
    found = client.get(f"/v1/scores/{score['id']}/explanation").json()
    assert found["identical"]
    parts = [found["base"], *found["contributions"]]
    assert sum(part["logit"] for part in parts) == pytest.approx(found["total"]["logit"], abs=1e-9)
    assert sum(part["points"] for part in parts) == pytest.approx(score["points"], abs=30e-6)
    assert [part["feature"] for part in found["contributions"]] == list(features())
    assert all(reason["points"] < 0 for reason in found["reasons"])


def judged(client: Client, outcome: dict[str, Any]) -> None:
    """What is asked of a version before it is approved: its card, its samples' influence, the table of markets."""
    card = client.get(f"{NORTH}/theta-primes/1/card").json()
    assert (card["results"], card["data"]["n_samples"]) == (outcome["report"], 60)
    theta = client.get(f"/v1/products/card/thetas/{card['theta']['version']}/card").json()
    assert (theta["data"]["n_markets"], theta["results"]["n_markets"]) == (6, 6)
    rate, losses = theta["base_rate"], theta["results"]["over_markets_left_out"]["log_loss"]
    assert rate["value"] == theta["results"]["n_defaults"] / theta["results"]["n_rows"]
    assert 0 < rate["low"] < rate["value"] < rate["high"] < 1
    assert losses["low"] < losses["mean"] < losses["high"]
    assert losses["n_markets"] == 6
    assert all(row["low"] <= row["mean_gain"] <= row["high"] for row in theta["results"]["expected_gain"])
    assert "no guard stood in between" in theta["results"]["expected_gain_measured_on"]
    influence = client.get(f"{NORTH}/theta-primes/1/influence").json()["samples"]
    moves = [sample["move"] for sample in influence]
    assert len(moves) == 60
    assert moves == sorted(moves, reverse=True)
    assert moves[0] > 0
    (state,) = client.get("/v1/ops/markets", params={"limit": 1}).json()["items"]
    assert (state["latest_evidence"], state["latest_reason"]) == (outcome["report"]["evidence"], outcome["reasons"][0])


def bits(score: dict[str, Any]) -> tuple[float, float, float]:
    return score["pd"], score["pd_low"], score["pd_high"]


def test_a_row_scores_the_same_bits_alone_and_in_any_batch(database: Database, database_url: str) -> None:
    learn(database, "meta_sgd")
    with serving(create_app(Settings(database_url=database_url, n_threads=4))) as client:
        client.post(f"{NORTH}/samples", json={"design": "random", "rows": labelled(60, seed=1)})
        found = accounts(65, seed=2)
        alone = [bits(scores(client, [each])[0]) for each in found]
        for n in (2, 7, 65):
            assert [bits(score) for score in scores(client, found[:n])] == alone[:n]
        order = random.Random(0).sample(range(65), 65)
        assert [bits(score) for score in scores(client, [found[i] for i in order])] == [alone[i] for i in order]
        client.put(f"{NORTH}/accounts/B-1", json={"features": found[0]})
        one = client.get(f"{NORTH}/accounts/B-1/score").json()
        assert bits(one) == alone[0]
        batch = {"rows": [{"features": each} for each in found[:9]]}
        explained_batch = client.post(f"{NORTH}/scores", json=batch, params={"reasons": True}).json()["scores"]
        assert explained_batch[0]["reasons"] == one["reasons"]


def test_label_selected_samples_take_their_level_from_the_declared_rate(database: Database, database_url: str) -> None:
    learn(database, "meta_sgd")
    with serving(create_app(Settings(database_url=database_url, n_threads=4))) as client:
        drawn = labelled(200, seed=3)
        bad = [each for each in drawn if each["defaulted"]][:12]
        good = [each for each in drawn if not each["defaulted"]][:12]
        posted = client.post(f"{NORTH}/samples", json={"design": "case_control", "rows": bad + good}).json()
        assert posted["adaptation"]["report"]["base_rate"]["declared"]["value"] == 0.1
        activate(client)
        pds = [score["pd"] for score in scores(client, accounts(200, seed=4))]
        assert 0.05 < sum(pds) / len(pds) < 0.2  # half of the support defaulted

        alone = client.post(
            "/v1/products/card/markets/south/samples", json={"design": "case_control", "rows": bad}
        ).json()["adaptation"]
        assert alone["report"]["n_support"] == 12
        assert alone["report"]["n_reference_goods"] == 48


@pytest.mark.parametrize("imputer", ["mean", "conditional"])
def test_accounts_with_gaps_are_filled_and_told(imputer: str, database: Database, database_url: str) -> None:
    learn(database, "map_bayes", imputer)
    with serving(create_app(Settings(database_url=database_url, n_threads=4))) as client:
        rows = labelled(60, seed=1)
        for each in rows[::2]:
            each["features"]["annual_income"] = None
        posted = client.post(f"{NORTH}/samples", json={"design": "random", "rows": rows})
        assert posted.status_code == 201, posted.text
        n_filled = posted.json()["adaptation"]["report"]["n_filled"]
        assert n_filled["annual_income"] == 30
        activate(client)

        whole, gapped, nothing = ({**found} for found in accounts(3, seed=9))
        whole["home"] = gapped["home"] = "own"
        gapped["utilisation"] = None
        nothing = dict.fromkeys(nothing)
        found = scores(client, [whole, gapped, nothing])
        assert [score["filled"] for score in found] == [[], ["utilisation"], list(features())]
        for score in found:
            assert 0 < score["pd_low"] < score["pd"] < score["pd_high"] < 1
            assert client.get(f"/v1/scores/{score['id']}").json()["filled"] == score["filled"]
            assert client.get(f"/v1/scores/{score['id']}/replay").json()["identical"]
            explained(client, score)
        card = client.get("/v1/products/card/thetas/1/card").json()
        assert card["recipe"]["imputer"] == card["results"]["imputer"]["name"] == imputer
        assert any("is filled by what mature markets suggest" in limit for limit in card["limits"])


def test_gain_without_gaps_to_learn_from_fails_with_its_reason(database: Database) -> None:
    with database.writing() as tx:
        recipe = TINY.model_copy(update={"imputer": "gain"})
        version = training.request_theta(tx, "card", recipe, activate=True).version
        product = products.find_product(tx, "card")
        assert product is not None
        training_id = thetas.get_training(tx, product.id, version).id
    run_training(database, training_id, train_theta)
    failed = read_theta(database, version)
    assert failed.status == "failed"
    assert "GAIN learns from gaps, and the source rows have none" in str(failed.error)
