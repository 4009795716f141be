"""What the engine refuses is the request's fault and said so; what it should never raise stays ours."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.engine.contract import InvalidColumns, InvalidEpisode, InvalidRecipe, MetaError, TrainingDiverged
from app.main import create_app
from app.settings import Settings
from app.store.database import Database
from tests.app import fake_engine
from tests.app.bank import MARKET, Bank, features, rows
from tests.app.serving import serving
from tests.conftest import throwaway_database

BY_SEED: dict[int, MetaError] = {
    101: InvalidEpisode("a label-selected support needs a declared base rate: its own rate says nothing"),
    102: InvalidColumns("column 'annual_income' must hold numbers or nothing"),
    103: InvalidRecipe("inner_steps must not be negative, got -1"),
    104: TrainingDiverged("the outer loss is nan"),
}


def choosy_adapt(*arguments: Any, **settings: Any) -> Any:
    """The fake engine's adaptation, but for the seeds that stand for a fault."""
    if settings["recipe"].seed in BY_SEED:
        raise BY_SEED[settings["recipe"].seed]
    return fake_engine.adapt(*arguments, **settings)


def choosy_influence(*_: Any, **__: Any) -> Any:
    raise InvalidEpisode("a support of one row has none to leave out")


class ChoosyPredictor(fake_engine.Predictor):
    def score(self, columns: Any) -> Any:
        if "castle" in columns["home"]:
            raise InvalidColumns("column 'home' holds what no encoder knows")
        return super().score(columns)


ENGINE = replace(
    fake_engine.FAKE_ENGINE, adapt=choosy_adapt, load_predictor=ChoosyPredictor, influence=choosy_influence
)


@pytest.fixture(scope="module")
def bank(postgres_url: str, migrated_template: str) -> Iterator[Bank]:
    with throwaway_database(postgres_url, template=migrated_template) as url:
        database = Database(url)
        with serving(create_app(Settings(database_url=url, n_threads=4), ENGINE)) as client:
            yield Bank(client, database).open()
        database.close()


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_an_adaptation_that_the_engine_refuses_is_answered_in_its_words(bank: Bank, seed: int) -> None:
    answer = bank.post(rows(9), seed=seed)
    assert (answer.status_code, answer.json()["code"]) == (422, "engine_refused")
    assert answer.json()["detail"] == f"{BY_SEED[seed]}."
    assert (bank.count("samples"), bank.count("theta_primes")) == (0, 0)


def test_other_faults_of_the_engine_are_ours(bank: Bank) -> None:
    answer = bank.post(rows(9), seed=104)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert bank.count("samples") == 0


def test_an_influence_that_the_engine_refuses_is_answered_in_its_words(bank: Bank) -> None:
    assert bank.put_market("lone", **MARKET).status_code == 200
    lone = bank.at("lone")
    assert lone.post(rows(1)).status_code == 201
    answer = bank.client.get(f"{lone.market}/theta-primes/1/influence")
    assert (answer.status_code, answer.json()["code"]) == (422, "engine_refused")
    assert answer.json()["detail"] == "a support of one row has none to leave out."


def test_rows_that_cannot_be_scored_are_refused_whole(bank: Bank) -> None:
    batch = bank.score(features(), features(home="castle"))
    assert (batch.status_code, batch.json()["code"]) == (422, "engine_refused")
    account = f"{bank.market}/accounts/A-1"
    assert bank.client.put(account, json={"features": features(home="castle")}).status_code == 200
    one = bank.client.get(f"{account}/score")
    assert (one.status_code, one.json()["code"]) == (422, "engine_refused")
    assert bank.count("scores") == 0
