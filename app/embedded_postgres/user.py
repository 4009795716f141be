"""Whom the server runs as: PostgreSQL refuses to run as root."""

import os
import pwd
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.embedded_postgres.errors import UnusableDataFolder

CHILD = Path(__file__).with_name("child.py")
UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True)
class ServerUser:
    """The user and group of the server's processes: one's own, or for root an unprivileged user's."""

    uid: int
    gid: int

    def __str__(self) -> str:
        with suppress(KeyError):
            return f"user {pwd.getpwuid(self.uid).pw_name}"
        return f"user {self.uid}"

    def command(self, *program: str | Path) -> list[str]:
        """Say how to run a program as this user, ended by the kernel if the calling thread ends first."""
        return [sys.executable, "-I", "-S", *map(str, (CHILD, os.getpid(), self.uid, self.gid, *program))]

    def complaint(self, folder: Path) -> str | None:
        """Enter ``folder`` as this user and return what went wrong; permission bits alone don't tell."""
        attempt = self.command("/bin/sh", "-c", 'cd -- "$1"', "sh", folder)
        done = subprocess.run(attempt, capture_output=True, text=True, check=False, cwd="/")
        return None if done.returncode == 0 else done.stderr.strip().rsplit("\n", 1)[-1]


def choose_server_user(cluster: Path) -> ServerUser:
    """Choose an old cluster's owner, else oneself, else, as root, ``postgres`` or ``nobody``.

    Raises: UnusableDataFolder: the cluster is somebody else's or root's, or root finds no unprivileged user.
    """
    if cluster.exists():
        return _owner(cluster)
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid())
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return ServerUser(entry.pw_uid, entry.pw_gid)
    raise UnusableDataFolder(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(UNPRIVILEGED)}. Create one of them."
    )


def _owner(cluster: Path) -> ServerUser:
    status = cluster.stat()
    owner = ServerUser(status.st_uid, status.st_gid)
    if owner.uid == 0 or os.geteuid() not in (0, owner.uid):
        raise UnusableDataFolder(
            f"A data folder is served as its cluster's owner, never as root, and {cluster} belongs to {owner}. "
            "Run as its owner, or choose another data folder."
        )
    return owner
