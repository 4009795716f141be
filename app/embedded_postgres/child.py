"""Become a PostgreSQL program: what has to happen between the supervisor's fork and the server's exec.

Run as a script, by path, with the standard library alone, as
``python -I -S postgres_child.py OWNER_PID UID GID PROGRAM [ARGUMENT ...]``. It is a program of its own because
Python code between fork and exec (``preexec_fn``) can deadlock in a process that has threads, and torch has many.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def die_with(owner_pid: int) -> None:
    """Ask the kernel to end this process, by PostgreSQL's immediate shutdown, when its parent thread ends."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != owner_pid:  # the owner died before the request was made: no signal will come
        sys.exit("the owner died")


def main(owner_pid: str, uid: str, gid: str, *command: str) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    die_with(int(owner_pid))  # after setuid, which clears the request; exec keeps it
    os.umask(0o077)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
