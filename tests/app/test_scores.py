"""Scores: one account or a batch, in the ledger before anybody sees them, and the same again years later."""

import csv
import io
import json
import time
from typing import Any
from uuid import uuid4

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
from fastapi import FastAPI
from httpx import Client, Response
from sqlalchemy import text

from app.api.score_media import ScoreColumns
from app.domain.products import PointsScale
from app.domain.scorecard import pd_from_points, points_from_pd
from app.main import create_app
from app.services.predictors import Predictors
from app.settings import Settings
from app.store.database import Database
from tests.app.bank import MARKET, Bank, features, rows
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
SCORE_FIELDS = [
    *("id", "product", "market", "account", "pd", "pd_low", "pd_high", "reasons", "points", "basis"),
    *("theta_version", "theta_prime_version", "n_defaults", "unseen", "filled", "scored_at"),
]


@pytest.fixture
def adapted(bank: Bank) -> Bank:
    """A bank whose market is served by its own version."""
    assert bank.post(rows(9)).status_code == 201
    return bank


def put_account(bank: Bank, account: str, **values: Any) -> Response:
    return bank.client.put(f"{bank.market}/accounts/{account}", json={"features": features(**values)})


def send(bank: Bank, body: bytes | str, media_type: str, accept: str = "*/*") -> Response:
    return bank.client.post(
        f"{bank.market}/scores", content=body, headers={"Content-Type": media_type, "Accept": accept}
    )


# --- points ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pd", "points"), [(1 / 51, 600.0), (1 / 101, 620.0), (1 / 26, 580.0), (0.5, 600 - 20 * 5.643856189774724)]
)
def test_points_by_hand(pd: float, points: float) -> None:
    assert points_from_pd(pd, PointsScale()) == pytest.approx(points, abs=1e-9)
    assert pd_from_points(points, PointsScale()) == pytest.approx(pd, rel=1e-12)


@pytest.mark.parametrize("pd", [0.0, 1.0])
def test_certainty_has_finite_points(pd: float) -> None:
    scale = PointsScale(base_points=500, base_odds=20, pdo=40)
    assert -3000 < points_from_pd(pd, scale) < 3000


# --- one account -------------------------------------------------------------------------------------------------


def test_an_account_is_stored_and_read_back(bank: Bank) -> None:
    stored = put_account(bank, "A-1", home=None)
    assert stored.status_code == 200
    assert stored.headers["cache-control"] == "no-store"
    assert bank.client.get(f"{bank.market}/accounts/A-1").json() == stored.json()
    assert stored.json()["features"] == features(home=None)
    replaced = put_account(bank, "A-1", income=1.0)
    assert replaced.json()["features"]["annual_income"] == 1.0
    assert bank.count("accounts") == 1


def test_an_account_that_breaks_the_schema_is_refused(bank: Bank) -> None:
    answer = bank.client.put(f"{bank.market}/accounts/A-1", json={"features": features(income=-1) | {"colour": 1}})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
    assert {fault["field"] for fault in answer.json()["errors"]} == {"features.annual_income", "features.colour"}
    assert bank.count("accounts") == 0


def test_an_account_is_scored_by_theta_until_its_market_has_a_version(bank: Bank) -> None:
    put_account(bank, "A-1")
    url = f"{bank.market}/accounts/A-1/score"
    first = bank.client.get(url)
    assert first.headers["cache-control"] == "no-store"
    assert list(first.json()) == SCORE_FIELDS
    assert (first.json()["basis"], first.json()["theta_version"], first.json()["theta_prime_version"]) == (
        "theta",
        1,
        None,
    )
    bank.post(rows(9))
    second = bank.client.get(url).json()
    assert (second["basis"], second["theta_version"], second["theta_prime_version"]) == ("theta_prime", 1, 1)
    assert second["pd"] != first.json()["pd"]
    assert second["points"] == pytest.approx(points_from_pd(second["pd"], PointsScale()))
    assert (first.json()["n_defaults"], second["n_defaults"]) == (None, 3)


