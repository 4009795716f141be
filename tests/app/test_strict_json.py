"""JSON is read strictly: on its own, and behind a real server."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query, Request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from app.api import counter, strict_json
from app.api.limits import LARGE_BODY_BYTES
from app.api.problems import install_problem_handlers
from app.api.strict_json import StrictRoute, parse_json
from app.errors import InvalidJson
from tests.app.bank import Bank
from tests.app.serving import serving

MAX_BYTES = 2000
DEPTH = 8


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "Expecting value"),
        (b"[1,", "Expecting value at line 1, column 4"),
        (b"{'a': 1}", "double quotes"),
        (b'{"a": 1} x', "Extra data"),
        (b'"\x01"', "Invalid control character at line 1"),
        (b"\xef\xbb\xbf1", "byte order mark"),
        (b'"\xff"', "not UTF-8: byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e400", "too large for a 64-bit float"),
        (b"-1e400", "too large for a 64-bit float"),
        (b"9" * 400 + b".5", "too large for a 64-bit float"),
        (b"9223372036854775808", "does not fit in 64 bits"),
        (b"-9223372036854775809", "does not fit in 64 bits"),
        (b"9" * 5000, "does not fit in 64 bits"),
        (b'{"a": 1, "a": 1}', "'a' stands twice"),
        (b'{"Mr Smith": 1, "Mr Smith": 1}', "A key stands twice"),
        (b'[{"a": {"b": 1, "b": 2}}]', "'b' stands twice"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b'["\\u0000"]', "holds NUL"),
        (b"[" * 9 + b"]" * 9, "deeper than 8"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, "deeper than 8"),
        (b"[" * 200_000, "deeper than 8"),
    ],
)
def test_refuses(body: bytes, rule: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        parse_json(body, max_depth=DEPTH)
    assert rule in refused.value.detail


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b" [ ] ", []),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1.7976931348623157e308", 1.7976931348623157e308),
        (b"1e-400", 0.0),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
        (b"[" * 8 + b"]" * 8, [[[[[[[[]]]]]]]]),
        (b'{"a": {"a": 1}}', {"a": {"a": 1}}),
        ('"\u00fc\u4e2d"'.encode(), "\u00fc\u4e2d"),
    ],
)
def test_reads(body: bytes, value: object) -> None:
    assert parse_json(body, max_depth=DEPTH) == value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32)), inner),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_reads_what_other_writers_write(value: object, ensure_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert parse_json(body, max_depth=1000) == value


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_named_fault(body: bytes) -> None:
    try:
        value = parse_json(body, max_depth=DEPTH)
    except InvalidJson:
        return
    assert json.loads(body) == value


class Rate(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    value: float


def app_with_a_json_route() -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    app.state.max_json_depth = DEPTH
    router = APIRouter(route_class=StrictRoute)

    @router.post("/rate")
    async def post_rate(
        rate: Rate, dry_run: bool = False, at_least: float | None = None, tag: list[str] = Query(default=[])
    ) -> dict[str, object]:
        return {"value": rate.value, "dry_run": dry_run, "tag": tag}

    @router.post("/optional")
    async def post_optional(rate: Rate | None = None) -> bool:
        return rate is not None

    @router.post("/raw", max_body_size=10 * MAX_BYTES)
    async def post_raw(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @router.post("/either")
    async def post_either(request: Request) -> object:
        return await request.json()

    @router.get("/rate/{name}")
    async def get_rate(name: str) -> dict[str, float]:
        return {"value": float("nan")}

    app.include_router(router, max_body_size=MAX_BYTES)
    install_problem_handlers(app)
    return app


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(app_with_a_json_route()) as client:
        yield client


JSON = {"Content-Type": "application/json"}


def post(client: httpx.Client, body: bytes | Iterator[bytes], path: str = "/rate", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, content=body, headers=JSON | named)


def test_route_takes_valid_json(client: httpx.Client) -> None:
    answer = post(client, b'{"value": 1.5}', "/rate?dry_run=true&tag=a&tag=b&at_least=2")
    assert answer.json() == {"value": 1.5, "dry_run": True, "tag": ["a", "b"]}


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "told"),
    [
        ("/rate", b'{"value": NaN}', 400, "invalid_json", "NaN is not JSON"),
        ("/rate", b'{"value": 1e999}', 400, "invalid_json", "too large"),
        ("/rate", b"", 422, "invalid_body", "The body is empty"),
        ("/rate", b'{"value": true}', 422, "invalid_body", "must be a number"),
        ("/rate", b'{"value": 1, "valeu": 2}', 422, "invalid_body", "is not a field of this request"),
        ("/rate", b"[]", 422, "invalid_body", "must be an object"),
        ("/rate?at_least=nan", b'{"value": 1}', 422, "invalid_parameter", "must be a finite number"),
        ("/rate?at_least=-Infinity", b'{"value": 1}', 422, "invalid_parameter", "must be a finite number"),
        ("/rate?at_least=1e400", b'{"value": 1}', 422, "invalid_parameter", "must be a finite number"),
        ("/rate?at_least=x", b'{"value": 1}', 422, "invalid_parameter", "must be a number"),
        ("/rate?dry_run=1&dry_run=0", b'{"value": 1}', 422, "invalid_parameter", "must be given once"),
        ("/rate?dryrun=1", b'{"value": 1}', 422, "invalid_parameter", "allowed: at_least, dry_run, tag"),
        ("/rate?tag=%00", b'{"value": 1}', 422, "invalid_parameter", "must not hold NUL"),
        ("/either", b'{"a": 1, "a": 2}', 400, "invalid_json", "stands twice"),
    ],
)
def test_route_refuses(client: httpx.Client, path: str, body: bytes, status: int, code: str, told: str) -> None:
    answer = post(client, body, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert told in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/merge-patch+json"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/rate", "/either"])
def test_other_media_types_are_415(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    answer = client.post(path, content=b'{"value": 1}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("declared", ["application/json", "Application/JSON; charset=UTF-8"])
def test_json_in_utf8_is_taken_however_it_is_spelt(client: httpx.Client, declared: str) -> None:
    assert post(client, b'{"value": 1}', Content_Type=declared).status_code == 200


def test_a_body_that_may_be_absent_may_be_absent(client: httpx.Client) -> None:
    assert client.post("/optional").json() is False
    assert post(client, b'{"value": 1}', "/optional").json() is True


def endless(n_bytes: int) -> Iterator[bytes]:
    while n_bytes > 0:
        yield b" " * min(n_bytes, 500)
        n_bytes -= 500


@pytest.mark.parametrize("body", [b" " * (MAX_BYTES + 1), endless(MAX_BYTES + 1)], ids=["declared", "chunked"])
def test_a_body_over_the_cap_is_413(client: httpx.Client, body: bytes | Iterator[bytes]) -> None:
    answer = post(client, body)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "2,000 bytes" in answer.json()["detail"]


def test_a_route_may_declare_a_larger_cap(client: httpx.Client) -> None:
    assert post(client, endless(9 * MAX_BYTES), "/raw").json() == 9 * MAX_BYTES
    assert post(client, endless(11 * MAX_BYTES), "/raw").status_code == 413


HEAD = b"POST /rate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "unfinished",
    [
        HEAD + b"Content-Length: 1000000000000\r\n\r\n[",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b" " * 1000 + b"\r\n" + b"fff\r\n" + b" " * 4000,
    ],
    ids=["declared", "chunked"],
)
def test_an_endless_body_is_refused_before_its_end(client: httpx.Client, unfinished: bytes) -> None:
    address = (client.base_url.host, client.base_url.port)
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(unfinished)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_path_with_nul_is_refused(client: httpx.Client) -> None:
    answer = client.get("/rate/a%00b")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")


def test_an_answer_with_nan_is_still_json(client: httpx.Client) -> None:
    assert client.get("/rate/x").json() == {"value": None}


@pytest.mark.parametrize(("n_bytes", "aside"), [(100, False), (LARGE_BODY_BYTES + 1, True)])
def test_a_large_body_is_read_off_the_event_loop(
    shared_bank: Bank, monkeypatch: pytest.MonkeyPatch, n_bytes: int, aside: bool
) -> None:
    readers: dict[str, set[str]] = {"parse": set(), "hash": set()}

    def noting(what: str, read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **settings: Any) -> Any:
            readers[what].add(threading.current_thread().name.partition(" ")[0])
            return read(*arguments, **settings)

        return noted

    monkeypatch.setattr(strict_json, "parse_json", noting("parse", parse_json))
    monkeypatch.setattr(counter, "sha256", noting("hash", counter.sha256))
    answer = shared_bank.client.post(
        f"{shared_bank.market}/samples", json={"design": "random", "rows": ["x" * n_bytes]}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rows")
    in_threads = {what: "AnyIO" in names for what, names in readers.items()}
    assert in_threads == {"parse": aside, "hash": aside}
