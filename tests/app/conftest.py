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
