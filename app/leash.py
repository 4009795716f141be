"""A leash: the pipe on which a child process gets its order, and by whose end it hears that its parent has ended.

The order is one line of JSON, so that no password stands in the list of processes. The parent keeps the pipe open;
when it ends, in whatever way, the kernel closes the pipe. Unlike PR_SET_PDEATHSIG this works beyond Linux, and a
parent may start the child from a thread that ends.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = str(Path(__file__).parents[1])


def child_command(module: str) -> list[str]:
    """Name the program of a child: a module of ours, and never one of the same name in the current folder."""
    return [sys.executable, "-P", "-m", module]


def child_environment(**added: str) -> dict[str, str]:
    """This process's environment, by which the child finds the modules that this process has."""
    found = [PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found), **added}


def write_order(**values: Any) -> bytes:
    """Put an order into the line that a parent writes to its child's standard input."""
    return json.dumps(values).encode() + b"\n"


def take_order(when_parent_ends: Callable[[], None]) -> dict[str, Any]:
    """Read the order from standard input; from then on a thread waits for the parent's end.

    Raises: EOFError: the parent ended before it gave an order.
    """
    pipe = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115 - open until the process ends
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = pipe.read(1)
        if not piece:
            raise EOFError("the parent process ended before it gave an order")
        line += piece

    def wait() -> None:
        while pipe.read(4096):
            pass
        when_parent_ends()

    threading.Thread(target=wait, name="leash", daemon=True).start()
    order: dict[str, Any] = json.loads(line)
    return order
