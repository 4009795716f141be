"""What a monitor counts, for Prometheus: no label holds anything that a request named or that stands for an account."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, get_args

import prometheus_client
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client import Counter as Count
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.domain.scores import Basis
from app.domain.theta_primes import SamplesReceipt, Verdict
from app.domain.thetas import TrainingStatus

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Metrics:
    """The counts of one process since it started."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = self._make(Count, "requests", "Requests.", "method", "route", "status")
        self._seconds = self._make(
            Histogram,
            "request_seconds",
            "From a request's head to its answer's end.",
            "method",
            "route",
            buckets=SECONDS,
        )
        self._adaptations = self._make(Count, "adaptations", "New theta_primes.", "verdict")
        self._scores = self._make(Count, "scores", "Scores written to the ledger.", "basis")
        self._trainings = self._make(Gauge, "trainings", "Meta-trainings in the database.", "status")
        self._database_up = self._make(Gauge, "database_up", "1: the database answered this question in time; 0: not.")
        for counts, values in ((self._adaptations, Verdict), (self._scores, Basis)):
            for value in get_args(values):
                counts.labels(value)  # there from the start, at 0

    def count_request(self, method: str, route: str, status: int | None, seconds: float) -> None:
        """Count a request and its answer; ``status`` None: its client had left."""
        method = method if method in METHODS else OTHER
        self._requests.labels(method, route, "none" if status is None else str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def count_adaptation(self, verdict: Verdict) -> None:
        """Count a theta_prime that was kept."""
        self._adaptations.labels(verdict).inc()

    def count_samples(self, receipt: SamplesReceipt) -> None:
        """Count the theta_prime that posted samples made, if they made one to keep."""
        if receipt.adaptation is not None and not receipt.dry_run:
            self.count_adaptation(receipt.adaptation.verdict)

    def count_scores(self, basis: Basis, n_scores: int) -> None:
        """Count scores in the ledger."""
        self._scores.labels(basis).inc(n_scores)

    def write(self, trainings: Mapping[TrainingStatus, int] | None) -> bytes:
        """Write everything in Prometheus text; ``trainings`` by status are the database's, None: it did not answer."""
        self._database_up.set(trainings is not None)
        self._trainings.clear()
        for status in () if trainings is None else get_args(TrainingStatus):
            self._trainings.labels(status).set((trainings or {}).get(status, 0))
        return generate_latest(self._registry)

    def _make(self, kind: Callable[..., Any], name: str, meaning: str, *labels: str, **settings: Any) -> Any:
        return kind(f"thetaprime_{name}", meaning, labels, registry=self._registry, **settings)


class CountRequests:
    """Pure ASGI middleware: counts and times each request under the template of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute]) -> None:
        self.app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status: int | None = None
        started_at = perf_counter()

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        finally:
            route = self._templates.get(scope.get("endpoint"), OTHER)
            self._metrics.count_request(scope["method"], route, status, perf_counter() - started_at)

    @cached_property
    def _templates(self) -> dict[Any, str]:
        """Full path templates by endpoint, read at the first request, when all routes are there."""
        contexts = iter_route_contexts(self._routes)
        return {found.endpoint: found.path for found in contexts if found.endpoint and found.path}
