"""Install the service's one way of answering faults."""

from collections.abc import Iterator
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from app.api import problem_pages
from app.api.edge import Edge, log_fault
from app.api.logging_config import silence_uvicorn_access_log
from app.api.problem_response import ProblemResponse, problem_of_status
from app.api.validation import problem_of
from app.errors import Problem


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every fault of `app` as problem+json, and serve the pages that their `type` points to.

    Call after all other `add_middleware` but what counts answers, so that the edge makes every answer.
    """
    app.include_router(problem_pages.router)
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_middleware(Edge)
    silence_uvicorn_access_log()


async def _answer_problem(request: Request, fault: Exception) -> ProblemResponse:
    assert isinstance(fault, Problem)
    if fault.status >= 500:
        fault.request_id = uuid4().hex
        log_fault(fault, fault.request_id)
    return ProblemResponse(fault)


async def _answer_validation_error(request: Request, fault: Exception) -> ProblemResponse:
    assert isinstance(fault, RequestValidationError)
    return ProblemResponse(problem_of(fault.errors()))


async def _answer_http_exception(request: Request, fault: Exception) -> ProblemResponse:
    """Frameworks raise these; their headers (Allow, WWW-Authenticate) are kept, their words are not."""
    assert isinstance(fault, HTTPException)
    headers = dict(fault.headers or {})
    if fault.status_code == 405:
        headers["Allow"] = ", ".join(sorted(set(_methods(request))))
    return ProblemResponse(problem_of_status(fault.status_code, request.scope), headers=headers)


def _methods(request: Request) -> Iterator[str]:
    """All methods of a path; Starlette names only those of the first route that matches."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    for route in iter_route_contexts(request.app.routes):
        if route.path is not None and route.methods and compile_path(route.path)[0].match(path):
            yield from route.methods
