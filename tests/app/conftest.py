"""What tests of the service may ask for: the app on a fresh database with a small fake engine, and a bank's data."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from httpx import Client

from app.main import create_app
from app.settings import Settings
from app.store.database import Database
from tests.app.bank import Bank
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving
from tests.conftest import throwaway_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def service(database_url: str) -> FastAPI:
    return create_app(Settings(database_url=database_url, n_threads=8), FAKE_ENGINE)


@pytest.fixture
def client(service: FastAPI) -> Iterator[Client]:
    with serving(service) as client:
        yield client


@pytest.fixture
def bank(client: Client, database: Database) -> Bank:
    """A product with an active theta, and a market with a declared base rate."""
    return Bank(client, database).open()


@pytest.fixture(scope="module")
def shared_bank(postgres_url: str, migrated_template: str) -> Iterator[Bank]:
    """One bank, which takes 100 rows at a time, for all tests of a module that leave nothing behind."""
    with throwaway_database(postgres_url, template=migrated_template) as url:
        database = Database(url)
        with serving(create_app(Settings(database_url=url, n_threads=4, max_rows=100), FAKE_ENGINE)) as client:
            yield Bank(client, database).open()
        database.close()
