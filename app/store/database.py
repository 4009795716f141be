"""The one way to the database: a pool of connections and the unit of work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from app.errors import DatabaseUnavailable

Transaction = Connection

LOCK_TIMEOUT_MS = 20_000
POOL_TIMEOUT_S = 10.0
PROBE_WITHIN_S = 2  # each step of a probe: to connect, and each statement

# A server that is gone without a word is noticed, and not waited for. What the URL says of these counts instead.
CONNECTING: dict[str, int | str] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

_TRY_AGAIN = "The database could not do this now; try again."


def sqlalchemy_url(url: str) -> URL:
    """Read ``postgresql://…`` (as libpq writes it) for SQLAlchemy's psycopg dialect.

    Raises: ValueError: the URL names another database than PostgreSQL; there is no other dialect.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"DATABASE_URL must start with postgresql://, not {parsed.drivername}://")
    return parsed.set(drivername="postgresql+psycopg")


class Database:
    """A pool of PostgreSQL connections; threads beyond ``pool_size`` wait for a free one, though not for ever."""

    def __init__(self, url: str, *, pool_size: int = 16, pool_timeout_s: float = POOL_TIMEOUT_S) -> None:
        self.url = url
        self._engine = _make_engine(
            url,
            f"lock_timeout={LOCK_TIMEOUT_MS}",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout_s,
            pool_pre_ping=True,
        )
        self._probe = _make_engine(
            url, f"statement_timeout={1000 * PROBE_WITHIN_S}", connect_timeout=PROBE_WITHIN_S, poolclass=NullPool
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


def _make_engine(url: str, option: str, *, connect_timeout: int | None = None, **pool: Any) -> Engine:
    """Make connections in UTC with one more option; statements' values, which can be personal, stay out of faults."""
    parsed = sqlalchemy_url(url)
    arguments = {name: value for name, value in CONNECTING.items() if name not in parsed.query}
    arguments["options"] = f"-c timezone=UTC -c {option}"
    if connect_timeout is not None:
        arguments["connect_timeout"] = connect_timeout
    return create_engine(parsed, connect_args=arguments, hide_parameters=True, **pool)


@contextmanager
def _database_faults() -> Iterator[None]:
    """Answer a database that is gone, busy or not to be had; what is our own fault is left as it is."""
    try:
        yield
    except (sqlalchemy.exc.TimeoutError, psycopg.OperationalError, psycopg.InterfaceError) as fault:
        raise DatabaseUnavailable(_TRY_AGAIN) from fault
    except sqlalchemy.exc.DBAPIError as fault:
        is_gone = fault.connection_invalidated or isinstance(fault, sqlalchemy.exc.InterfaceError)
        if is_gone or isinstance(fault, sqlalchemy.exc.OperationalError):
            raise DatabaseUnavailable(_TRY_AGAIN) from fault
        raise
