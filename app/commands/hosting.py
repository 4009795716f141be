"""serve, worker, migrate: a Thetaprime that stays."""

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from app.embedded_postgres import EmbeddedPostgres
from app.main import create_app
from app.serving import (
    address_of,
    ending_in_order,
    make_server,
    open_port,
    require_current,
    running_worker,
    saying_what_is_wrong,
)
from app.settings import Settings
from app.store import migrations
from app.user_fault import UnusableDatabase, UnusableSetting
from app.worker import WorkerSettings, run_worker

NO_DATABASE = "DATABASE_URL is not set; it must read postgresql://user:password@host/database."


def given_database_url() -> str | None:
    """Read DATABASE_URL; None: there is none, so the embedded PostgreSQL serves."""
    return os.environ.get("DATABASE_URL") or None


def serve(host: str, port: int, *, with_worker: bool | None, data_dir: Path | None) -> None:
    """Serve until SIGTERM or Ctrl-C: over DATABASE_URL, which must be migrated, else over an embedded PostgreSQL."""
    console = Console(stderr=True)
    given = given_database_url()
    with ExitStack() as parts:
        parts.enter_context(ending_in_order())
        listener = parts.enter_context(open_port(host, port))
        url = given or parts.enter_context(EmbeddedPostgres(data_dir)).url
        if given is None:
            migrations.upgrade(url)
        else:
            require_current(url)
        settings, worker_settings = read_settings(url)
        if given is None if with_worker is None else with_worker:
            parts.enter_context(running_worker(worker_settings))
        server = make_server(create_app(settings))
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, server.handle_exit)
        console.print(f"Thetaprime at {address_of(listener)}, docs at {address_of(listener)}/docs", highlight=False)
        with suppress(KeyboardInterrupt):  # uvicorn, done with its last requests, raises once more what ended it
            server.run(sockets=[listener])
    console.print("Stopped.")


def work() -> None:
    """Take trainings from the queue of DATABASE_URL until SIGTERM or Ctrl-C."""
    url = required_database_url()
    require_current(url)
    run_worker(read_settings(url)[1])


def migrate(down_to: str | None) -> None:
    """Bring the database of DATABASE_URL to this version's tables, or back."""
    url = required_database_url()
    with saying_what_is_wrong():
        if down_to is None:
            migrations.upgrade(url)
        else:
            migrations.downgrade(url, down_to)


def required_database_url() -> str:
    """Raises: UnusableDatabase: DATABASE_URL is not set."""
    url = given_database_url()
    if url is None:
        raise UnusableDatabase(f"{NO_DATABASE} (The embedded PostgreSQL of serve and demo migrates itself.)")
    return url


def read_settings(url: str) -> tuple[Settings, WorkerSettings]:
    """Read the settings of service and worker from the environment. Raises: UnusableSetting."""
    try:
        return Settings(database_url=url), WorkerSettings(database_url=url)
    except ValidationError as fault:
        first = fault.errors()[0]
        named = ".".join(map(str, first["loc"])) or fault.title
        raise UnusableSetting(f"The setting {named} of the environment is not usable: {first['msg']}.") from None
