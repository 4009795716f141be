"""Real processes killed with SIGKILL in the middle of their work: nothing acknowledged is lost, nothing is half there.

Everything is real: PostgreSQL, the API under uvicorn, the engine. When a kill strikes is left to chance;
what must hold afterwards holds whenever it strikes.
"""

import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.embedded_postgres import EmbeddedPostgres
from app.store import migrations
from app.store.database import Database
from tests.app import bank
from tests.e2e.processes import Api, Posters, Sent
from tests.e2e.real_bank import MARKETS, found_bank, serve_a_theta


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = found_bank(database_url)
    yield database
    database.close()


@pytest.fixture
def api(database: Database) -> Iterator[Api]:
    serve_a_theta(database)
    api = Api(database.url)
    api.start()
    yield api
    api.kill()


# --- what is posted -----------------------------------------------------------------------------------------------


def make_samples(name: str) -> Sent:
    """Six accounts of one of the markets."""
    rows = [
        bank.row(f"{name}-{i}", defaulted=i % 3 == 0, features=bank.features(20_000.0 + 1000 * i)) for i in range(6)
    ]
    market = MARKETS[int(name.rpartition("-")[2]) % len(MARKETS)]
    path = f"/v1/products/card/markets/{market}/samples"
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


# --- the service is killed ---------------------------------------------------------------------------------------


def test_nothing_acknowledged_is_lost_when_the_service_is_killed(database: Database, api: Api) -> None:
    samples = Posters(api, make_samples, status=201)
    scores = Posters(api, make_batch, status=200)
    for kill in (1, 2):
        samples.start(f"kill-{kill}", n_threads=3)
        scores.start(f"kill-{kill}", n_threads=2)
        samples.wait_until_acknowledged(12 * kill)
        scores.wait_until_acknowledged(4 * kill)
        api.kill()
        samples.join()
        scores.join()
        assert samples.unanswered, "the kill came while samples were being posted"
        assert scores.unanswered, "the kill came while batches were being scored"
        assert_samples_are_whole(database, samples)
        assert_versions_are_whole(database)
        assert_scores_are_whole(database, scores)
        api.start()
    assert_scores_replay(api, scores)
    send_again(samples)
    send_again(scores)
    assert samples.unanswered == scores.unanswered == []
    assert_samples_are_whole(database, samples)
    assert_versions_are_whole(database)
    assert_scores_are_whole(database, scores)


def assert_scores_replay(api: Api, posters: Posters) -> None:
    """The first score of every acknowledged batch, computed again by the version that made it, is the same."""
    with api.client() as client:
        for sent in posters.acknowledged:
            assert sent.answer is not None
            score = sent.answer.json()["scores"][0]
            replay = client.get(f"/v1/scores/{score['id']}/replay").json()
            assert (replay["recorded_pd"], replay["identical"]) == (score["pd"], True)


# --- PostgreSQL is killed -----------------------------------------------------------------------------------------


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
