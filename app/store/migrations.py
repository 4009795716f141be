"""Bring a database to the newest schema, or back; Alembic without a configuration file."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from app.store.database import Transaction, sqlalchemy_url

FOLDER = Path(__file__).parents[2] / "migrations"
ADVISORY_LOCK = 0x7E7A  # any constant: two processes that migrate at once take turns


def upgrade(url: str, revision: str = "head") -> None:
    """Apply every migration up to ``revision``, all or none; a second process that does the same waits."""
    with _configured(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str = "base") -> None:
    """Undo every migration after ``revision``, all or none. Tables that go take their rows with them."""
    with _configured(url) as config:
        command.downgrade(config, revision)


def is_current(url: str) -> bool:
    """Has the newest migration been applied?"""
    with _configured(url) as config:
        return has_newest(config.attributes["connection"])


def has_newest(tx: Transaction) -> bool:
    """Has the newest migration been applied to this database? Waits for no migration under way."""
    return MigrationContext.configure(tx).get_current_revision() == _newest_revision()


@cache
def _newest_revision() -> str | None:
    return ScriptDirectory(FOLDER).get_current_head()


@contextmanager
def _configured(url: str) -> Iterator[Config]:
    engine = create_engine(sqlalchemy_url(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
        yield config
