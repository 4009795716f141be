"""The worker: takes trainings from the queue, one at a time, and runs each in a process of its own.

It outlives its database: when that is gone it comes back to it, and what it held by then is rescued like the job of a
worker that was killed, by whichever worker is alive.
"""

import asyncio
import logging
import os
import signal
import subprocess
from contextlib import suppress
from typing import IO, Annotated, Self

import procrastinate
from procrastinate.jobs import Job
from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app import leash
from app.errors import DatabaseUnavailable
from app.store.database import Database
from app.store.queue import QUEUE, TASK, QueueUnavailable, open_queue, rescue

log = logging.getLogger("thetaprime.worker")

POLL_EVERY_S = 1.0  # a job that is put back into the queue is announced to nobody
RETRY_AFTER_S = 2
RECONNECT_AFTER_S = 2.0


class WorkerSettings(BaseSettings):
    """How a worker runs, from the environment: ``THETAPRIME_WORKER_N_THREADS=2``, say, sets ``n_threads``."""

    model_config = SettingsConfigDict(
        env_prefix="THETAPRIME_WORKER_", populate_by_name=True, extra="ignore", frozen=True
    )

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL", repr=False)]
    n_threads: Annotated[int, Field(ge=1, le=256)] | None = Field(
        None, description="threads of a training; null: as many as torch thinks best"
    )
    heartbeat_every_s: Annotated[float, Field(gt=0)] = Field(1.0, description="seconds between two signs of life")
    stalled_after_s: Annotated[float, Field(gt=0)] = Field(
        6.0, description="seconds without a sign of life after which a worker's training goes to another worker"
    )
    stop_within_s: Annotated[float, Field(gt=0)] = Field(
        8.0, description="seconds in which a training, asked to stop, has to end in good order; then it is killed"
    )

    @model_validator(mode="after")
    def _a_late_heartbeat_is_no_death(self) -> Self:
        if self.stalled_after_s < 3 * self.heartbeat_every_s:
            raise ValueError("stalled_after_s must be at least three times heartbeat_every_s")
        return self


class TrainingProcessEnded(Exception):
    """A training's process ended without an ending of its training, which goes on in another process."""


def run_worker(settings: WorkerSettings) -> None:
    """Work until SIGTERM or SIGINT; a training under way is then checkpointed and given back to the queue."""
    asyncio.run(_work_until_stopped(settings))


def start_worker(settings: WorkerSettings, *, log_to: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start a worker as a child of this process, in good order stopped by this process's end, however it ends.

    Keep the result: the child is also stopped when it is dropped, or by its ``terminate()``.
    Args: log_to: a file for what it and its trainings log; None: this process's standard error.
    """
    process = subprocess.Popen(
        leash.child_command("app.worker"),
        env=leash.child_environment(),
        stdin=subprocess.PIPE,
        stdout=log_to,
        stderr=log_to,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(leash.write_order(**settings.model_dump()))
    process.stdin.flush()
    return process


async def _work_until_stopped(settings: WorkerSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not stop.is_set():
        try:
            await _work_while_connected(settings, stop)
        except (*QueueUnavailable, DatabaseUnavailable) as fault:
            log.warning("the database can't be reached (%s); trying again", type(fault).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RECONNECT_AFTER_S)


async def _work_while_connected(settings: WorkerSettings, stop: asyncio.Event) -> None:
    """Take jobs until asked to stop or the database is gone, then let go of everything."""
    database = Database(settings.database_url, pool_size=1)
    queue = open_queue(settings.database_url)
    _teach(queue, settings)
    try:
        await queue.open_async()
        tasks = [
            asyncio.create_task(_take_jobs(queue, settings)),
            asyncio.create_task(_rescue_regularly(database, settings)),
            asyncio.create_task(stop.wait()),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        endings = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await queue.close_async()
        database.close()
    for ending in endings:
        if isinstance(ending, Exception):
            raise ending


async def _take_jobs(queue: procrastinate.App, settings: WorkerSettings) -> None:
    await queue.run_worker_async(
        queues=[QUEUE],
        concurrency=1,
        fetch_job_polling_interval=POLL_EVERY_S,
        shutdown_graceful_timeout=0,
        install_signal_handlers=False,
        update_heartbeat_interval=settings.heartbeat_every_s,
        stalled_worker_timeout=settings.stalled_after_s,
        delete_jobs="successful",
    )


async def _rescue_regularly(database: Database, settings: WorkerSettings) -> None:
    while True:
        for training_id in await asyncio.to_thread(_rescue, database, settings.stalled_after_s):
            log.warning("training %d goes back into the queue: its worker is gone", training_id)
        await asyncio.sleep(settings.heartbeat_every_s)


def _rescue(database: Database, stalled_after_s: float) -> list[int]:
    with database.writing() as tx:
        return rescue(tx, stalled_after_s=stalled_after_s)


class _Again(procrastinate.BaseRetryStrategy):
    """Every job that ends without success runs again; that a training is given up is decided with its claim."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> procrastinate.RetryDecision:
        is_stopping = isinstance(exception, asyncio.CancelledError)
        return procrastinate.RetryDecision(retry_in={"seconds": 0 if is_stopping else RETRY_AFTER_S})


def _teach(queue: procrastinate.App, settings: WorkerSettings) -> None:
    @queue.task(name=TASK, queue=QUEUE, retry=_Again())
    async def train(training_id: int) -> None:
        log.info("training %d begins or goes on", training_id)
        status = await _run_in_child(settings, training_id)
        if status != 0:
            log.warning("training %d will run again: its process ended with status %d", training_id, status)
            raise TrainingProcessEnded(f"status {status}")
        log.info("training %d is over", training_id)


async def _run_in_child(settings: WorkerSettings, training_id: int) -> int:
    """Run a training to its end and return its process's exit status, negative for a signal."""
    child = await asyncio.create_subprocess_exec(
        *leash.child_command("app.training_process"),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=leash.child_environment(**_openmp(settings)),
    )
    try:
        assert child.stdin is not None
        child.stdin.write(leash.write_order(database_url=settings.database_url, training_id=training_id))
        return await child.wait()
    except asyncio.CancelledError:
        await _end(child, settings.stop_within_s)
        raise


def _openmp(settings: WorkerSettings) -> dict[str, str]:
    """Settle how many threads there are, and that they sleep while they wait: where other processes want the cores
    too, threads that spin made a training 20 times slower."""
    cores = {} if settings.n_threads is None else {"OMP_NUM_THREADS": str(settings.n_threads)}
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")} | cores


async def _end(child: asyncio.subprocess.Process, patience_s: float) -> None:
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), patience_s)
    except TimeoutError:
        child.kill()
        await child.wait()


def _main() -> None:
    order = leash.take_order(when_parent_ends=lambda: os.kill(os.getpid(), signal.SIGTERM))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("thetaprime").setLevel(logging.INFO)
    run_worker(WorkerSettings(**order))


if __name__ == "__main__":
    _main()
