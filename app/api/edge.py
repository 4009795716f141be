"""The outermost layer of the service: no fault escapes it unnamed, and no log line it writes holds personal data."""

import logging
import traceback
from collections.abc import Iterator
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problem_response import ProblemResponse, problem_of_status
from app.api.validation import is_nameable
from app.errors import InternalError

access_log = logging.getLogger("thetaprime.access")
fault_log = logging.getLogger("thetaprime.faults")

QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked every few seconds for ever; only what goes wrong there is worth a line."""


class AnswerAborted(RuntimeError):
    """An answer broke off after its first bytes; the server must cut the connection so that the client sees it."""


class Edge:
    """Pure ASGI middleware: answers unhandled exceptions, rewrites the framework's plain-text errors, logs requests."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer, started_at = _Answer(scope, receive, send), perf_counter()
        try:
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            fault_log.info("the client left before its request ended: %s %s", scope["method"], loggable_path(scope))
        except Exception as fault:
            await answer.send_internal_error(fault)
        finally:
            if not (scope["path"] in QUIET_PATHS and answer.status == 200):
                _log_request(scope, answer.status, perf_counter() - started_at)


def _log_request(scope: Scope, status: int | None, seconds: float) -> None:
    access_log.info("%s %s %s %.1f ms", scope["method"], loggable_path(scope), status or "-", 1e3 * seconds)


class _Answer:
    """The way out of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.status: int | None = None
        self._replaced = False

    async def send(self, message: Message) -> None:
        """Pass a message on, unless it belongs to an error that is not yet problem+json."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if _is_plain_error(message):
                self._replaced = True
                await self._replace(message)
                return
            MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
        if not (self._replaced and message["type"] == "http.response.body"):
            await self._send(message)

    async def send_internal_error(self, fault: Exception) -> None:
        """Log an exception under a request id and answer with that id, if there is still an answer to give."""
        request_id = uuid4().hex
        log_fault(fault, request_id)
        if self.status is not None:
            raise AnswerAborted(f"request {request_id} failed after its answer had begun") from None
        problem = InternalError()
        problem.request_id = request_id
        response = ProblemResponse(problem)
        await response(self._scope, self._receive, self.send)

    async def _replace(self, message: Message) -> None:
        kept = {name: value for name, value in Headers(scope=message).items() if not name.startswith("content-")}
        response = ProblemResponse(problem_of_status(message["status"], self._scope), headers=kept)
        await response(self._scope, self._receive, self._send)


def _is_plain_error(message: Message) -> bool:
    return message["status"] >= 400 and Headers(scope=message).get("content-type", "").startswith("text/plain")


def loggable_path(scope: Scope) -> str:
    """Write the path of a matched route, with `{name}` for parameters that may name a person; else a dash."""
    if "route" not in scope:
        return "-"
    hidden = {str(value): name for name, value in scope["path_params"].items() if not is_nameable(name, value)}
    return "/".join(f"{{{hidden[step]}}}" if step in hidden else step for step in scope["path"].split("/"))


def log_fault(fault: BaseException, request_id: str) -> None:
    """Log where an exception came from, by type and place; messages are left out because drivers quote data there."""
    fault_log.error("request %s failed\n%s", request_id, "\n".join(_places(fault)))


def _places(fault: BaseException | None) -> Iterator[str]:
    while fault is not None:
        yield f"{type(fault).__module__}.{type(fault).__qualname__}"
        for frame in traceback.extract_tb(fault.__traceback__):
            yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
        fault = fault.__cause__ or fault.__context__