def test_each_asking_is_a_new_row_of_the_ledger(adapted: Bank) -> None:
    put_account(adapted, "A-1")
    ids = {adapted.client.get(f"{adapted.market}/accounts/A-1/score").json()["id"] for _ in range(3)}
    assert len(ids) == adapted.count("scores") == 3


def test_an_unseen_category_is_accepted_and_flagged(adapted: Bank) -> None:
    assert put_account(adapted, "A-1", home="houseboat").status_code == 200
    assert adapted.client.get(f"{adapted.market}/accounts/A-1/score").json()["unseen"] == ["home"]


def test_what_cannot_be_scored_says_why(client: Client, database: Database) -> None:
    bank = Bank(client, database)
    bank.declare_product()
    bank.put_market("north", **MARKET)
    put_account(bank, "A-1")
    paths = {
        f"{bank.market}/accounts/A-1/score": (409, "no_active_theta"),
        f"{bank.market}/accounts/A-2": (404, "unknown_account"),
        f"{bank.product}/markets/none/accounts/A-1/score": (404, "unknown_market"),
        "/v1/products/none/markets/north/accounts/A-1/score": (404, "unknown_product"),
    }
    found = {path: (client.get(path).status_code, client.get(path).json()["code"]) for path in paths}
    assert found == paths
    bank.add_theta()
    missing = client.get(f"{bank.market}/accounts/A-2/score")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_account")
    assert bank.count("scores") == 0


# --- batches -----------------------------------------------------------------------------------------------------

ACCOUNTS = ["A-1", None, "A-3"]
COLUMNS: dict[str, list[Any]] = {
    "annual_income": [30_000.0, None, 12_500.5],
    "utilisation": [0.5, 0.25, None],
    "home": ["rent", "houseboat", None],
}
ROWS = [
    {"account": account, "features": dict(zip(COLUMNS, values, strict=True))}
    for account, values in zip(ACCOUNTS, zip(*COLUMNS.values(), strict=True), strict=True)
]


def batch_bodies() -> dict[str, tuple[str, bytes]]:
    """The same three accounts in every form that a batch may have."""
    table = pyarrow.table({"account": ACCOUNTS, **COLUMNS})
    arrow, parquet, lines = io.BytesIO(), io.BytesIO(), io.StringIO()
    with pyarrow.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table)
    pyarrow.parquet.write_table(table, parquet)
    csv.writer(lines).writerows([["account", *COLUMNS], *zip(ACCOUNTS, *COLUMNS.values(), strict=True)])
    return {
        "rows": ("application/json", json.dumps({"rows": ROWS}).encode()),
        "columns": ("application/json", json.dumps({"columns": COLUMNS, "accounts": ACCOUNTS}).encode()),
        "csv": ("text/csv", lines.getvalue().encode()),
        "arrow": (ARROW, arrow.getvalue()),
        "parquet": (PARQUET, parquet.getvalue()),
    }


def read_scores(answer: Response) -> list[dict[str, Any]]:
    """Read an answer in any of its forms, as rows of text, numbers and lists."""
    media_type = answer.headers["content-type"]
    if media_type == ARROW:
        return pyarrow.ipc.open_stream(answer.content).read_all().to_pylist()
    if media_type == PARQUET:
        return pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    if media_type == "text/csv":
        return [_read_cells(row) for row in csv.DictReader(io.StringIO(answer.text))]
    found = answer.json()
    if "scores" in found:
        return found["scores"]
    return [dict(zip(found["columns"], row, strict=True)) for row in zip(*found["columns"].values(), strict=True)]


def _read_cells(row: dict[str, str]) -> dict[str, Any]:
    return row | {
        "account": row["account"] or None,
        "pd": float(row["pd"]),
        "points": float(row["points"]),
        "unseen": row["unseen"].split(),
        "filled": row["filled"].split(),
        "pd_low": float(row["pd_low"]),
        "pd_high": float(row["pd_high"]),
        "reasons": _read_reasons(row["reasons"]),
        "theta_prime_version": int(row["theta_prime_version"]),
        "n_defaults": int(row["n_defaults"]),
    }


