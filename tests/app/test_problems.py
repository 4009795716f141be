"""Every error is problem+json with a stable code, and neither answers nor logs repeat what was sent."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Header, HTTPException, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.api.limits import MAX_FAULTS_LISTED
from app.api.negotiation import choose_media_type
from app.api.problem_pages import catalogue, meaning
from app.api.problems import install_problem_handlers
from app.api.strict_json import StrictRoute
from app.errors import DatabaseUnavailable, Fault, InvalidRows, NotAcceptable, Problem, UnknownMarket, every_problem
from tests.app.serving import PATIENCE_S, serving

SECRET = "Jane-Doe-1970"
ERRORS_PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


class Home(BaseModel):
    kind: Literal["home"]


class Work(BaseModel):
    kind: Literal["work"]


def _never(text: str) -> str:
    raise ValueError("must never be given")


class Everything(BaseModel):
    """A field of each type that a body of ours may have."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rows: list[dict[str, float]] = []
    name: Annotated[str, Field(max_length=3, pattern="^[a-z]+$")] = "a"
    count: Annotated[int, Field(ge=0, lt=10)] = 0
    choice: Literal["a", "b"] = "a"
    flag: bool = False
    day: Annotated[str, AfterValidator(_never)] | None = None
    identity: Annotated[UUID, Field(strict=False)] | None = None
    place: Annotated[Home | Work, Field(discriminator="kind")] | None = None


def app_with_faults() -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    router = APIRouter(route_class=StrictRoute)

    @router.post("/everything")
    async def post_everything(body: Everything) -> None: ...

    @router.get("/things/{version}/accounts/{account}")
    async def get_thing(
        version: int, account: int, limit: int = Query(10, le=100), note: Annotated[str, Header(max_length=3)] = "a"
    ) -> None: ...

    @router.put("/things/{version}/accounts/{account}")
    async def put_thing(version: int, account: str) -> None: ...

    @router.get("/market")
    async def get_market() -> None:
        raise UnknownMarket("Product 'x' has no market 'y'.")

    @router.get("/rows")
    async def get_rows(n: int) -> None:
        raise InvalidRows(
            "Rows break the rules.", faults=[Fault("income", "must be at least 0", row=i) for i in range(n)]
        )

    @router.get("/nan")
    async def get_nan() -> None:
        raise InvalidRows("A value is no number.", faults=[Fault("x", "must be finite", value=float("nan"))])

    @router.get("/crash")
    async def get_crash() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise RuntimeError(f"about {SECRET}") from cause

    @router.get("/crash-late")
    async def get_crash_late() -> StreamingResponse:
        def broken() -> Iterator[bytes]:
            yield b"a" * 10
            raise RuntimeError(f"about {SECRET}")

        return StreamingResponse(broken(), media_type="text/csv")

    @router.get("/database")
    async def get_database() -> None:
        raise DatabaseUnavailable() from RuntimeError(f"about {SECRET}")

    @router.get("/teapot")
    async def get_teapot() -> None:
        raise HTTPException(418, detail=SECRET)

    @router.get("/plain")
    async def get_plain() -> PlainTextResponse:
        return PlainTextResponse(SECRET, 406, headers={"Vary": "Accept"})

    app.include_router(router)
    install_problem_handlers(app)
    return app


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(app_with_faults()) as client:
        yield client


