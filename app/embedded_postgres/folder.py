"""The data folder: who owns it, what lies in it, and that nothing of an earlier run still lives there.

owner.lock     locked by the owner alone: a second owner is refused at once
server.lock    locked by every process of the server, which inherit it: free means that none of them lives
password       the password of the only role, readable by the owner alone
cluster/       PostgreSQL's data, once whole;  initializing/  while it is being made
socket/        the only way in, for the server's user (and root) alone
postgres.log   what this run says;  postgres.log.1  what the run before said
binaries-*/    a copy of the programs, only where root's server could not reach the originals
"""

import fcntl
import hashlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from app.embedded_postgres.errors import DataFolderInUse, UnusableDataFolder
from app.embedded_postgres.user import ServerUser, choose_server_user

SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 107 if sys.platform == "linux" else 103  # bytes: sockaddr_un.sun_path less its NUL
PROGRAMS = ("postgres", "initdb")
LAST_PROCESS_TIMEOUT_S = 10.0  # PostgreSQL's immediate shutdown kills what has not ended after 5 s


def default_data_dir() -> Path:
    """Name the data folder used when none is given: below /var/lib for root, else below the user's data home."""
    if os.geteuid() == 0:  # the server is not root then, and can't reach a folder below /root
        return Path("/var/lib/thetaprime/postgres")
    data_home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(data_home) if data_home.startswith("/") else Path.home() / ".local/share") / "thetaprime/postgres"


class DataFolder:
    """One data folder, as its owner sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.cluster = self.path / "cluster"
        self.side = self.path / "initializing"
        self.pid_file = self.cluster / "postmaster.pid"
        self.password_file = self.path / "password"
        self.log_file = self.path / "postgres.log"
        self.user = ServerUser(os.geteuid(), os.getegid())

    @property
    def socket_dir(self) -> Path:
        """Beside the data, or in /tmp where that path is too long or has a comma, which parts hosts in a URL."""
        beside = self.path / "socket"
        if len(os.fsencode(beside / SOCKET_NAME)) <= MAX_SOCKET_PATH and "," not in str(beside):
            return beside
        return Path("/tmp") / f"thetaprime-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}"

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Make the folder where it is absent and be its one owner."""
        self.user = choose_server_user(self.cluster)
        self._make()
        lock = _open_lock(self.path / "owner.lock")
        try:
            if not _locked(lock):
                owner = os.pread(lock, 20, 0).decode()
                raise DataFolderInUse(
                    f"A data folder has one owner at a time, and process {owner} owns {self.path}. "
                    "Stop that process, or choose another data folder."
                )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            if os.geteuid() == 0:
                self._require_reachable()
            yield
        finally:
            os.close(lock)

    @contextmanager
    def server_lock(self) -> Iterator[int]:
        """Wait until no process of an earlier server lives and hold the lock that the next one's inherit."""
        lock = _open_lock(self.path / "server.lock")
        try:
            if not _locked_within(LAST_PROCESS_TIMEOUT_S, lock):
                _kill_holders(self.path / "server.lock")
                if not _locked_within(LAST_PROCESS_TIMEOUT_S, lock):
                    raise DataFolderInUse(
                        f"Processes of an earlier server still hold {self.path / 'server.lock'}. "
                        "Find them with lsof and end them with kill -QUIT."
                    )
            yield lock
        finally:
            os.close(lock)

    def make_private(self, folder: Path) -> None:
        """Make a folder for the server alone. What an interrupted run left there goes; nobody else's is used."""
        if os.path.lexists(folder):
            shutil.rmtree(folder)
        folder.mkdir(0o700)
        os.chown(folder, self.user.uid, self.user.gid)

    def forget_stale_pid(self) -> None:
        """PostgreSQL takes any living process with its old number for a server; after a reboot that is often wrong."""
        if sys.platform != "linux" or not self.pid_file.exists():
            return
        if _program_of(self.pid_file.read_text().split("\n")[0]) != "postgres":
            self.pid_file.unlink()

    def new_log(self) -> BinaryIO:
        """Open an empty log and keep the one before: what a crash said is read after the restart."""
        with suppress(FileNotFoundError):
            self.log_file.replace(self.path / "postgres.log.1")
        return open(os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "ab")

    def _make(self) -> None:
        for folder in reversed([self.path, *self.path.parents]):
            if not folder.exists():
                folder.mkdir(0o700, exist_ok=True)
                if os.geteuid() == 0:  # the server's group may pass, and only pass
                    os.chown(folder, 0, self.user.gid)
                    folder.chmod(0o710)
        if not (self.path / "owner.lock").exists() and any(self.path.iterdir()):
            raise UnusableDataFolder(
                f"A data folder must be new, empty or an earlier one, and {self.path} holds other files. "
                "Choose another folder."
            )

    def _require_reachable(self) -> None:
        complaint = self.user.complaint(self.path)
        if complaint is not None:
            raise UnusableDataFolder(
                f"PostgreSQL refuses to run as root, so its server runs as {self.user}, who can't enter the data "
                f"folder {self.path} ({complaint}). No existing folder's permissions are widened: choose a data folder "
                f"outside root's home (by default {default_data_dir()}), or run as an ordinary user."
            )


def write_secret(path: Path, secret: str, uid: int, gid: int) -> None:
    """Write a new file that only its owner can read, and have it on the disk before returning."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        os.fchown(file.fileno(), uid, gid)
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the folder's names, a rename among them, on the disk before returning."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_within(seconds: float, lock: int) -> bool:
    deadline = time.monotonic() + seconds
    while not _locked(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _kill_holders(lock_file: Path) -> None:
    """Kill backends that outlived their server: a busy one looks for it only when it waits for something.

    Safe, because the caller owns the folder: no living owner's server holds the lock. Linux alone has /proc.
    """
    for pid in filter(str.isdigit, os.listdir("/proc") if sys.platform == "linux" else []):
        with suppress(OSError):  # processes end while we look
            descriptors = (Path("/proc") / pid / "fd").iterdir() if _program_of(pid) in PROGRAMS else []
            if any(descriptor.samefile(lock_file) for descriptor in descriptors):
                os.kill(int(pid), signal.SIGKILL)


def _program_of(pid: str) -> str | None:
    try:
        return (Path("/proc") / pid / "comm").read_text().strip()
    except OSError:
        return None
