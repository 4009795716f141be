"""Liveness, readiness and metrics: each tells what it is asked for, also while the service has no thread to spare."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fastapi import FastAPI
from httpx import Client, Response
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from sqlalchemy import make_url, text

from app.api.edge import access_log
from app.api.metrics import METHODS, Metrics
from app.main import create_app
from app.settings import Settings
from tests.app.bank import Bank, features, rows
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving

PROBES = ("/livez", "/readyz", "/metrics")


def asked(client: Client, path: str) -> tuple[int, str]:
    """Status, and what the service calls its state: a status or the code of a problem."""
    answer = client.get(path)
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    return answer.status_code, found["code"] if answer.is_error else found["status"]


def test_a_service_over_its_database_is_alive_and_ready(client: Client) -> None:
    assert asked(client, "/livez") == (200, "alive")
    assert asked(client, "/readyz") == (200, "ready")


def shut(database_url: str, postgres_url: str) -> None:
    """Close a database to everybody, those inside included."""
    name = make_url(database_url).database
    assert name is not None
    server_url = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def test_without_its_database_a_service_is_alive_and_not_ready(
    client: Client, database_url: str, postgres_url: str
) -> None:
    shut(database_url, postgres_url)
    assert asked(client, "/livez") == (200, "alive")
    assert asked(client, "/readyz") == (503, "database_unavailable")
    assert counted(client)["thetaprime_database_up"] == 0
    assert not [sample for sample in counted(client) if sample.startswith("thetaprime_trainings")]


def test_over_other_tables_a_service_is_not_ready(bank: Bank) -> None:
    older = "UPDATE alembic_version SET version_num = '0001'"
    for change in (older, "DELETE FROM alembic_version", "DROP TABLE alembic_version"):
        with bank.database.writing() as tx:
            tx.execute(text(change))
        answer = bank.client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready"), change
        assert "thetaprime migrate" in answer.json()["detail"]


def test_without_its_watch_a_service_is_not_ready(client: Client, service: FastAPI) -> None:
    service.state.counter.watch.stop()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "watched" in answer.json()["detail"]


@pytest.fixture
def busy(database_url: str, bank: Bank) -> Iterator[Client]:
    """A service of one thread, which waits for a market that this test holds."""
    settings = Settings(database_url=database_url, n_threads=1)
    with serving(create_app(settings, FAKE_ENGINE)) as client, ThreadPoolExecutor(1) as pool:
        with bank.database.writing() as tx:
            tx.execute(text("SELECT id FROM markets FOR UPDATE"))
            waiting = pool.submit(Bank(client, bank.database).post, rows(9))
            with bank.database.reading() as other:
                until = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()")
                while not other.execute(until).scalar_one():
                    assert not waiting.done()
            yield client
        assert waiting.result().status_code == 201


def test_probes_are_answered_while_every_thread_works(busy: Client) -> None:
    assert [busy.get(path).status_code for path in PROBES] == [200] * 3


def test_probes_take_no_parameters_and_other_methods_are_refused(shared_bank: Bank) -> None:
    for path in PROBES:
        assert shared_bank.client.get(path, params={"verbose": 1}).json()["code"] == "invalid_parameter"
        assert shared_bank.client.post(path).json()["code"] == "method_not_allowed"


def test_probes_are_in_the_document_under_health(shared_bank: Bank) -> None:
    document = shared_bank.client.get("/openapi.json").json()
    assert [document["paths"][path]["get"]["tags"] for path in PROBES] == [["health"]] * 3
    assert "health" in [tag["name"] for tag in document["tags"]]


def test_only_probes_that_fail_are_logged(client: Client, service: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[object, ...]] = []
    monkeypatch.setattr(access_log, "info", lambda form, *values: lines.append(values[:3]))
    for path in (*PROBES, "/v1/products"):
        assert client.get(path).status_code == 200
    service.state.counter.watch.stop()
    client.get("/readyz")
    client.get("/livez")
    assert lines == [("GET", "/v1/products", 200), ("GET", "/readyz", 503)]


# --- metrics -----------------------------------------------------------------------------------------------------


def read_metrics(answer: Response) -> dict[str, float]:
    """Read Prometheus text by sample, labels sorted: ``scores_total{basis=theta}``."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=1.0.0")
    assert answer.headers["cache-control"] == "no-store"
    samples = (sample for family in text_string_to_metric_families(answer.text) for sample in family.samples)
    return {named(sample.name, **sample.labels): sample.value for sample in samples}


