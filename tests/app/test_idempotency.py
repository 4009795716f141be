"""A key's work is done once, and every asker gets the first answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from tests.app.bank import CSV, PRODUCT, Bank, features, row, rows

KEY = {"Idempotency-Key": "6f1c-once"}


def test_the_first_answer_comes_again_byte_for_byte(bank: Bank) -> None:
    first = bank.post(rows(9), headers=KEY)
    again = bank.post(rows(9), headers=KEY)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (bank.count("samples"), bank.count("theta_primes")) == (9, 1)


@pytest.mark.parametrize("path", ["/v1/products", "{product}/source-data", "{market}/scores", "{product}/thetas"])
def test_every_post_takes_a_key(bank: Bank, path: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/v1/products": {"json": PRODUCT | {"slug": "other"}},
        "{product}/source-data": {"content": "market,defaulted\nA,1\n", "headers": CSV},
        "{market}/scores": {"json": {"rows": [{"features": features()}]}},
        "{product}/thetas": {"json": {}},
    }
    bank.load_any_source()
    sent = bodies[path]
    headers = sent.pop("headers", {}) | KEY
    url = path.format(product=bank.product, market=bank.market)
    answers = [bank.client.post(url, headers=headers, **sent) for _ in range(2)]
    assert answers[0].is_success, answers[0].text
    assert answers[0].content == answers[1].content
    assert answers[0].status_code == answers[1].status_code
    for name in ("content-type", "location", "cache-control"):
        assert answers[0].headers.get(name) == answers[1].headers.get(name)


@pytest.mark.parametrize("change", [{"sent": rows(8)}, {"seed": 1}, {"dry_run": True}])
def test_another_request_under_the_key_is_a_conflict(bank: Bank, change: dict[str, Any]) -> None:
    sent: dict[str, Any] = {"sent": rows(9)}
    bank.post(**sent, headers=KEY)
    other = bank.post(**(sent | change), headers=KEY)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert bank.count("theta_primes") == 1


def test_another_path_under_the_key_is_a_conflict(bank: Bank) -> None:
    bank.client.post(f"{bank.product}/thetas/1/activate", headers=KEY)
    other = bank.client.post(f"{bank.market}/theta-primes", headers=KEY)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_a_fault_leaves_the_key_free(bank: Bank) -> None:
    assert bank.post([row("A", features={"colour": 1})], headers=KEY).status_code == 422
    assert bank.count("idempotency_keys") == 0
    assert bank.post(rows(9), headers=KEY).status_code == 201


def test_a_dry_run_is_remembered_without_its_work(bank: Bank) -> None:
    first = bank.post(rows(9), dry_run=True, headers=KEY)
    again = bank.post(rows(9), dry_run=True, headers=KEY)
    assert first.content == again.content
    assert (bank.count("samples"), bank.count("idempotency_keys")) == (0, 1)


@pytest.mark.parametrize("key", ["", "x" * 201, "two words", "schlüssel".encode()])
def test_a_key_that_is_no_key_is_refused(shared_bank: Bank, key: str | bytes) -> None:
    answer = shared_bank.post(rows(9), headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")


def test_keys_are_forgotten_after_a_week(bank: Bank) -> None:
    bank.score(features(), headers=KEY)
    bank.score(features(), headers={"Idempotency-Key": "younger"})
    for age, key in (("8 days", KEY["Idempotency-Key"]), ("6 days", "younger")):
        with bank.database.writing() as tx:
            aged = "UPDATE idempotency_keys SET created_at = now() - CAST(:age AS interval) WHERE key = :key"
            tx.execute(text(aged), {"age": age, "key": key})
    bank.score(features(), headers={"Idempotency-Key": "new"})
    with bank.database.reading() as tx:
        assert set(tx.execute(text("SELECT key FROM idempotency_keys")).scalars()) == {"younger", "new"}


def test_without_a_key_a_post_is_work_each_time(bank: Bank) -> None:
    ids = {bank.score(features()).json()["scores"][0]["id"] for _ in range(3)}
    assert len(ids) == 3
    assert bank.count("idempotency_keys") == 0


def test_of_concurrent_requests_with_one_key_one_works(bank: Bank) -> None:
    n_clients = 8
    barrier = Barrier(n_clients)

    def post(_: int) -> tuple[int, bytes]:
        barrier.wait()
        answer = bank.post(rows(9), headers=KEY)
        return answer.status_code, answer.content

    with ThreadPoolExecutor(n_clients) as pool:
        answers = set(pool.map(post, range(n_clients)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 201
    assert (bank.count("samples"), bank.count("theta_primes"), bank.count("idempotency_keys")) == (9, 1, 1)


def test_more_waiters_than_threads_do_not_lock_up(bank: Bank) -> None:
    """The service of these tests works on 8 requests at once."""
    with ThreadPoolExecutor(24) as pool:
        statuses = list(pool.map(lambda _: bank.post(rows(9), headers=KEY).status_code, range(24)))
    assert statuses == [201] * 24
    assert bank.count("theta_primes") == 1


@contextmanager
def failing_commits(bank: Bank) -> Iterator[None]:
    """Let commits fail in the database itself, at the last moment."""
    with bank.database.writing() as tx:
        tx.execute(
            text("""
            CREATE FUNCTION break_commit() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full'; END $$
            """)
        )
        for table in ("theta_primes", "scores", "accounts", "products"):
            tx.execute(
                text(f"""
                CREATE CONSTRAINT TRIGGER break_commit AFTER INSERT ON {table}
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION break_commit()
                """)
            )
    yield
    with bank.database.writing() as tx:
        tx.execute(text("DROP FUNCTION break_commit CASCADE"))


def test_a_commit_that_fails_is_never_answered_as_done(bank: Bank) -> None:
    bank.client.put(f"{bank.market}/accounts/A-1", json={"features": features()})
    with failing_commits(bank):
        answers = [
            bank.post(rows(9), headers=KEY),
            bank.client.post("/v1/products", json=PRODUCT | {"slug": "other"}),
            bank.score(features()),
            bank.client.get(f"{bank.market}/accounts/A-1/score"),
            bank.client.put(f"{bank.market}/accounts/A-2", json={"features": features()}),
        ]
    assert [answer.status_code for answer in answers] == [503] * 5
    assert (bank.count("samples"), bank.count("scores"), bank.count("idempotency_keys")) == (0, 0, 0)
    assert bank.post(rows(9), headers=KEY).status_code == 201