def checked(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
    """Hold an answer against everything that each error promises; returns its body."""
    body: dict[str, object] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert body["type"] == f"/problems/{code}"
    assert {"title", "detail", "errors"} <= body.keys()
    assert SECRET not in answer.text
    return body


@pytest.mark.parametrize(
    ("body", "field", "row", "rule"),
    [
        ({"rows": [{"a": 1}, {"income": SECRET}]}, "income", 1, "must be a number"),
        ({"rows": SECRET}, "rows", None, "must be a list"),
        ({"rows": [SECRET]}, "rows", 0, "must be an object"),
        ({"name": SECRET}, "name", None, "must have at most 3 character(s)"),
        ({"name": "J-1"}, "name", None, "must match ^[a-z]+$"),
        ({"count": 19700101}, "count", None, "must be below 10"),
        ({"count": "1"}, "count", None, "must be an integer"),
        ({"count": 1.5}, "count", None, "must be an integer"),
        ({"choice": SECRET}, "choice", None, "must be 'a' or 'b'"),
        ({"flag": 1}, "flag", None, "must be true or false"),
        ({"day": SECRET}, "day", None, "must never be given"),
        ({"identity": SECRET}, "identity", None, "must be a UUID"),
        ({"place": {"kind": SECRET}}, "place", None, "must have 'kind' among 'home', 'work'"),
        ({"place": {}}, "place", None, "must have 'kind'"),
        ({"place\n": 1}, "place?", None, "is not a field of this request"),
        ([], "body", None, "must be an object"),
    ],
)
def test_body_faults_name_the_field_and_the_rule(
    client: httpx.Client, body: object, field: str, row: int | None, rule: str
) -> None:
    problem = checked(client.post("/everything", json=body), 422, "invalid_body")
    expected = {"field": field, "rule": rule} | ({} if row is None else {"row": row})
    assert problem["errors"] == [expected]


def test_parameter_faults_repeat_only_what_cannot_be_personal(client: httpx.Client) -> None:
    answer = client.get(f"/things/abc/accounts/{SECRET}?limit=1000", headers={"note": SECRET})
    assert checked(answer, 422, "invalid_parameter")["errors"] == [
        {"field": "path.version", "rule": "must be an integer", "value": "abc"},
        {"field": "path.account", "rule": "must be an integer"},
        {"field": "query.limit", "rule": "must be at most 100", "value": "1000"},
        {"field": "header.note", "rule": "must have at most 3 character(s)"},
    ]


def test_parameter_values_with_odd_characters_are_not_repeated(client: httpx.Client) -> None:
    problem = checked(client.get("/things/%3Cb%3E/accounts/1"), 422, "invalid_parameter")
    assert problem["errors"] == [{"field": "path.version", "rule": "must be an integer"}]


def test_unknown_paths_are_404(client: httpx.Client) -> None:
    checked(client.get(f"/nowhere/{SECRET}"), 404, "not_found")
    checked(client.get("/market/"), 404, "not_found")


def test_405_names_every_method_of_the_path(client: httpx.Client) -> None:
    answer = client.delete(f"/things/1/accounts/{SECRET}")
    checked(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, PUT"


def test_a_problem_says_what_its_service_said(client: httpx.Client) -> None:
    problem = checked(client.get("/market"), 404, "unknown_market")
    assert problem["detail"] == "Product 'x' has no market 'y'."


def test_faults_are_counted_beyond_those_listed(client: httpx.Client) -> None:
    few = checked(client.get("/rows?n=3"), 422, "invalid_rows")
    assert few["errors"] == [{"field": "income", "rule": "must be at least 0", "row": row} for row in range(3)]
    assert "n_errors" not in few
    many = checked(client.get(f"/rows?n={MAX_FAULTS_LISTED + 5}"), 422, "invalid_rows")
    assert isinstance(many["errors"], list)
    assert (len(many["errors"]), many["n_errors"]) == (MAX_FAULTS_LISTED, MAX_FAULTS_LISTED + 5)


def test_a_fault_about_nan_is_still_json(client: httpx.Client) -> None:
    assert checked(client.get("/nan"), 422, "invalid_rows")["errors"] == [
        {"field": "x", "rule": "must be finite", "value": "nan"}
    ]


SERVER_LOGS = ("thetaprime", "uvicorn", "fastapi", "asyncio")


class ServerLog:
    """What the server's loggers wrote since the test began."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._formatter = logging.Formatter("%(name)s %(message)s")

    def text(self) -> str:
        ours = [record for record in self._caplog.records if record.name.split(".")[0] in SERVER_LOGS]
        return "\n".join(map(self._formatter.format, ours))

    def has(self, text: str) -> bool:
        """Is the text there? The server may write a line just after the answer, so this waits for it."""
        deadline = monotonic() + PATIENCE_S
        while text not in self.text() and monotonic() < deadline:
            sleep(0.01)
        return text in self.text()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> ServerLog:
    for name in SERVER_LOGS:
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level(logging.DEBUG)
    return ServerLog(caplog)


@pytest.mark.parametrize(("path", "status"), [("/crash", 500), ("/database", 503)])
def test_what_is_wrong_on_our_side_has_an_id_and_no_message(
    client: httpx.Client, logged: ServerLog, path: str, status: int
) -> None:
    code = {500: "internal_error", 503: "database_unavailable"}[status]
    answer = client.get(path)
    request_id = checked(answer, status, code)["request_id"]
    assert re.fullmatch("[0-9a-f]{32}", str(request_id))
    assert logged.has(f"request {request_id} failed")
    assert logged.has("builtins.RuntimeError")
    assert logged.has(f"GET {path} {status}")
    assert SECRET not in logged.text()


def test_an_unavailable_database_says_when_to_come_back(client: httpx.Client) -> None:
    assert client.get("/database").headers["retry-after"] == "1"


def test_an_answer_that_fails_late_is_cut_off_and_logged_without_its_message(
    client: httpx.Client, logged: ServerLog
) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/crash-late")
    assert logged.has("AnswerAborted")
    assert SECRET not in logged.text()


def test_words_of_frameworks_are_put_into_ours(client: httpx.Client) -> None:
    checked(client.get("/teapot"), 418, "invalid_http")
    answer = client.get("/plain")
    checked(answer, 406, "not_acceptable")
    assert answer.headers["vary"] == "Accept"


def test_request_lines_hide_accounts_and_queries(client: httpx.Client, logged: ServerLog) -> None:
    client.get(f"/things/1/accounts/{SECRET}?limit=7&note={SECRET}")
    client.get(f"/{SECRET}?a={SECRET}")
    assert logged.has("GET /things/1/accounts/{account} 422")
    assert logged.has("GET - 404")
    assert SECRET not in logged.text()


def test_codes_are_stable_names_with_a_status_a_title_and_a_meaning() -> None:
    kinds = list(every_problem())
    assert len({kind.code for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert re.fullmatch("[a-z][a-z0-9_]+", kind.code)
        assert 400 <= kind.status < 600
        assert kind.title
        assert meaning(kind).endswith("."), kind
        assert meaning(kind) != meaning(Problem)


def test_docs_list_every_error() -> None:
    assert ERRORS_PAGE.read_text() == catalogue(), "python -m app.api.problem_pages > docs/errors.md"


def test_every_type_has_its_page(client: httpx.Client) -> None:
    for kind in every_problem():
        page = client.get(f"/problems/{kind.code}")
        assert page.status_code == 200
        assert kind.title in page.text
    assert client.get("/problems").text == catalogue()
    checked(client.get("/problems/no_such_code"), 404, "not_found")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("image/svg+xml", "image/svg+xml"),
        ("Image/SVG+xml;q=0.5, text/html", "image/svg+xml"),
        ("application/json;q=0.1, image/*", "image/svg+xml"),
        ("image/svg+xml;q=0, */*", "application/json"),
        ("image/svg+xml, application/json", "application/json"),
    ],
)
def test_the_preferred_media_type_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, "application/json", "image/svg+xml") == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/svg+xml;q=0", "application/json;q=high", "*/*;q=2"])
def test_none_of_the_media_types_is_406(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=re.escape("application/json or image/svg+xml")):
        choose_media_type(accept, "application/json", "image/svg+xml")
