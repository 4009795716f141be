"""One request and its answer: keys, tries and errors."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from secrets import token_urlsafe
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel

from app.client.errors import ServiceUnreachable, ThetaprimeError, error_of
from app.domain.pages import Page

Model = TypeVar("Model", bound=BaseModel)
Json = BaseModel | Mapping[str, Any]
MakeContent = Callable[[], bytes | Iterable[bytes]]

PATIENCE_S = 60.0
CONNECT_WITHIN_S = 5.0
PAUSES_S = (0.2, 0.5, 1.0, 2.0)  # between tries; one try more than pauses
_BUSY = 503
_MISUSE = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


class Transport:
    """Sends requests to one service.

    A POST carries an Idempotency-Key of its own, the same at every try, so that trying again after a broken connection
    never does the work twice; all other requests are idempotent by nature.
    """

    def __init__(self, http: httpx.Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._sleep = sleep

    def get(self, path: str, kind: type[Model], **params: Any) -> Model:
        """Read one thing."""
        return read(self.send("GET", path, params=params), kind)

    def items(self, path: str, kind: type[Model], **params: Any) -> Iterator[Model]:
        """Read a list to its end, page by page, as it is consumed."""
        after: str | int | None = None
        while True:
            page = self.get(path, Page[kind], **params, after=after)  # type: ignore[valid-type]  # made at run time
            yield from page.items
            after = page.next_after
            if after is None:
                return

    def put(self, path: str, body: Json, kind: type[Model]) -> Model:
        """Store one thing under its name."""
        return read(self.send("PUT", path, content=_json(body), content_type="application/json"), kind)

    def post(self, path: str, body: Json, kind: type[Model], **params: Any) -> Model:
        """Have one piece of work done."""
        answer = self.send("POST", path, content=_json(body), content_type="application/json", params=params)
        return read(answer, kind)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: MakeContent | None = None,
        content_type: str | None = None,
        accept: str = "application/json",
        patience_s: float = PATIENCE_S,
    ) -> httpx.Response:
        """Send a request, again where that may help, and return its answer; ``content`` is made anew for every try.

        Args:   patience_s: how long to wait for an answer once the request is sent.

        Raises: ThetaprimeError: the service refused; ServiceUnreachable: no answer.
        """
        headers = {"Accept": f"{accept}, application/problem+json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        if method == "POST":
            headers["Idempotency-Key"] = token_urlsafe(24)
        timeout = httpx.Timeout(PATIENCE_S, connect=CONNECT_WITHIN_S, read=patience_s)
        sent = {name: value for name, value in (params or {}).items() if value is not None}
        for pause in (*PAUSES_S, None):
            try:
                body = None if content is None else content()
                answer = self._http.request(method, path, params=sent, content=body, headers=headers, timeout=timeout)
            except httpx.TransportError as fault:
                if pause is None or isinstance(fault, _MISUSE):
                    raise ServiceUnreachable(str(self._http.base_url), fault) from fault
            else:
                if answer.status_code != _BUSY or pause is None:
                    return _accepted(answer)
            self._sleep(pause)
        raise AssertionError("the last try has no pause")


def at(*steps: object) -> str:
    """Write the path of something below /v1; steps are quoted, so that no name becomes another path."""
    return "/v1/" + "/".join(quote(str(step), safe="") for step in steps)


def read(answer: httpx.Response, kind: type[Model]) -> Model:
    """Read an answer; fields that a newer service adds are ignored. Raises: ThetaprimeError: it is no such thing."""
    try:
        return kind.model_validate_json(answer.content, extra="ignore")
    except ValueError as fault:
        detail = f"{answer.url.host} answered {answer.status_code} with something that is no {kind.__name__}."
        raise ThetaprimeError(detail, code="unexpected_answer", status=answer.status_code) from fault


def _accepted(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise error_of(answer)
    return answer


def _json(body: Json) -> MakeContent:
    text = body.model_dump_json(exclude_unset=True) if isinstance(body, BaseModel) else _dumps(body)
    return text.encode


def _dumps(body: Mapping[str, Any]) -> str:
    try:
        return json.dumps(body, allow_nan=False, default=_dump)
    except ValueError as fault:
        raise ThetaprimeError("A value is NaN or infinite; a missing value is None.", code="invalid_json") from fault


def _dump(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