def _read_reasons(cell: str) -> list[dict[str, Any]] | None:
    if cell in ("", "none"):
        return [] if cell else None
    parted = (entry.split(":") for entry in cell.split(" "))
    return [{"code": code, "feature": code.split(".")[0], "points": float(points)} for code, points in parted]


@pytest.mark.parametrize("form", ["rows", "columns", "csv", "arrow", "parquet"])
def test_every_form_of_a_batch_is_scored_alike_and_answered_in_its_own(adapted: Bank, form: str) -> None:
    media_type, body = batch_bodies()[form]
    answer = send(adapted, body, media_type)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["cache-control"] == "no-store"
    scores = read_scores(answer)
    assert [list(score) for score in scores] == [SCORE_FIELDS] * 3
    if form == "columns":
        ScoreColumns.model_validate_json(answer.content)
    for name in ("pd", "pd_low", "pd_high"):
        single = [adapted.score(row["features"]).json()["scores"][0][name] for row in ROWS]  # type: ignore[arg-type]
        assert [score[name] for score in scores] == single
    assert [(score["reasons"], score["n_defaults"]) for score in scores] == [(None, 3)] * 3
    assert [score["account"] for score in scores] == ACCOUNTS
    assert [score["unseen"] for score in scores] == [[], ["home"], []]
    assert {score["theta_prime_version"] for score in scores} == {1}
    for score in scores:
        recorded = adapted.client.get(f"/v1/scores/{score['id']}").json()
        assert all(recorded[name] == score[name] for name in ("pd", "pd_low", "pd_high", "reasons", "n_defaults"))
        assert adapted.client.get(f"/v1/scores/{score['id']}/replay").json()["identical"]


