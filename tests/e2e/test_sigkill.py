"""Real processes killed with SIGKILL in the middle of their work: nothing acknowledged is lost, nothing is half there.

Everything is real: PostgreSQL, the API under uvicorn, the worker, the engine. When a kill strikes is left to chance;
what must hold afterwards holds whenever it strikes.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.domain.markets import MarketDraft
from app.domain.products import ProductDraft
from app.domain.recipes import ThetaRecipe
from app.domain.thetas import Theta
from app.embedded_postgres import EmbeddedPostgres
from app.engine.training import train_theta
from app.services import training
from app.services.training_run import run_training
from app.store import markets, migrations, products, thetas
from app.store.database import Database
from app.store.source_rows import SourceRow, copy_source_rows
from app.worker import WorkerSettings
from tests.app import bank
from tests.e2e.processes import Api, Posters, Sent, children_of, eventually, is_alive, worker

TINY = ThetaRecipe(n_folds=2, pooled_steps=60, outer_steps=4, meta_batch=2, n_members=2, width=8, inner_steps=1)
LONG_ENOUGH_TO_KILL = ThetaRecipe(n_folds=2, pooled_steps=400, outer_steps=30, n_members=16, inner_steps=2, seed=3)
MARKETS = ("north", "south")


def found_bank(url: str) -> Database:
    """A product with source rows of six markets, and two new markets."""
    database = Database(url, pool_size=4)
    with database.writing() as tx:
        products.insert_product(tx, ProductDraft.model_validate(bank.PRODUCT))
        product = products.find_product(tx, "card")
        assert product is not None
        copy_source_rows(tx, product.id, source_rows())
        for market in MARKETS:
            draft = MarketDraft.model_validate(bank.MARKET)
            markets.put_market(tx, product.id, market, draft)
    return database


def source_rows(n_markets: int = 6, n_rows: int = 60) -> Iterator[SourceRow]:
    draw = random.Random(0)
    for number in range(n_markets * n_rows):
        utilisation = draw.random()
        features = bank.features(draw.gauss(30_000, 8_000), utilisation, draw.choice(["own", "rent", "mortgage"]))
        defaulted = draw.random() < 0.1 + 0.4 * utilisation
        yield SourceRow(f"mature-{number % n_markets}", defaulted, None, None, features)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = found_bank(database_url)
    yield database
    database.close()


def serve_a_theta(database: Database) -> None:
    with database.writing() as tx:
        version = training.request_theta(tx, "card", TINY, activate=True).version
        product = products.find_product(tx, "card")
        assert product is not None
        training_id = thetas.get_training(tx, product.id, version).id
    assert run_training(database, training_id, train_theta)
    assert read_theta(database, version).active


@pytest.fixture
def api(database: Database) -> Iterator[Api]:
    serve_a_theta(database)
    api = Api(database.url)
    api.start()
    yield api
    api.kill()


# --- meta-training -----------------------------------------------------------------------------------------------


def request_theta(database: Database, recipe: ThetaRecipe) -> int:
    with database.writing() as tx:
        return training.request_theta(tx, "card", recipe).version


def read_theta(database: Database, version: int) -> Theta:
    with database.reading() as tx:
        return training.get_theta(tx, "card", version)


def wait_for(database: Database, version: int, status: str) -> Theta:
    def look() -> Theta | None:
        theta = read_theta(database, version)
        assert theta.status != "failed", theta.error
        return theta if theta.status == status else None

    return eventually(look, f"version {version} is {status}")


def wait_for_checkpoint(database: Database, version: int, *, attempt: int) -> Theta:
    """Wait until a run has got further and kept something new to go on with."""

    def read_checkpoint() -> str | None:
        with database.reading() as tx:
            statement = text("SELECT md5(checkpoint) FROM trainings WHERE version = :version")
            return tx.execute(statement, {"version": version}).scalar_one()

    before = read_checkpoint()

    def look() -> Theta | None:
        theta = read_theta(database, version)
        return theta if theta.attempts == attempt and theta.progress and read_checkpoint() != before else None

    return eventually(look, f"attempt {attempt} at version {version} keeps a checkpoint")


def test_meta_training_goes_on_after_every_way_to_be_interrupted_and_ends_in_the_same_theta(database: Database) -> None:
    settings = WorkerSettings(database_url=database.url, n_threads=1, heartbeat_every_s=0.3, stalled_after_s=2.0)
    version = request_theta(database, LONG_ENOUGH_TO_KILL)

    with worker(settings) as first:
        wait_for_checkpoint(database, version, attempt=1)
        [training_process] = children_of(first.pid)
        first.kill()  # as power does, or the kernel when memory is short
        eventually(lambda: not is_alive(training_process), "the training's process ends with its worker")
    assert read_theta(database, version).status == "running"

    with worker(settings) as second:
        theta = wait_for_checkpoint(database, version, attempt=2)
        assert theta.progress is not None
        assert theta.progress["resumed_at"]["step"] > 1
        [training_process] = children_of(second.pid)
        os.kill(training_process, signal.SIGKILL)  # the worker lives on and starts another

        theta = wait_for_checkpoint(database, version, attempt=3)
        assert theta.progress is not None
        assert theta.progress["resumed_at"]["step"] > 1
        second.terminate()  # a deployment, say
        assert second.wait() == 0
    assert read_theta(database, version).status == "queued"

    with worker(settings):
        interrupted = wait_for(database, version, "succeeded")
        uninterrupted = wait_for(database, request_theta(database, LONG_ENOUGH_TO_KILL), "succeeded")
    assert (interrupted.attempts, uninterrupted.attempts) == (4, 1)
    assert interrupted.sha256 == uninterrupted.sha256


def test_a_worker_ends_when_the_process_that_started_it_is_killed(database: Database) -> None:
    program = """
