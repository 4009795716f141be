"""Liveness, readiness and metrics: GET, for what restarts processes, balances load and watches."""

from typing import Literal

from anyio import to_thread
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from app.api.counter import Counter, TheCounter
from app.api.strict_json import StrictRoute
from app.domain.thetas import TrainingStatus
from app.errors import DatabaseUnavailable
from app.services import health

router = APIRouter(tags=["health"], route_class=StrictRoute)

NO_STORE = {"Cache-Control": "no-store"}


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = Field("alive", examples=["alive"])


class Ready(BaseModel):
    """The service can work."""

    status: Literal["ready"] = Field("ready", examples=["ready"])


@router.get("/livez", summary="Is the process alive?")
async def livez(response: Response) -> Alive:
    """Answers while the process does, and touches nothing, so that a lost database restarts nobody."""
    response.headers.update(NO_STORE)
    return Alive()


@router.get("/readyz", summary="Can the service work?")
async def readyz(counter: TheCounter, response: Response) -> Ready:
    """Answers 200 while the database is reached within two seconds and has this version's tables, and newly active
    versions are watched for; else 503, and the detail says what is missing. Answers also while all threads work."""
    response.headers.update(NO_STORE)
    await to_thread.run_sync(_require_ready, counter, limiter=counter.probes)
    return Ready()


@router.get("/metrics", response_class=PlainTextResponse, summary="Read what this process counts")
async def metrics(counter: TheCounter) -> Response:
    """Requests and their seconds by route, new theta_primes by verdict and scores by basis, each since this process
    started; trainings by status, of the database. Prometheus text; add up over processes, trainings apart."""
    trainings = await to_thread.run_sync(_count_trainings, counter, limiter=counter.probes)
    return Response(counter.metrics.write(trainings), media_type=CONTENT_TYPE_LATEST, headers=NO_STORE)


def _count_trainings(counter: Counter) -> dict[TrainingStatus, int] | None:
    """Ask the database; None: it does not answer, which is a metric too."""
    try:
        with counter.database.probing() as tx:
            return health.count_trainings(tx)
    except DatabaseUnavailable:
        return None


def _require_ready(counter: Counter) -> None:
    with counter.database.probing() as tx:
        health.require_ready(tx, counter.watch)
