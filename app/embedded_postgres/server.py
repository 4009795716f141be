"""Start a PostgreSQL server, keep it, and leave nothing of it running."""

import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from sqlalchemy import URL

from app.embedded_postgres.binaries import Binaries, choose_binaries
from app.embedded_postgres.databases import create_database
from app.embedded_postgres.errors import EmbeddedPostgresError, PostgresDidNotStart, UnusableDataFolder
from app.embedded_postgres.folder import DataFolder, default_data_dir, sync_folder, write_secret

ROLE = "thetaprime"
READY_TIMEOUT_S = 300.0  # recovery after a crash may have much to replay
STOP_TIMEOUT_S = 60.0

SETTINGS = {
    "listen_addresses": "",
    "port": "5432",  # names the socket file (folder.SOCKET_NAME); nothing listens on it
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
    # No account's values in the log: neither DETAIL ("Key (account)=(...) already exists") nor statements.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as a ``with`` block, over a data folder that outlives it.

    Reached by a Unix socket and a password, never by TCP. If the owner is killed the server ends within seconds, and
    the next start recovers what was committed (on Linux; elsewhere the server stays, and the next start says so).
    While it runs, SIGTERM and SIGHUP end Python by SystemExit, unless the program has its own handlers.

    Args:
        data_dir: made, with mode 0700 (as root 0710, for the server's group), where absent; see `default_data_dir`.
        durable: False trades safety at a power cut for speed; for throwaway test data.

    Raises, on entering: DataFolderInUse, UnusableDataFolder, NoPostgresBinaries, PostgresDidNotStart.
    """

    def __init__(self, data_dir: Path | None = None, *, durable: bool = True) -> None:
        self._folder = DataFolder(data_dir or default_data_dir())
        self._durable = durable
        self._url: str | None = None
        self._owner_pid = os.getpid()
        self._undo = ExitStack()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the ``postgres`` database, password included.

        Raises: EmbeddedPostgresError: the server is not started.
        """
        if self._url is None:
            raise EmbeddedPostgresError("The server has no URL before it is started or after it is stopped.")
        return self._url

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database as a copy of ``template`` and return its URL."""
        return create_database(self.url, name, template=template)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it takes connections, recovered if it had crashed."""
        self._owner_pid = os.getpid()
        try:
            with ExitStack() as undo:
                undo.enter_context(_clean_end_on(signal.SIGTERM, signal.SIGHUP))
                undo.enter_context(self._folder.owned())
                self._start_server(undo)
                self._url = self._make_url()
                self._undo = undo.pop_all()
        except OSError as fault:
            raise UnusableDataFolder(f"The data folder {self._folder.path} can't be used: {fault}.") from fault

    def stop(self) -> None:
        """Stop the server and return when its last process is gone; a second call or a forked child's does nothing."""
        if os.getpid() == self._owner_pid:
            self._url = None
            self._undo.close()

    def _start_server(self, undo: ExitStack) -> None:
        with self._folder.server_lock() as lock:
            binaries = choose_binaries(self._folder)
            if not self._folder.cluster.exists():
                self._initialize(binaries, lock)
            if self._folder.side.exists():
                shutil.rmtree(self._folder.side)
            self._folder.forget_stale_pid()
            self._folder.make_private(self._folder.socket_dir)
            undo.callback(shutil.rmtree, self._folder.socket_dir)
            undo.callback(self._wait_for_last_process)
            process = self._launch(binaries, lock, undo)
        self._wait_until_ready(process)

    def _initialize(self, binaries: Binaries, lock: int) -> None:
        """Make the cluster in a side folder and rename it when it is whole: it is there entirely or not at all."""
        side = self._folder.side
        self._folder.make_private(side)
        password = secrets.token_urlsafe(32)
        write_secret(side / "password", password, self._folder.user.uid, self._folder.user.gid)
        write_secret(self._folder.password_file, password, os.geteuid(), os.getegid())
        self._run_initdb(binaries, side, lock)
        (side / "cluster").rename(self._folder.cluster)
        sync_folder(self._folder.path)

    def _run_initdb(self, binaries: Binaries, side: Path, lock: int) -> None:
        options = ["--auth-local=scram-sha-256", "--auth-host=reject", f"--username={ROLE}", "--data-checksums"]
        options += ["--encoding=UTF8", "--no-locale", f"--pwfile={side / 'password'}", f"--pgdata={side / 'cluster'}"]
        options += [] if self._durable else ["--no-sync"]
        command = self._folder.user.command(binaries.initdb, *options)
        done = subprocess.run(command, capture_output=True, text=True, check=False, **_surroundings(lock))
        if done.returncode != 0:
            raise PostgresDidNotStart(f"initdb failed on {side}:\n{(done.stdout + done.stderr)[-2000:]}")

    def _launch(self, binaries: Binaries, lock: int, undo: ExitStack) -> subprocess.Popen[bytes]:
        """Run the server from a thread that lives as long: the kernel ends a child with its parent's *thread*."""
        settings = SETTINGS | {"unix_socket_directories": str(self._folder.socket_dir)}
        settings |= {} if self._durable else NOT_DURABLE
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = self._folder.user.command(binaries.postgres, "-D", self._folder.cluster, *options)
        started: Future[subprocess.Popen[bytes]] = Future()
        stopped = threading.Event()
        threading.Thread(target=self._parent, args=(command, lock, started, stopped), daemon=True).start()
        undo.callback(stopped.set)
        undo.callback(_shut_down, started)
        return started.result()

    def _parent(
        self, command: list[str], lock: int, started: Future[subprocess.Popen[bytes]], stopped: threading.Event
    ) -> None:
        try:
            with self._folder.new_log() as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, **_surroundings(lock))
        except BaseException as fault:
            started.set_exception(fault)
        else:
            started.set_result(process)
            stopped.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _is_ready(self._folder.pid_file, process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                log = self._folder.log_file.read_text(errors="replace")
                raise PostgresDidNotStart(f"PostgreSQL did not start on {self._folder.path}:\n{log[-2000:]}")
            time.sleep(0.02)

    def _wait_for_last_process(self) -> None:
        with self._folder.server_lock():
            pass

    def _make_url(self) -> str:
        if not self._folder.password_file.exists():
            raise UnusableDataFolder(
                f"The password of {self._folder.cluster} is lost: {self._folder.password_file} is gone. "
                "Put it back from a backup, or choose another data folder."
            )
        password = self._folder.password_file.read_text()
        where = {"host": str(self._folder.socket_dir), "port": SETTINGS["port"]}
        url = URL.create("postgresql+psycopg", ROLE, password, database="postgres", query=where)
        return url.render_as_string(hide_password=False)


def _surroundings(lock: int) -> Mapping[str, Any]:
    """Nothing of the owner's but the lock: no PG* variables, no folder out of reach, no Ctrl-C of its terminal."""
    return {
        "stdin": subprocess.DEVNULL,
        "cwd": "/",
        "env": {"PATH": os.defpath, "LC_ALL": "C"},
        "pass_fds": [lock],
        "start_new_session": True,
    }


def _shut_down(started: Future[subprocess.Popen[bytes]]) -> None:
    """Ask for PostgreSQL's fast shutdown (roll back, checkpoint, end), then for the immediate one, then insist."""
    if started.exception() is not None:
        return
    process = started.result()
    for number, patience in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, STOP_TIMEOUT_S / 4)):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
    process.kill()
    process.wait()


def _is_ready(pid_file: Path, pid: int) -> bool:
    """Read what pg_ctl reads: line 1 the server's process, line 8 its state."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


@contextmanager
def _clean_end_on(*numbers: signal.Signals) -> Iterator[None]:
    """Turn signals that would end Python at once into SystemExit, so that ``with`` blocks are left in order.

    Other handlers are left alone, and so are threads, where Python allows none.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if in_main_thread and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is _exit and threading.current_thread() is threading.main_thread():
                signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
