"""serve, worker and migrate as processes: databases, ports, signals, and nothing left running."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from sqlalchemy import make_url
from typer.testing import CliRunner

from app.cli import app
from app.serving import running_worker
from app.store import migrations
from app.user_fault import ServiceDidNotStart
from app.worker import WorkerSettings
from tests.conftest import throwaway_name
from tests.e2e.processes import children_of, eventually, is_alive

THETAPRIME = [sys.executable, "-m", "app.cli"]
PATIENCE_S = 120


def run(*arguments: str, database_url: str = "", **environment: str) -> Result:
    return CliRunner(env={"DATABASE_URL": database_url} | environment).invoke(app, arguments)


def refused(*arguments: str, database_url: str = "", **environment: str) -> str:
    """The one line that a refused command says."""
    result = run(*arguments, database_url=database_url, **environment)
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


@contextmanager
def started(*arguments: str, database_url: str = "") -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A command that stays, and the address that it tells; killed at the end if it still runs."""
    settings = os.environ | {"DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*THETAPRIME, *arguments], env=settings, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.match(r"Thetaprime at (http://\S+),", line)
            assert found is not None, line + process.stderr.read()
            address = found.group(1)
            eventually(lambda: _answers(address), "the service answers")
            yield process, address
        finally:
            process.kill()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/v1/products", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def descendants(pid: int) -> list[int]:
    children = children_of(pid)
    return [*children, *(found for child in children for found in descendants(child))]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.gettempdir()) / throwaway_name()  # root's PostgreSQL can't reach pytest's own folder
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_brings_its_own_database_and_worker_and_leaves_nothing_running(folder: Path, number: int) -> None:
    with started("serve", "--port", "0", "--data-dir", str(folder)) as (process, address):
        port = address.rpartition(":")[2]
        assert f"Port {port} of 127.0.0.1 can't be had" in refused("serve", "--port", port, "--data-dir", str(folder))
        in_use = refused("serve", "--port", "0", "--data-dir", str(folder))
        assert f"process {process.pid} owns {folder}" in in_use
        family = descendants(process.pid)
        assert len(family) > 2, "PostgreSQL with its backends, and the worker"
        process.send_signal(number)
        assert process.stderr is not None
        assert process.stderr.read().endswith("Stopped.\n")
        assert process.wait(PATIENCE_S) == 0
        assert [pid for pid in family if is_alive(pid)] == []


def test_serve_over_a_given_database_asks_for_its_migrations(empty_database_url: str) -> None:
    assert "run: thetaprime migrate" in refused("serve", "--port", "0", database_url=empty_database_url)
    assert "run: thetaprime migrate" in refused("worker", database_url=empty_database_url)
    assert run("migrate", database_url=empty_database_url).exit_code == 0
    assert migrations.is_current(empty_database_url)
    with started("serve", "--port", "0", database_url=empty_database_url) as (process, address):
        assert httpx.get(f"{address}/v1/products", trust_env=False).json() == {"items": [], "next_after": None}
        assert descendants(process.pid) == [], "workers of a shared database are started on their own"
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_migrations_are_undone_only_where_that_is_confirmed(database_url: str) -> None:
    assert run("migrate", "--down-to", "base", database_url=database_url).exit_code == 1
    assert migrations.is_current(database_url)
    assert "nowhere" in refused("migrate", "--down-to", "nowhere", "--yes", database_url=database_url)
    assert run("migrate", "--down-to", "base", "--yes", database_url=database_url).exit_code == 0
    assert not migrations.is_current(database_url)


def test_databases_that_cannot_be_used_are_one_line_without_a_password(postgres_url: str) -> None:
    assert "DATABASE_URL is not set" in refused("migrate")
    assert "DATABASE_URL is not set" in refused("worker")
    absent = make_url(postgres_url).set(database="there_is_none").render_as_string(hide_password=False)
    for given in (absent, "mysql://user:s3cret@host/db", "postgresql://user:s3cret@127.0.0.1:9/db", "what?"):
        for command in (("migrate",), ("serve", "--port", "0")):
            line = refused(*command, database_url=given)
            assert "DATABASE_URL" in line
            assert "s3cret" not in line
            assert str(make_url(postgres_url).password or "no password") not in line


def test_a_setting_that_breaks_its_rules_is_named(database_url: str) -> None:
    line = refused("serve", "--port", "0", database_url=database_url, THETAPRIME_MAX_ROWS="many")
    assert "max_rows" in line


def test_a_worker_ends_in_good_order(database_url: str) -> None:
    environment = os.environ | {"DATABASE_URL": database_url}
    with subprocess.Popen([*THETAPRIME, "worker"], env=environment) as process:
        eventually(lambda: _has_worker(database_url), "the worker has announced itself")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def _has_worker(url: str) -> bool:
    from app.store.database import Database

    database = Database(url, pool_size=1)
    try:
        with database.reading() as tx:
            return tx.exec_driver_sql("SELECT count(*) FROM jobs.procrastinate_workers").scalar_one() > 0
    finally:
        database.close()


def test_a_worker_that_ended_by_itself_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr("app.serving.start_worker", lambda settings, log_to: ended)
    settings = WorkerSettings(database_url="postgresql://nobody@127.0.0.1:9/none")
    with running_worker(settings, tmp_path / "worker.log") as check, pytest.raises(ServiceDidNotStart) as caught:
        check()
    assert str(tmp_path / "worker.log") in str(caught.value)


def test_a_port_that_another_program_has_is_told_before_anything_starts(folder: Path) -> None:
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("serve", "demo"):
            assert f"Port {port} of 127.0.0.1" in refused(command, "--port", port, "--data-dir", str(folder))
    assert list(folder.iterdir()) == []
