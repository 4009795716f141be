"""A page for each error, where its `type` points to, and the list of all, kept as a document by

python -m app.api.problem_pages > docs/errors.md
"""

import inspect

from fastapi import APIRouter, Response

from app.errors import NotFound, Problem, every_problem

router = APIRouter(prefix="/problems", include_in_schema=False)

_INTRODUCTION = """\
# Errors

Every error is `application/problem+json` (RFC 9457) with a stable `code`. `errors` lists each broken rule with its
`field`, its `row` (counted from 0) where there are rows, and its `value` only where that cannot be personal. An answer
lists 1,000 faults at most; `n_errors` counts them all. Answers from 500 on carry a `request_id` that the log knows.
`GET /problems/{code}` says the same of one error.

| status | code | what happened, what to do |
|---:|---|---|
"""


def catalogue() -> str:
    """Write the list of all errors as Markdown."""
    rows = sorted((kind.status, kind.code, meaning(kind)) for kind in every_problem())
    return _INTRODUCTION + "".join(f"| {status} | `{code}` | {meant} |\n" for status, code, meant in rows)


def meaning(kind: type[Problem]) -> str:
    """Say what a class of fault means: its docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split())


@router.get("")
async def all_problems() -> Response:
    """List every error."""
    return Response(catalogue(), media_type="text/markdown")


@router.get("/{code}")
async def one_problem(code: str) -> Response:
    """Explain one error."""
    for kind in every_problem():
        if kind.code == code:
            text = f"# {kind.title}\n\n`{kind.code}`, status {kind.status}\n\n{meaning(kind)}\n"
            return Response(text, media_type="text/markdown")
    raise NotFound()


if __name__ == "__main__":
    print(catalogue(), end="")
