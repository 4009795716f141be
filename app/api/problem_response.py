"""A fault as RFC 9457 problem+json: the same shape for every status that this service answers."""

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.middleware.body_limit import MAX_BODY_SIZE_SCOPE_KEY
from starlette.responses import Response
from starlette.types import Scope

from app.api.limits import MAX_FAULTS_LISTED
from app.errors import (
    BodyTooLarge,
    Fault,
    InternalError,
    InvalidHttp,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Problem,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
_BY_STATUS = {
    kind.status: kind for kind in (NotFound, MethodNotAllowed, NotAcceptable, BodyTooLarge, UnsupportedMediaType)
}


class ProblemResponse(Response):
    """The answer to one fault. Never cached, never sniffed, and free of personal data as its `Problem` is."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, *, headers: Mapping[str, str] | None = None) -> None:
        fixed = {"Cache-Control": "no-store"}
        super().__init__(problem_body(problem), problem.status, fixed | problem.headers | dict(headers or {}))


def problem_of_status(status: int, scope: Scope) -> Problem:
    """Put a bare HTTP status, as frameworks raise it, into our words; the words that came with it may quote input."""
    fallback = InternalError if status >= 500 else InvalidHttp
    max_bytes = scope.get(MAX_BODY_SIZE_SCOPE_KEY) if status == 413 else None
    detail = None if max_bytes is None else f"A body may have at most {max_bytes:,} bytes here."
    problem = _BY_STATUS.get(status, fallback)(detail)
    problem.status = status
    return problem


def problem_body(problem: Problem) -> bytes:
    """Write the JSON of a fault: `type`, `title`, `status`, `detail`, `code`, `errors` and, past the listed ones,
    their number in all."""
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "errors": [_entry(fault) for fault in problem.faults[:MAX_FAULTS_LISTED]],
    }
    if len(problem.faults) > MAX_FAULTS_LISTED:
        body["n_errors"] = len(problem.faults)
    if problem.request_id is not None:
        body["request_id"] = problem.request_id
    return json.dumps(body, allow_nan=False).encode()


def _entry(fault: Fault) -> dict[str, Any]:
    entry: dict[str, Any] = {"field": fault.field, "rule": fault.rule}
    if fault.row is not None:
        entry["row"] = fault.row
    if fault.value is not None:
        entry["value"] = _writable(fault.value)
    return entry


def _writable(value: object) -> object:
    plain = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else str(value)
