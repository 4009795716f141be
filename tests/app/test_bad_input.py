"""Bad input of every kind against the running service: each with its status, its code and its words.

No case may store, change or delete a single row, and none may come back, in the answer or in the log, with a personal
value that was sent.
"""

import logging
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text

from app.main import create_app
from app.settings import Settings
from app.store.database import Database
from app.store.tables import metadata
from tests.app.bad_input import CARD, CASES, LIMITS, NAME, NORTH, PERSONAL, Case, account, sent
from tests.app.bank import MARKET, PRODUCT, Bank, rows
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving
from tests.conftest import throwaway_database


@pytest.fixture(scope="module")
def service(postgres_url: str, migrated_template: str) -> Iterator[tuple[httpx.Client, Database]]:
    """One bank for all cases: none of them changes it."""
    with throwaway_database(postgres_url, template=migrated_template) as url:
        settings = Settings(database_url=url, n_threads=4, **LIMITS)
        database = Database(url)
        with serving(create_app(settings, FAKE_ENGINE)) as client:
            furnish(client, database)
            yield client, database
        database.close()


def furnish(client: httpx.Client, database: Database) -> None:
    """A product with a theta and another in training; markets with a refused version, without a rate, tampered with."""
    bank = Bank(client, database)
    bank.open()
    bank.load_any_source()
    expect(client.post(f"{CARD}/thetas", json={}), 202)
    expect(client.post("/v1/products", json=PRODUCT | {"slug": "idle"}), 201)
    expect(client.put("/v1/products/idle/markets/north", json=MARKET), 200)
    for market, declared in {"bare": {"currency": "EUR"}, "random": MARKET, "tampered": MARKET}.items():
        expect(bank.put_market(market, **declared), 200)
    first = {"design": "random", "rows": rows(6)}
    for market in ("random", "tampered"):
        expect(client.post(f"{CARD}/markets/{market}/samples", json=first), 201)
        expect(client.put(f"{CARD}/markets/{market}/accounts/{NAME}", json=account()), 200)
    expect(client.post(f"{CARD}/markets/random/theta-primes", json={"seed": 13}), 201)
    used = client.post(f"{NORTH}/samples?dry_run=true", json=sent({}), headers={"Idempotency-Key": "used"})
    expect(used, 201)
    with database.writing() as tx:
        tx.execute(text(TAMPER))


TAMPER = """
WITH copied AS (
    INSERT INTO theta_primes (market_id, version, theta_id, recipe, seed, design, base_rate, sample_ids, n_defaults,
                              verdict, reasons, report, weights, sha256)
    SELECT market_id, 2, theta_id, recipe, p.seed, design, p.base_rate, sample_ids, n_defaults, verdict, reasons,
           report, weights || '\\x20', sha256
    FROM theta_primes p JOIN markets m ON m.id = p.market_id WHERE m.slug = 'tampered' AND p.version = 1
)
UPDATE markets SET last_version = 2, active_version = 2 WHERE slug = 'tampered'
"""


def expect(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text


def stored(database: Database) -> dict[str, tuple[int, str]]:
    """The number of rows of every table and a digest of their content."""
    digest = "SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM {} t"
    with database.reading() as tx:
        names = tx.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        assert set(names) >= set(metadata.tables)
        return {name: tuple(tx.execute(text(digest.format(name))).one()) for name in names}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input(
    case: Case,
    service: tuple[httpx.Client, Database],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, database = service
    for name in ("thetaprime", "uvicorn"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    before = stored(database)
    answer = client.request(case.method, case.path, content=case.content(), headers=case.headers)
    assert answer.status_code == case.status, answer.text
    assert case.told in answer.text
    if case.code is not None:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == case.code
    logged = [record.getMessage() for record in caplog.records if record.name.startswith(("thetaprime", "uvicorn"))]
    for personal in PERSONAL:
        assert personal not in answer.text
        assert not [line for line in logged if personal in line]
    assert stored(database) == before
