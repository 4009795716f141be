"""The one way to the database: a pool of connections and the unit of work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from app.errors import DatabaseUnavailable

Transaction = Connection

LOCK_TIMEOUT_MS = 20_000
PROBE_WITHIN_S = 2  # each step of a probe: to connect, and each statement


def sqlalchemy_url(url: str) -> URL:
    """Read ``postgresql://…`` (as libpq writes it) for SQLAlchemy's psycopg dialect.

    Raises: ValueError: the URL names another database than PostgreSQL; there is no other dialect.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"DATABASE_URL must start with postgresql://, not {parsed.drivername}://")
    return parsed.set(drivername="postgresql+psycopg")


class Database:
    """A pool of PostgreSQL connections; threads beyond ``pool_size`` wait for a free one."""

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        self.url = url
        self._engine = create_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"options": f"-c timezone=UTC -c lock_timeout={LOCK_TIMEOUT_MS}"},
        )
        self._probe = create_engine(
            sqlalchemy_url(url),
            poolclass=NullPool,
            connect_args={
                "options": f"-c timezone=UTC -c statement_timeout={1000 * PROBE_WITHIN_S}",
                "connect_timeout": PROBE_WITHIN_S,
            },
        )

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """One unit of work: everything commits on leaving, before any answer, or nothing does."""
        with _database_faults(), self._engine.begin() as transaction:
            yield transaction

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that is rolled back on leaving."""
        with _database_faults(), self._engine.connect() as transaction:
            yield transaction

    @contextmanager
    def probing(self) -> Iterator[Transaction]:
        """A look at the database on a connection made for it, whatever the pool is busy with; it soon ends or fails."""
        with _database_faults(), self._probe.connect() as transaction:
            yield transaction

    @contextmanager
    def listening(self, channel: str) -> Iterator[Callable[[float], None]]:
        """Listen on a connection of its own; yields a function that waits for a notice, at most so many seconds."""
        with _database_faults(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(f"LISTEN {channel}")
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)

            def wait(seconds: float) -> None:
                with _database_faults():
                    list(driver.notifies(timeout=seconds, stop_after=1))

            try:
                yield wait
            finally:
                connection.invalidate()  # a connection that listens is of no use to others

    def close(self) -> None:
        """Close the pool's idle connections."""
        self._engine.dispose()


@contextmanager
def rehearsal(tx: Transaction) -> Iterator[None]:
    """Undo on leaving whatever was written inside."""
    savepoint = tx.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()


@contextmanager
def _database_faults() -> Iterator[None]:
    try:
        yield
    except (sqlalchemy.exc.OperationalError, psycopg.OperationalError) as fault:
        raise DatabaseUnavailable("the database could not do this now; nothing was changed, try again") from fault
