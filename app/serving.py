"""The parts of a running Thetaprime, each for the length of a ``with`` block: port, database, worker, service."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psycopg
import uvicorn
from alembic.util import CommandError
from fastapi import FastAPI
from sqlalchemy.exc import ArgumentError, DBAPIError

from app.api.logging_config import LOGGING
from app.store import migrations
from app.user_fault import PortTaken, ServiceDidNotStart, UnusableDatabase
from app.worker import WorkerSettings, start_worker

STOP_WORKER_WITHIN_S = 15.0


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP as a closed terminal sends it, end the program as Ctrl-C does: blocks are left in order.

    A signal that is ignored, as under nohup, stays ignored.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def open_port(host: str, port: int) -> Iterator[socket.socket]:
    """Take a port before anything else is started; 0 takes any free one. Raises: PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as fault:
            raise PortTaken(f"Port {port} of {host} can't be had ({fault.strerror}); choose another one.") from fault
        yield listener


def address_of(listener: socket.socket) -> str:
    """Name the URL of a listening socket, as a browser on this machine reaches it."""
    host, port = listener.getsockname()[:2]
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}"


def require_current(url: str) -> None:
    """Raises: UnusableDatabase: it can't be reached, is no PostgreSQL, or is not at this version's migrations."""
    with saying_what_is_wrong():
        is_current = migrations.is_current(url)
    if not is_current:
        raise UnusableDatabase("The database does not have this version's tables; run: thetaprime migrate")


@contextmanager
def saying_what_is_wrong() -> Iterator[None]:
    """Tell a database that can't be used in one line, without its password. Raises: UnusableDatabase."""
    try:
        yield
    except DBAPIError as fault:
        if not isinstance(fault.orig, psycopg.OperationalError | psycopg.errors.InsufficientPrivilege):
            raise
        reason = str(fault.orig).strip().splitlines()[0]
        raise UnusableDatabase(f"The database of DATABASE_URL can't be used: {reason}") from fault
    except CommandError as fault:  # Alembic's, of a revision that this version does not know
        raise UnusableDatabase(f"The database can't be migrated: {fault}.") from fault
    except (ArgumentError, ValueError) as fault:
        # its own words may quote the password
        raise UnusableDatabase("DATABASE_URL must read postgresql://user:password@host/database.") from fault


@contextmanager
def running_worker(settings: WorkerSettings, log_file: Path | None = None) -> Iterator[Callable[[], None]]:
    """Keep a worker beside this process; a training under way is given back when the block ends.

    Yields a check that raises ServiceDidNotStart once the worker has ended by itself.
    """
    with nullcontext() if log_file is None else log_file.open("wb") as log:
        worker = start_worker(settings, log_to=log)

    def check() -> None:
        if worker.poll() is not None:
            where = "" if log_file is None else f": {log_file}"
            raise ServiceDidNotStart(f"The worker has ended; its log says why{where}")

    try:
        yield check
    finally:
        _stop(worker)


def _stop(worker: "subprocess.Popen[bytes]") -> None:
    worker.terminate()
    try:
        worker.wait(STOP_WORKER_WITHIN_S)
    except subprocess.TimeoutExpired:
        worker.kill()  # its training hears of that by its leash
        worker.wait()


def make_server(app: FastAPI, log_file: Path | None = None) -> uvicorn.Server:
    """Make the HTTP server of an app; it logs no addresses' queries, to standard error or to a file."""
    return uvicorn.Server(uvicorn.Config(app, log_config=_logging_to(log_file), timeout_graceful_shutdown=10))


@contextmanager
def running_service(app: FastAPI, listener: socket.socket, log_file: Path) -> Iterator[str]:
    """Serve an app from a thread; yields its URL once it answers. Raises: ServiceDidNotStart."""
    server = make_server(app, log_file)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="service")
    with ExitStack() as undo:
        thread.start()
        undo.callback(thread.join)
        undo.callback(setattr, server, "should_exit", True)
        while not server.started:
            thread.join(0.02)
            if not thread.is_alive():
                raise ServiceDidNotStart(f"The service did not start; its log says why: {log_file}")
        yield address_of(listener)


def _logging_to(log_file: Path | None) -> dict[str, Any]:
    if log_file is None:
        return LOGGING
    to_file = {"class": "logging.FileHandler", "formatter": "line", "filename": os.fspath(log_file)}
    return {**LOGGING, "handlers": {"stderr": to_file}}