def named(name: str, **labels: str) -> str:
    return name + "".join(f" {label}={value}" for label, value in sorted(labels.items()))


def counted(client: Client) -> dict[str, float]:
    return read_metrics(client.get("/metrics"))


def requests_of(client: Client) -> dict[str, float]:
    """The requests so far, those to /metrics apart."""
    prefix = "thetaprime_requests_total "
    found = {name.removeprefix(prefix): n for name, n in counted(client).items() if name.startswith(prefix)}
    return {name: n for name, n in found.items() if "/metrics" not in name}


def test_requests_are_counted_by_the_template_of_their_route(bank: Bank) -> None:
    before = requests_of(bank.client)
    for account in ("A-1", "A-2"):
        bank.client.get(f"{bank.market}/accounts/{account}")
    bank.client.get(bank.market)
    bank.client.delete(bank.market)
    bank.client.get("/v1/nowhere/A-1")
    bank.client.request("A-1", bank.market)
    bank.client.get("/docs/assets/favicon.png")
    found = {name: n - before.get(name, 0) for name, n in requests_of(bank.client).items()}
    market = "/v1/products/{product}/markets/{market}"
    assert {name: n for name, n in found.items() if n} == {
        named("", method="GET", route=f"{market}/accounts/{{account}}", status="404").strip(): 2,
        named("", method="GET", route=market, status="200").strip(): 1,
        named("", method="DELETE", route=market, status="405").strip(): 1,
        named("", method="GET", route="other", status="404").strip(): 1,
        named("", method="GET", route="other", status="200").strip(): 1,
        **{name: n for name, n in found.items() if n and "method=other" in name},
    }
    seconds = counted(bank.client)[named("thetaprime_request_seconds_count", method="GET", route=market)]
    assert seconds == 1
    assert "A-1" not in bank.client.get("/metrics").text


def test_odd_methods_share_one_label() -> None:
    metrics = Metrics()
    for method in ("BREW", "PROPFIND", *METHODS):
        metrics.count_request(method, "/x", 405, 0.1)
    lines = [
        line for line in metrics.write(None).decode().splitlines() if line.startswith("thetaprime_requests_total{")
    ]
    assert len(lines) == 1 + len(METHODS)


def test_a_request_without_an_answer_is_counted() -> None:
    metrics = Metrics()
    metrics.count_request("POST", "/x", None, 0.1)
    assert 'thetaprime_requests_total{method="POST",route="/x",status="none"} 1.0' in metrics.write(None).decode()


def test_what_is_kept_is_counted_and_nothing_else(bank: Bank) -> None:
    key = {"Idempotency-Key": "once"}
    bank.score(features(), features())
    bank.client.put(f"{bank.market}/accounts/A-1", json={"features": features()})
    bank.post(rows(9), dry_run=True)
    bank.post(rows(9), seed=7, headers=key)
    bank.post(rows(9), seed=7, headers=key)  # replayed
    bank.post(rows(9))  # all of them sampled already
    bank.client.post(f"{bank.market}/theta-primes", json={"seed": 0})
    bank.client.get(f"{bank.market}/accounts/A-1/score")
    bank.score({"colour": 1})
    found = counted(bank.client)
    assert {verdict: found[f"thetaprime_adaptations_total verdict={verdict}"] for verdict in VERDICTS} == VERDICTS
    assert {basis: found[f"thetaprime_scores_total basis={basis}"] for basis in BASES} == BASES
    assert {status: found[f"thetaprime_trainings status={status}"] for status in TRAININGS} == TRAININGS
    assert found["thetaprime_database_up"] == 1


VERDICTS = {"activate": 1, "hold": 1, "refuse": 0}
BASES = {"theta": 2, "theta_prime": 1}
TRAININGS = {"queued": 0, "running": 0, "succeeded": 1, "failed": 0}