def test_the_document_names_both_forms_of_json(shared_bank: Bank) -> None:
    document = shared_bank.client.get("/openapi.json").json()
    path = document["paths"]["/v1/products/{product}/markets/{market}/scores"]
    forms = path["post"]["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert forms == [{"$ref": f"#/components/schemas/{name}"} for name in ("ScoreList", "ScoreColumns")]
    columns = document["components"]["schemas"]["ColumnsOfScores"]
    assert list(columns["properties"]) == columns["required"] == SCORE_FIELDS
    assert columns["properties"]["pd"]["items"] == {"type": "number"}
    assert columns["properties"]["n_defaults"]["items"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]


@pytest.mark.parametrize("accept", ["application/json", "text/csv", ARROW, PARQUET])
def test_the_answers_form_may_be_chosen(adapted: Bank, accept: str) -> None:
    media_type, body = batch_bodies()["csv"]
    answer = send(adapted, body, media_type, accept)
    assert answer.headers["content-type"] == accept
    assert [score["account"] for score in read_scores(answer)] == ACCOUNTS


def test_a_batch_may_leave_out_features_and_accounts(adapted: Bank) -> None:
    answer = send(adapted, "home\nrent\n", "text/csv", "application/json")
    assert answer.status_code == 200
    recorded = adapted.client.get(f"/v1/scores/{answer.json()['scores'][0]['id']}").json()
    assert recorded["features"] == {"annual_income": None, "utilisation": None, "home": "rent"}
    assert recorded["account"] is None


@pytest.mark.parametrize(
    ("body", "media_type", "status", "problem"),
    [
        ({"rows": []}, None, 422, "invalid_body"),
        ([], None, 422, "invalid_body"),
        ({"rows": [], "columns": {}}, None, 422, "invalid_body"),
        ({"columns": {}}, None, 422, "invalid_body"),
        ({"columns": {"home": ["rent"], "utilisation": []}}, None, 422, "invalid_body"),
        ({"columns": {"home": ["rent"]}, "accounts": ["A", "B"]}, None, 422, "invalid_body"),
        ({"columns": {"home": "rent"}}, None, 422, "invalid_body"),
        ({"columns": {"colour": ["red"]}}, None, 422, "invalid_body"),
        ({"columns": {"home": ["rent"]}, "accounts": "A"}, None, 422, "invalid_body"),
        ({"rows": [3]}, None, 422, "invalid_rows"),
        ({"rows": [{"features": features(), "defaulted": True}]}, None, 422, "invalid_rows"),
        ({"rows": [{"features": features(), "account": "a b"}]}, None, 422, "invalid_rows"),
        ({"rows": [{"features": features(), "account": 3}]}, None, 422, "invalid_rows"),
        ({"rows": [{"features": {"colour": 1}}]}, None, 422, "invalid_rows"),
        ({"rows": [{"features": {"annual_income": True}}]}, None, 422, "invalid_rows"),
        ({"columns": {"annual_income": [True]}}, None, 422, "invalid_rows"),
        ({"rows": [{"features": {}}] * 101}, None, 413, "too_many_rows"),
        ({"columns": {"home": ["rent"] * 101}}, None, 413, "too_many_rows"),
        ("home\n" + "rent\n" * 101, "text/csv", 413, "too_many_rows"),
        ("", "text/csv", 422, "corrupt_table"),
        ("home\n", "text/csv", 422, "invalid_body"),
        ("home,home\na,b\n", "text/csv", 422, "corrupt_table"),
        ("home\na,b\n", "text/csv", 422, "invalid_rows"),
        ("colour\nred\n", "text/csv", 422, "invalid_body"),
        ('home\n"rent', "text/csv", 422, "corrupt_table"),
        (b"home\n\xff\xfe\n", "text/csv", 422, "corrupt_table"),
        ("utilisation\n1_0\n", "text/csv", 422, "invalid_rows"),
        ("utilisation\nnan\n", "text/csv", 422, "invalid_rows"),
        (b"PAR1 and no more", PARQUET, 422, "corrupt_table"),
        (b"\xff\xff\xff\xff and no more", ARROW, 422, "corrupt_table"),
        (b"", ARROW, 422, "corrupt_table"),
        ('{"rows": [{"features": {"utilisation": NaN}}]}', "application/json", 400, "invalid_json"),
        ('{"rows": []', "application/json", 400, "invalid_json"),
        ("<rows/>", "application/xml", 415, "unsupported_media_type"),
        ("home\nrent\n", "text/csv; charset=latin-1", 415, "unsupported_media_type"),
    ],
)
def test_a_bad_batch_is_refused_whole(
    shared_bank: Bank, body: Any, media_type: str | None, status: int, problem: str
) -> None:
    content = json.dumps(body) if media_type is None else body
    answer = send(shared_bank, content, media_type or "application/json")
    assert (answer.status_code, answer.json()["code"]) == (status, problem)
    assert shared_bank.count("scores") == 0


def test_an_answer_form_that_is_not_offered_is_refused_before_anything_is_scored(adapted: Bank) -> None:
    answer = send(adapted, b'{"rows": [{"features": {}}]}', "application/json", "image/png")
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert adapted.count("scores") == 0


def test_a_cut_or_altered_table_never_reaches_a_score(adapted: Bank) -> None:
    for form in ("arrow", "parquet"):
        media_type, body = batch_bodies()[form]
        for end in range(len(body) // 8, len(body) - 8, len(body) // 8):
            answer = send(adapted, body[:end], media_type)
            assert answer.status_code in (200, 422), answer.text
            if answer.is_success:  # an Arrow stream may end after its last batch without an end mark
                assert len(read_scores(answer)) == 3


# --- the record --------------------------------------------------------------------------------------------------


def test_a_score_is_replayed_by_the_version_that_made_it(adapted: Bank) -> None:
    score = adapted.score(features()).json()["scores"][0]
    adapted.post(rows(9, prefix="B", every=2))
    assert adapted.score(features()).json()["scores"][0]["pd"] != score["pd"]
    replay = adapted.client.get(f"/v1/scores/{score['id']}/replay").json()
    assert replay == {
        "id": score["id"],
        "recorded_pd": score["pd"],
        "replayed_pd": score["pd"],
        "recorded_pd_low": score["pd_low"],
        "replayed_pd_low": score["pd_low"],
        "recorded_pd_high": score["pd_high"],
        "replayed_pd_high": score["pd_high"],
        "identical": True,
        "theta_version": 1,
        "theta_prime_version": 1,
    }


def test_the_record_holds_the_inputs_as_scored(adapted: Bank) -> None:
    put_account(adapted, "A-1", income=1.0)
    score = adapted.client.get(f"{adapted.market}/accounts/A-1/score").json()
    put_account(adapted, "A-1", income=99_000.0)
    recorded = adapted.client.get(f"/v1/scores/{score['id']}")
    assert recorded.headers["cache-control"] == "no-store"
    assert recorded.json() == score | {"features": features(income=1.0)}


@pytest.mark.parametrize("path", ["/v1/scores/{}", "/v1/scores/{}/replay", "/v1/scores/{}/explanation"])
def test_an_unknown_score_is_not_found(bank: Bank, path: str) -> None:
    answer = bank.client.get(path.format(uuid4()))
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_score")
    assert bank.client.get(path.format("7")).json()["code"] == "invalid_parameter"


# --- versions in memory ------------------------------------------------------------------------------------------


def test_altered_weights_never_score(bank: Bank) -> None:
    bank.post(rows(9), seed=7)  # on hold, so that nobody has loaded it
    with bank.database.writing() as tx:
        tx.execute(text("ALTER TABLE theta_primes DISABLE TRIGGER ALL"))
        tx.execute(text("UPDATE theta_primes SET weights = weights || '\\x20'::bytea"))
        tx.execute(text("ALTER TABLE theta_primes ENABLE TRIGGER ALL"))
    bank.client.post(f"{bank.market}/theta-primes/1/activate")
    answer = bank.score(features())
    assert (answer.status_code, answer.json()["code"]) == (500, "stored_weights_corrupt")
    assert bank.count("scores") == 0
    bank.client.post(f"{bank.market}/theta-primes/0/activate")
    assert bank.score(features()).status_code == 200


def test_memory_keeps_the_versions_used_last(bank: Bank) -> None:
    loaded: list[tuple[int, int | None]] = []

    class Counting(Predictors):
        def _load(self, tx: Any, schema: Any, theta_id: int, theta_prime_id: int | None) -> Any:
            loaded.append((theta_id, theta_prime_id))
            return super()._load(tx, schema, theta_id, theta_prime_id)

    bank.post(rows(9))
    bank.post(rows(9, prefix="B"))
    with bank.database.reading() as tx:
        theta_id, first, second = tx.execute(text("SELECT min(theta_id), min(id), max(id) FROM theta_primes")).one()
        predictors = Counting(FAKE_ENGINE, capacity=2)
        for theta_prime_id in (first, second, first, None, first, second):
            predictors.get(tx, "card", theta_id, theta_prime_id)
    assert loaded == [(theta_id, first), (theta_id, second), (theta_id, None), (theta_id, second)]


def test_every_process_sees_an_activation_at_once_and_loads_it_unasked(bank: Bank, database_url: str) -> None:
    other: FastAPI = create_app(Settings(database_url=database_url, n_threads=2), FAKE_ENGINE)
    with serving(other) as client:
        elsewhere = Bank(client, bank.database)
        for version in (1, 2):
            bank.post(rows(9, prefix=f"P{version}"))
            assert elsewhere.score(features()).json()["scores"][0]["theta_prime_version"] == version
        bank.post(rows(9, prefix="P3"))
        with bank.database.reading() as tx:
            newest = tx.execute(text("SELECT theta_id, id FROM theta_primes WHERE version = 3")).one()
        wait_until(lambda: tuple(newest) in other.state.counter.predictors)


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
