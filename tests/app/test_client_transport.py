"""Tries, keys and answers of the client, against services that misbehave."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas
import pyarrow.ipc
import pytest

from app.client import ServiceUnreachable, ThetaprimeClient, ThetaprimeError
from app.client.tables import CHUNK_BYTES, CHUNK_ROWS, arrow_chunks, file_chunks
from app.client.transport import PAUSES_S, Transport
from app.domain.products import Product
from tests.app import bank as data
from tests.app.bank import Bank

Handle = Callable[[httpx.Request], httpx.Response]
DECLARED = {
    **data.PRODUCT,
    "schema_sha256": "0" * 64,
    "active_theta_version": None,
    "created_at": "2025-01-01T00:00:00Z",
    "points_scale": {"base_points": 600.0, "base_odds": 50.0, "pdo": 20.0},
}


def transport(handle: Handle, slept: list[float] | None = None) -> Transport:
    http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(handle))
    return Transport(http, sleep=(slept if slept is not None else []).append)


class Failing:
    """Answers as told, one entry a request: an exception is raised, a status is answered."""

    def __init__(self, *script: Exception | int) -> None:
        self.script, self.requests = list(script), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        entry = self.script.pop(0)
        if isinstance(entry, Exception):
            raise entry
        return httpx.Response(entry, json=DECLARED if entry < 400 else {})


def test_a_broken_connection_is_tried_again_with_the_same_key_and_body() -> None:
    service, slept = Failing(httpx.ConnectError("refused"), httpx.ReadError("reset"), 201), []
    product = transport(service, slept).post("/v1/products", data.PRODUCT, Product)
    assert product.slug == "card"
    assert len({request.headers["Idempotency-Key"] for request in service.requests}) == 1
    assert len({request.content for request in service.requests}) == 1
    assert slept == list(PAUSES_S[:2])


def test_other_requests_have_other_keys_and_reading_has_none() -> None:
    service = Failing(201, 201, 200)
    client = transport(service)
    client.post("/v1/products", data.PRODUCT, Product)
    client.post("/v1/products", data.PRODUCT, Product)
    client.get("/v1/products/card", Product)
    keys = [request.headers.get("Idempotency-Key") for request in service.requests]
    assert keys[0] != keys[1]
    assert keys[2] is None


def test_a_busy_service_is_tried_again_and_a_refusal_is_not() -> None:
    service = Failing(503, 201)
    assert transport(service).post("/v1/products", data.PRODUCT, Product).slug == "card"
    service = Failing(409, 201)
    with pytest.raises(ThetaprimeError):
        transport(service).post("/v1/products", data.PRODUCT, Product)
    assert len(service.requests) == 1


def test_after_the_last_try_the_reason_is_told() -> None:
    service = Failing(*[httpx.ConnectError("refused")] * (len(PAUSES_S) + 1))
    with pytest.raises(ServiceUnreachable, match=r"http://service.*refused") as caught:
        transport(service).get("/v1/products/card", Product)
    assert (caught.value.code, caught.value.status, service.script) == ("service_unreachable", None, [])
    service = Failing(*[503] * (len(PAUSES_S) + 1))
    with pytest.raises(ThetaprimeError) as busy:
        transport(service).get("/v1/products/card", Product)
    assert busy.value.status == 503


def test_an_address_of_no_service_is_not_tried_again() -> None:
    slept: list[float] = []
    with pytest.raises(ServiceUnreachable):
        Transport(httpx.Client(base_url="ftp://service"), sleep=slept.append).get("/v1/products/card", Product)
    assert slept == []


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b'{"detail": "no"}', b"[1]", b"\xff"])
def test_what_somebody_else_answers_is_said_to_be_unexpected(body: bytes) -> None:
    with pytest.raises(ThetaprimeError) as caught:
        transport(lambda request: httpx.Response(502, content=body)).get("/v1/products/card", Product)
    assert (caught.value.status, caught.value.code) == (502, "unexpected_answer")
    with pytest.raises(ThetaprimeError) as caught:
        transport(lambda request: httpx.Response(200, content=body)).get("/v1/products/card", Product)
    assert (caught.value.status, caught.value.code) == (200, "unexpected_answer")


def test_fields_that_a_newer_service_adds_are_ignored() -> None:
    newer = {**DECLARED, "colour": "blue"}
    newer["outcome"] = {**data.PRODUCT["outcome"], "since": 2031}
    product = transport(lambda request: httpx.Response(200, json=newer)).get("/v1/products/card", Product)
    assert product.outcome.performance_window_days == 365


def test_a_problem_is_read_whole() -> None:
    problem = {
        "type": "/problems/invalid_rows",
        "title": "Rows break the rules",
        "status": 422,
        "detail": "Seven faults.",
        "code": "invalid_rows",
        "errors": [{"field": "defaulted", "rule": "is required", "row": row} for row in range(7)],
        "request_id": "abc",
    }
    with pytest.raises(ThetaprimeError) as caught:
        transport(lambda request: httpx.Response(422, json=problem)).get("/v1/products/card", Product)
    told = str(caught.value)
    assert (len(caught.value.faults), caught.value.request_id) == (7, "abc")
    assert "row 4, defaulted is required" in told
    assert "row 5" not in told
    assert "and 2 more" in told


class LosesFirstAnswer(httpx.HTTPTransport):
    """Passes every request on; the first answer to a POST never arrives."""

    n_posts = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        if request.method == "POST":
            self.n_posts += 1
            if self.n_posts == 1:
                answer.close()
                raise httpx.ReadError("the answer is lost", request=request)
        return answer


def test_work_whose_answer_is_lost_is_done_once(client: httpx.Client, bank: Bank) -> None:
    line = LosesFirstAnswer()
    with ThetaprimeClient(http=httpx.Client(base_url=client.base_url, transport=line)) as thetaprime:
        receipt = thetaprime.post_samples("card", "north", data.rows(6))
        assert line.n_posts == 2
        assert receipt.rows.n_used == 6, "the second try gets the first answer, not a report of repeated rows"
        assert [made.version for made in thetaprime.list_theta_primes("card", "north")] == [1]


def test_an_upload_whose_answer_is_lost_is_stored_once(client: httpx.Client, bank: Bank, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("market,defaulted,annual_income,utilisation,home\neast,1,10,0.1,own\neast,0,20,,rent\n")
    line = LosesFirstAnswer()
    with ThetaprimeClient(http=httpx.Client(base_url=client.base_url, transport=line)) as thetaprime:
        assert thetaprime.upload_source_data("card", path).n_stored == 2
        assert line.n_posts == 2
        assert [market.n_rows for market in thetaprime.count_source_data("card")] == [2]


def test_files_and_frames_are_sent_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(b"x" * (2 * CHUNK_BYTES + 1))
    assert [len(chunk) for chunk in file_chunks(path)] == [CHUNK_BYTES, CHUNK_BYTES, 1]
    frame = pandas.DataFrame({"a": [0.5, None], "b": ["x", None], "c": [True, False]})
    frame = pandas.concat([frame] * CHUNK_ROWS, ignore_index=True)
    chunks: Iterator[bytes] = arrow_chunks(frame)
    first = next(chunks)
    rest = list(chunks)
    assert len(rest) == 2, "one a batch, and the stream's end"
    table = pyarrow.ipc.open_stream(io.BytesIO(b"".join([first, *rest]))).read_all()
    assert table.num_rows == 2 * CHUNK_ROWS
    assert [table.column(name).null_count for name in "abc"] == [CHUNK_ROWS, CHUNK_ROWS, 0]
