"""A worker, a training's process and their parent killed in the middle of meta-training: it is taken up again, and ends
in the same bits as one that was left in peace.

When a kill strikes is left to chance; what must hold afterwards holds whenever it strikes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from app.domain.recipes import ThetaRecipe
from app.domain.thetas import Theta
from app.store.database import Database
from app.worker import WorkerSettings
from tests.e2e.processes import children_of, eventually, is_alive, worker
from tests.e2e.real_bank import found_bank, read_theta, request_theta

LONG_ENOUGH_TO_KILL = ThetaRecipe(n_folds=2, pooled_steps=400, outer_steps=30, n_members=16, inner_steps=2, seed=3)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = found_bank(database_url)
    yield database
    database.close()


def wait_for(database: Database, version: int, status: str) -> Theta:
    def look() -> Theta | None:
        theta = read_theta(database, version)
        assert theta.status != "failed", theta.error
        return theta if theta.status == status else None

    return eventually(look, f"version {version} is {status}")


def wait_for_checkpoint(database: Database, version: int, *, attempt: int) -> Theta:
    """Wait until a run has got further and kept something new to go on with."""

    def read_checkpoint() -> str | None:
        with database.reading() as tx:
            statement = text("SELECT md5(checkpoint) FROM trainings WHERE version = :version")
            return tx.execute(statement, {"version": version}).scalar_one()

    before = read_checkpoint()

    def look() -> Theta | None:
        theta = read_theta(database, version)
        return theta if theta.attempts == attempt and theta.progress and read_checkpoint() != before else None

    return eventually(look, f"attempt {attempt} at version {version} keeps a checkpoint")


def test_meta_training_goes_on_after_every_way_to_be_interrupted_and_ends_in_the_same_theta(database: Database) -> None:
    settings = WorkerSettings(database_url=database.url, n_threads=1, heartbeat_every_s=0.3, stalled_after_s=2.0)
    version = request_theta(database, LONG_ENOUGH_TO_KILL)

    with worker(settings) as first:
        wait_for_checkpoint(database, version, attempt=1)
        [training_process] = children_of(first.pid)
        first.kill()  # as power does, or the kernel when memory is short
        eventually(lambda: not is_alive(training_process), "the training's process ends with its worker")
    assert read_theta(database, version).status == "running"

    with worker(settings) as second:
        theta = wait_for_checkpoint(database, version, attempt=2)
        assert theta.progress is not None
        assert theta.progress["resumed_at"]["step"] > 0
        [training_process] = children_of(second.pid)
        os.kill(training_process, signal.SIGKILL)  # the worker lives on and starts another

        theta = wait_for_checkpoint(database, version, attempt=3)
        assert theta.progress is not None
        assert theta.progress["resumed_at"]["step"] > 0
        second.terminate()  # a deployment, say
        assert second.wait() == 0
    assert read_theta(database, version).status == "queued"

    with worker(settings):
        interrupted = wait_for(database, version, "succeeded")
        uninterrupted = wait_for(database, request_theta(database, LONG_ENOUGH_TO_KILL), "succeeded")
    assert (interrupted.attempts, uninterrupted.attempts) == (4, 1)
    assert interrupted.sha256 == uninterrupted.sha256


def test_a_worker_ends_when_the_process_that_started_it_is_killed(database: Database) -> None:
    program = """
import sys
from app.worker import WorkerSettings, start_worker
worker = start_worker(WorkerSettings(database_url=sys.argv[1], n_threads=1))
print(worker.pid, flush=True)
worker.wait()
"""
    version = request_theta(database, LONG_ENOUGH_TO_KILL)
    command = [sys.executable, "-c", program, database.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker_process = int(parent.stdout.readline())
        wait_for_checkpoint(database, version, attempt=1)
        [training_process] = children_of(worker_process)
        parent.kill()
    eventually(lambda: not is_alive(worker_process), "the worker ends with its parent")
    assert not is_alive(training_process)
    assert read_theta(database, version).status in ("queued", "succeeded")