import sys
from app.worker import WorkerSettings, start_worker
worker = start_worker(WorkerSettings(database_url=sys.argv[1], n_threads=1))
print(worker.pid, flush=True)
worker.wait()
"""
    version = request_theta(database, LONG_ENOUGH_TO_KILL)
    command = [sys.executable, "-c", program, database.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker_process = int(parent.stdout.readline())
        wait_for_checkpoint(database, version, attempt=1)
        [training_process] = children_of(worker_process)
        parent.kill()
    eventually(lambda: not is_alive(worker_process), "the worker ends with its parent")
    assert not is_alive(training_process)
    assert read_theta(database, version).status in ("queued", "succeeded")


# --- samples and theta_primes ------------------------------------------------------------------------------------


def make_samples(name: str) -> Sent:
    """Six accounts of one of the markets."""
    rows = [
        bank.row(f"{name}-{i}", defaulted=i % 3 == 0, features=bank.features(20_000.0 + 1000 * i)) for i in range(6)
    ]
    path = f"/v1/products/card/markets/{MARKETS[hash(name) % len(MARKETS)]}/samples"
    return Sent(path, f"samples-{name}", {"design": "random", "rows": rows})


def stored_batches(database: Database) -> dict[str, tuple[str, int]]:
    """Which market and which version each sampled account was posted for."""
    statement = text("SELECT account, slug, batch FROM samples JOIN markets ON markets.id = market_id")
    with database.reading() as tx:
        return {row.account: (row.slug, row.batch) for row in tx.execute(statement)}


def assert_samples_are_whole(database: Database, posters: Posters) -> None:
    stored = stored_batches(database)
    for sent in posters.sent:
        versions = {stored.get(account) for account in sent.accounts}
        assert len(versions) == 1, "a batch is stored under one version or not at all"
    for sent in posters.acknowledged:
        assert sent.answer is not None
        assert stored[sent.accounts[0]][1] == sent.answer.json()["adaptation"]["version"]


def assert_versions_are_whole(database: Database) -> None:
    """Versions run from 1 without a gap; each saw all samples posted up to it, and its weights have their hash."""
    with database.reading() as tx:
        for market in tx.execute(text("SELECT id, last_version, active_version FROM markets")).all():
            versions = tx.execute(
                text("SELECT version, sample_ids, weights, sha256 FROM theta_primes WHERE market_id = :id ORDER BY 1"),
                {"id": market.id},
            ).all()
            samples = tx.execute(text("SELECT id, batch FROM samples WHERE market_id = :id"), {"id": market.id}).all()
            assert [row.version for row in versions] == list(range(1, market.last_version + 1))
            assert market.active_version is None or market.active_version <= market.last_version
            for row in versions:
                assert sorted(row.sample_ids) == sorted(id for id, batch in samples if batch <= row.version)
                assert hashlib.sha256(row.weights).hexdigest() == row.sha256


def send_again(posters: Posters) -> None:
    """Send everything once more under its key: what was acknowledged is answered as before, the rest is done now."""
    with posters.api.client() as client:
        for sent in posters.sent:
            first, again = sent.answer, sent.post(client)
            assert again.status_code == posters.status, again.text
            if sent in posters.acknowledged:
                assert first is not None
                assert again.content == first.content
            sent.answer = again


def post_until_killed(posters: Posters, name: str) -> None:
    """Let four clients post, and kill the service while it is at it."""
    before = len(posters.acknowledged)
    posters.start(name)
    posters.wait_until_acknowledged(before + 12)
    posters.api.kill()
    posters.join()


def test_no_acknowledged_sample_or_theta_prime_is_lost_when_the_service_is_killed(database: Database, api: Api) -> None:
    posters = Posters(api, make_samples, status=201)
    for kill in ("first", "second"):
        post_until_killed(posters, kill)
        assert posters.unanswered, "the kill came while posts were under way"
        assert_samples_are_whole(database, posters)
        assert_versions_are_whole(database)
        api.start()
    send_again(posters)
    assert posters.unanswered == []
    assert_samples_are_whole(database, posters)
    assert_versions_are_whole(database)


def test_no_acknowledged_sample_or_theta_prime_is_lost_when_postgresql_is_killed() -> None:
    folder = Path(tempfile.mkdtemp(prefix="thetaprime-"))  # not pytest's: closed to all but root, who it won't run as
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres(folder / "data") as server:
            migrations.upgrade(server.url)
            database = found_bank(server.url)
            serve_a_theta(database)
            api = Api(server.url)
            api.start()
            try:
                _kill_postgresql_under(Posters(api, make_samples, status=201), database, server, folder / "data")
            finally:
                api.kill()
                database.close()
    finally:
        shutil.rmtree(folder)


def _kill_postgresql_under(posters: Posters, database: Database, server: EmbeddedPostgres, folder: Path) -> None:
    posters.start("only")
    posters.wait_until_acknowledged(12)
    os.kill(int((folder / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    posters.join()
    assert posters.unanswered
    answers = {sent.answer.status_code for sent in posters.unanswered if sent.answer is not None}
    assert answers <= {503}, "a client hears that the database is gone, never that all is well"
    server.stop()
    server.start()
    assert_samples_are_whole(database, posters)
    assert_versions_are_whole(database)
    send_again(posters)  # the same process of the service finds its database again
    assert posters.unanswered == []
    assert_samples_are_whole(database, posters)
    assert_versions_are_whole(database)


# --- scores ------------------------------------------------------------------------------------------------------


def make_batch(name: str) -> Sent:
    """A batch of 200 accounts to score."""
    rows = [{"account": f"{name}-{i}", "features": bank.features(20_000.0 + 10 * i)} for i in range(200)]
    return Sent("/v1/products/card/markets/north/scores", f"scores-{name}", {"rows": rows})


def assert_scores_are_whole(database: Database, posters: Posters) -> None:
    with database.reading() as tx:
        rows = tx.execute(text("SELECT id::text, account, pd FROM scores")).all()
    ledger = {row.account: (row.id, row.pd) for row in rows}
    assert len(ledger) == len(rows), "no account is scored twice"
    for sent in posters.sent:
        assert sum(account in ledger for account in sent.accounts) in (0, len(sent.accounts))
    for sent in posters.acknowledged:
        assert sent.answer is not None
        for score in sent.answer.json()["scores"]:
            assert ledger[score["account"]] == (score["id"], score["pd"])


def test_no_acknowledged_score_is_lost_when_the_service_is_killed(database: Database, api: Api) -> None:
    posters = Posters(api, make_batch, status=200)
    for kill in ("first", "second"):
        post_until_killed(posters, kill)
        assert posters.unanswered, "the kill came while posts were under way"
        assert_scores_are_whole(database, posters)
        api.start()
    send_again(posters)
    assert posters.unanswered == []
    assert_scores_are_whole(database, posters)
