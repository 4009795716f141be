"""What every test may ask for: a real PostgreSQL, a fresh database in it, the real data."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.embedded_postgres import EmbeddedPostgres, create_database, drop_database

# Before torch is loaded: OpenMP threads that spin while they wait make it 20 times slower where the cores are shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def throwaway_name() -> str:
    return f"thetaprime_test_{secrets.token_hex(6)}"


@contextmanager
def throwaway_database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a database that is dropped afterwards, whoever is still connected."""
    name = throwaway_name()
    url = create_database(server_url, name, template=template)
    try:
        yield url
    finally:
        drop_database(server_url, name)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server: the one in DATABASE_URL, or an embedded one in a folder that is removed afterwards."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    # Not pytest's own temporary folder: that one is closed to everybody but root, and root's server is not root.
    folder = Path(tempfile.gettempdir()) / throwaway_name()
    try:
        with EmbeddedPostgres(folder, durable=False) as server:
            yield server.url
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A fresh database without tables."""
    with throwaway_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """Name a database that was migrated once, so that each test copies it in place of migrating anew."""
    from app.store import migrations

    with throwaway_database(postgres_url) as url:
        migrations.upgrade(url)
        name = make_url(url).database
        assert name is not None
        yield name


@pytest.fixture
def database_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """A fresh database at the newest migration."""
    with throwaway_database(postgres_url, template=migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the real data sets; what needs them is skipped where they are absent."""
    folder = Path(os.environ.get("THETAPRIME_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}; set THETAPRIME_DATA to a folder with the public data sets")
    return folder
