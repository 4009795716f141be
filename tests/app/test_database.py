"""A database that is gone, silent or busy: said as such, and no longer than it takes to notice."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import make_url, text

from app.errors import DatabaseUnavailable
from app.store.copy import copy_rows
from app.store.database import CONNECTING, Database, Transaction
from app.store.tables import source_rows
from tests.app.bank import Bank, features, rows

NAME = "Jane.Doe-1970"
TERMINATE = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid")


def pid_of(tx: Transaction) -> int:
    found: int = tx.execute(text("SELECT pg_backend_pid()")).scalar_one()
    return found


def terminate(database: Database, pid: int) -> None:
    with database.writing() as tx:
        assert tx.execute(TERMINATE, {"pid": pid}).scalar_one()


def test_who_waits_too_long_for_a_connection_is_told(database_url: str) -> None:
    with closing(Database(database_url, pool_size=1, pool_timeout_s=0.05)) as database, database.writing():
        with pytest.raises(DatabaseUnavailable) as caught, database.reading():
            pytest.fail("there was no second connection")
        assert caught.value.headers["Retry-After"] == "1"


def test_a_connection_that_drops_in_a_transaction_undoes_it(bank: Bank, database_url: str) -> None:
    with closing(Database(database_url, pool_size=1)) as other:

        def write_and_drop() -> None:
            with other.writing() as tx:
                tx.execute(text("DELETE FROM source_rows"))
                terminate(bank.database, pid_of(tx))
                tx.execute(text("SELECT 1"))

        bank.load_any_source()
        with pytest.raises(DatabaseUnavailable):
            write_and_drop()
        assert bank.count("source_rows") == 2
        with other.reading() as tx:  # the pool has thrown it away
            assert tx.execute(text("SELECT 1")).scalar_one() == 1


def test_a_connection_that_drops_at_the_commit_is_no_success(bank: Bank, database_url: str) -> None:
    other = Database(database_url, pool_size=1)
    with closing(other), pytest.raises(DatabaseUnavailable), other.writing() as tx:
        terminate(bank.database, pid_of(tx))


def test_a_connection_that_drops_while_rows_are_copied_is_told(bank: Bank, database_url: str) -> None:
    def records(pid: int) -> Iterator[tuple[object, ...]]:
        for number in range(200_000):
            if number == 1:
                terminate(bank.database, pid)
            yield 1, "A", True, "{}"

    other, columns = Database(database_url, pool_size=1), ("product_id", "market", "defaulted", "features")
    with closing(other), pytest.raises(DatabaseUnavailable), other.writing() as tx:
        copy_rows(tx, source_rows, columns, records(pid_of(tx)))
    assert bank.count("source_rows") == 0


def test_a_closed_connection_is_no_fault_of_the_request(database_url: str) -> None:
    def close_and_read(tx: Transaction) -> None:
        assert isinstance(tx.connection.driver_connection, psycopg.Connection)
        tx.connection.driver_connection.close()
        tx.execute(text("SELECT 1"))

    with closing(Database(database_url)) as database, pytest.raises(DatabaseUnavailable), database.reading() as tx:
        close_and_read(tx)


def test_a_request_whose_connection_drops_may_be_sent_again(bank: Bank) -> None:
    key = {"Idempotency-Key": "again"}
    with ThreadPoolExecutor(1) as pool, bank.database.writing() as tx:
        tx.execute(text("SELECT id FROM markets FOR UPDATE"))
        waiting = pool.submit(bank.post, rows(9), headers=key)
        terminate(bank.database, pid_waiting_for_a_lock(bank.database))
        answer = waiting.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert bank.post(rows(9), headers=key).status_code == 201


def pid_waiting_for_a_lock(database: Database) -> int:
    with database.reading() as tx:
        while not (pids := tx.execute(text("SELECT pid FROM pg_locks WHERE NOT granted")).scalars().all()):
            continue
        return int(pids[0])


def test_connections_that_drop_between_requests_are_not_noticed(bank: Bank) -> None:
    assert bank.score(features()).status_code == 200
    with bank.database.writing() as tx:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        tx.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    assert [bank.score(features()).status_code for _ in range(4)] == [200] * 4


def test_a_fault_of_our_own_is_left_as_it_is_and_quotes_no_value(database: Database) -> None:
    with pytest.raises(sqlalchemy.exc.DataError) as caught, database.reading() as tx:
        tx.execute(text("SELECT 1 / 0 WHERE CAST(:name AS text) IS NOT NULL"), {"name": NAME})
    assert NAME not in str(caught.value)


# --- over TCP ----------------------------------------------------------------------------------------------------


class Wire:
    """A TCP port in front of the test's PostgreSQL, whose connections can be cut like a cable."""

    def __init__(self, upstream: tuple[int, object]) -> None:
        self._family, self._address = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.socket(self._family)
                self._ends += [near, far]
                far.connect(self._address)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(2**16):
                sink.sendall(content)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def wired(database_url: str) -> Iterator[tuple[Wire, Database]]:
    """The test's database, reached over TCP."""
    with closing(Database(database_url)) as direct, direct.reading() as tx:
        driver = tx.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        host, port = driver.info.host, driver.info.port
    unix = host.startswith("/")
    upstream = (socket.AF_UNIX, f"{host}/.s.PGSQL.{port}") if unix else (socket.AF_INET, (host, port))
    with ExitStack() as undo:
        wire = undo.enter_context(closing(Wire(upstream)))
        url = make_url(database_url).set(host="127.0.0.1", port=wire.port, query={})
        database = undo.enter_context(closing(Database(url.render_as_string(hide_password=False))))
        yield wire, database


def test_a_cable_that_is_cut_under_a_statement_is_told(database_url: str) -> None:
    with wired(database_url) as (wire, database):
        timer = threading.Timer(0.05, wire.cut)
        timer.start()
        with pytest.raises(DatabaseUnavailable), database.reading() as tx:
            tx.execute(text("SELECT pg_sleep(60)"))
        timer.join()
        with database.reading() as tx:
            assert tx.execute(text("SELECT 1")).scalar_one() == 1


def test_a_server_that_falls_silent_is_not_waited_for(database_url: str) -> None:
    with wired(database_url) as (_, database), database.reading() as tx:
        driver = tx.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with socket.socket(fileno=os.dup(driver.fileno())) as line:
            patience = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            keepalive = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    assert (patience, keepalive) == (CONNECTING["tcp_user_timeout"], CONNECTING["keepalives_idle"])


def test_a_server_that_accepts_and_never_answers_is_given_up() -> None:
    def ask(way: Callable[[], AbstractContextManager[Transaction]]) -> None:
        with pytest.raises(DatabaseUnavailable), way():
            pytest.fail("nobody answered")

    with closing(socket.create_server(("127.0.0.1", 0))) as silent, ThreadPoolExecutor(2) as pool:
        url = f"postgresql://bank:secret@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=1"
        with closing(Database(url)) as database:
            list(pool.map(ask, (database.reading, database.probing)))


def test_what_the_url_says_counts(database_url: str) -> None:
    slower = make_url(database_url).update_query_dict({"tcp_user_timeout": "44000"}).render_as_string(False)
    with closing(Database(slower)) as database, database.reading() as tx:
        driver = tx.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        parameters = driver.info.get_parameters()
    assert (parameters["tcp_user_timeout"], parameters["connect_timeout"]) == ("44000", "5")
