"""``thetaprime demo``: the parts are started, the walk is walked, and the service goes on."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from psycopg.errors import InvalidCatalogName

from app.client import ThetaprimeClient
from app.commands.hosting import given_database_url, read_settings
from app.demo.portfolio import Portfolio, TableChoice, prepare_portfolio
from app.demo.walk import Walk
from app.domain.recipes import ThetaRecipe
from app.embedded_postgres import EmbeddedPostgres, default_data_dir, drop_database
from app.frames import read_frame
from app.main import create_app
from app.screen import Screen
from app.serving import (
    ending_in_order,
    open_port,
    running_service,
    running_worker,
    saying_what_is_wrong,
)
from app.store import migrations

HOST = "127.0.0.1"
DATABASE = "demo"
QUICK = ThetaRecipe(pooled_steps=60, outer_steps=4, n_folds=2)


@dataclass(frozen=True)
class DemoChoice:
    """What the demo was called with."""

    data: Path | None
    table: TableChoice | None
    port: int
    data_dir: Path | None
    n_threads: int
    exit_after: bool
    quick: bool


def run_demo(choice: DemoChoice) -> None:
    """Run the demo until Ctrl-C, SIGTERM or the end of its terminal; nothing is left running."""
    screen = Screen()
    with ExitStack() as parts:
        parts.enter_context(ending_in_order())
        listener = parts.enter_context(open_port(HOST, choice.port))
        portfolio = _portfolio(choice)
        url = _database(choice, screen, parts)
        logs = parts.enter_context(_log_folder())
        settings, worker_settings = read_settings(url)
        worker_settings = worker_settings.model_copy(update={"n_threads": choice.n_threads})
        check_worker = parts.enter_context(running_worker(worker_settings, log_file=logs / "worker.log"))
        address = parts.enter_context(running_service(create_app(settings), listener, logs / "service.log"))
        screen.say(f"service on {address}, worker with {choice.n_threads} threads; their logs: {logs}")
        client = ThetaprimeClient(http=httpx.Client(base_url=address, trust_env=False))
        recipe = QUICK if choice.quick else ThetaRecipe()
        if choice.quick:
            screen.say("--quick: far too short a training; the numbers below show that it runs, not what it is worth")
        with client:
            walk = Walk(client, portfolio, screen, check_worker=check_worker)
            walk.run(recipe)
        if not choice.exit_after:
            _go_on_serving(screen, address, walk.example_path)
    screen.say("Stopped; nothing is left running.")


def _portfolio(choice: DemoChoice) -> Portfolio:
    today = datetime.now(UTC).date()
    if choice.data is None or choice.table is None:
        from app.demo.synthetic import synthetic_portfolio  # imports torch, which takes seconds

        return synthetic_portfolio(today)
    frame = read_frame(choice.data)
    return prepare_portfolio(frame, choice.table, name=choice.data.name.split(".")[0], today=today)


def _database(choice: DemoChoice, screen: Screen, parts: ExitStack) -> str:
    """Provide a migrated database: DATABASE_URL's as it is, or one made afresh in the demo's own data folder."""
    url = given_database_url()
    if url is None:
        folder = choice.data_dir or default_data_dir().with_name("demo")
        screen.step(f"PostgreSQL: embedded, in {folder}; its database is made afresh")
        server = parts.enter_context(EmbeddedPostgres(folder))
        with suppress(InvalidCatalogName):  # there is none to drop the first time
            drop_database(server.url, DATABASE)
        url = server.create_database(DATABASE)
    else:
        screen.step("PostgreSQL: the one of DATABASE_URL; a product is added, nothing else in it is touched")
    with saying_what_is_wrong():
        migrations.upgrade(url)
    return url


@contextmanager
def _log_folder() -> Iterator[Path]:
    """Make a folder for logs, kept only where something failed."""
    folder = Path(tempfile.mkdtemp(prefix="thetaprime-demo-"))
    try:
        yield folder
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _go_on_serving(screen: Screen, address: str, example_path: str) -> None:
    screen.step("The service goes on; Ctrl-C ends it")
    screen.say(f"docs page, to try everything:   {address}/docs")
    screen.say(f"every market at a glance:       {address}/v1/ops/markets")
    screen.say(f"a score:   curl -s {address}{example_path}")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
