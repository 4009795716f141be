"""The counter: what every request works with, and the one unit of work around a POST."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any

from anyio import CapacityLimiter
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from app.api.metrics import Metrics
from app.api.strict_json import parse_json
from app.api.threads import read_aside
from app.errors import IdempotencyConflict, TooManyRows
from app.services.engine import Engine
from app.services.predictors import Predictors
from app.services.watching import Watch
from app.settings import Settings
from app.store import idempotency
from app.store.database import Database, Transaction

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="any unique text; for 7 days the same key with the same request gets the first answer again, "
        "byte for byte",
    ),
]


@dataclass(frozen=True)
class Counter:
    """The service's parts, put together by ``create_app``."""

    settings: Settings
    database: Database
    engine: Engine
    predictors: Predictors
    watch: Watch
    metrics: Metrics = field(default_factory=Metrics)
    probes: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    """Threads of their own for looks at the service's health, which must answer while all others work."""

    def refuse_too_many(self, n_rows: int) -> None:
        """Raises: TooManyRows: more than one request may have."""
        if n_rows > self.settings.max_rows:
            raise TooManyRows(f"{n_rows:,} rows; at most {self.settings.max_rows:,} are taken at once.")

    def parse_json(self, text: bytes) -> Any:
        """Parse one strict JSON document. Raises: InvalidJson."""
        return parse_json(text, max_depth=self.settings.max_json_depth)


async def _counter(request: Request) -> Counter:
    counter: Counter = request.app.state.counter
    return counter


TheCounter = Annotated[Counter, Depends(_counter)]


@dataclass(frozen=True)
class Answer:
    """What a POST answers: a model, written as JSON, or bytes of another media type.

    ``on_commit`` is called when its work is kept for good.
    """

    body: BaseModel | bytes
    status: int = 201
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    on_commit: Callable[[], None] = lambda: None

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else self.body.model_dump_json().encode()


@dataclass(frozen=True)
class Once:
    """Does the work of a POST in one transaction, committed before there is an answer; and once for each key."""

    database: Database
    key: str | None
    fingerprint: str

    def run(self, work: Callable[[Transaction], Answer]) -> Response:
        """Work, keep the answer with the work, commit, answer; or give a key's first answer again.

        A fault, raised by the work or by the commit, leaves neither work nor key behind.
        Raises: IdempotencyConflict: the key belongs to another request.
        """
        with self.database.writing() as tx:
            first = None if self.key is None else idempotency.claim_key(tx, self.key, self.fingerprint)
            if first is not None:
                return self._replay(first)
            answer = work(tx)
            content = answer.content()
            headers = {"Content-Type": answer.media_type, **answer.headers}
            if self.key is not None:
                idempotency.keep_answer(tx, self.key, status=answer.status, headers=headers, body=content)
        answer.on_commit()
        return Response(content, answer.status, headers)

    def _replay(self, first: idempotency.FirstAnswer) -> Response:
        if first.fingerprint != self.fingerprint:
            raise IdempotencyConflict("This Idempotency-Key came with another request; use a fresh one for new work.")
        return Response(first.body, first.status, first.headers | {"Idempotency-Replayed": "true"})


def fingerprint(request: Request, body_sha256: str) -> str:
    """Hash what makes a request the same one: method, path, query and body."""
    parts = (request.method, request.url.path, request.url.query, body_sha256)
    return sha256("\n".join(parts).encode()).hexdigest()


def _sha256(body: bytes) -> str:
    return sha256(body).hexdigest()


async def _once(request: Request, counter: TheCounter, key: IdempotencyKey = None) -> Once:
    body_sha256 = await read_aside(_sha256, await request.body())
    return Once(counter.database, key, fingerprint(request, body_sha256))


WithKey = Annotated[Once, Depends(_once)]
