"""What a worker does with a queued training: train, report, checkpoint, and keep the theta.

A run can end at any instant (a killed worker, a lost database), and the next one goes on at the last checkpoint. Two
runs of one training never both write: each start outdates the runs before it, and every write asks for the right first.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple

from app.domain.source_data import SourceSummary
from app.engine.contract import MetaError, ProgressEvent, TrainedTheta
from app.errors import DatabaseUnavailable
from app.services.engine import TrainTheta
from app.services.source_data import summarise_source
from app.services.training import put_in_service
from app.software import software_versions
from app.store.database import Database, Transaction
from app.store.products import ProductRow, get_product, lock_product
from app.store.source_rows import load_frame
from app.store.thetas import TrainingRow, insert_theta, lock_training
from app.store.training_runs import (
    TrainingRun,
    give_back,
    load_checkpoint,
    mark_failed,
    mark_succeeded,
    note_fault,
    save_checkpoint,
    save_progress,
    start_run,
)

log = logging.getLogger("thetaprime.training")

PROGRESS_EVERY_S = 0.5
CHECKPOINT_WITHIN_S = 5.0  # a run that is asked to stop goes on until its next checkpoint, if that comes so soon
MAX_CRASHES = 3


class RunStopped(Exception):
    """The worker was asked to stop; the training goes back to the queue."""


class RunOutdated(Exception):
    """Another run of the same training has started; this one must not write."""


class Claim(NamedTuple):
    """The right to run a training, until the next run starts."""

    run: TrainingRun
    training: TrainingRow
    owner: ProductRow


def run_training(
    database: Database,
    training_id: int,
    train: TrainTheta,
    *,
    is_stopping: Callable[[], bool] = lambda: False,
    max_crashes: int = MAX_CRASHES,
) -> bool:
    """Train a theta, from the last checkpoint if there is one, and keep it.

    Args:    is_stopping: asked after every step; True ends the run at its next checkpoint, and gives the training back.
             max_crashes: after so many runs without an ending or a new checkpoint the training has failed.
    Returns: True: the job is done (theta is kept, the training has failed, or it is another run's);
             False: it was given back and should be run again.
    Raises:  whatever is not the recipe's or the data's fault; the training is then unfinished, to be run again.
    """
    with database.writing() as tx:
        claim = _claim(tx, training_id, max_crashes)
    if claim is None:
        return True
    watch = _Watch(database, claim.run, is_stopping)
    try:
        _train(database, claim, train, watch)
    except RunOutdated:
        log.warning("training %d: another run has taken over", training_id)
    except RunStopped:
        watch.give_back()
        return False
    except MetaError as fault:
        with database.writing() as tx:
            mark_failed(tx, claim.run, str(fault))
    except DatabaseUnavailable:
        raise
    except Exception as fault:
        with database.writing() as tx:  # a type and no message: that could repeat a value of an account
            note_fault(tx, claim.run, type(fault).__name__)
        raise
    return True


def _claim(tx: Transaction, training_id: int, max_crashes: int) -> Claim | None:
    """Start a run, unless the training is over; one found running was left by a run that died."""
    training = lock_training(tx, training_id)
    if training is None or training.status in ("succeeded", "failed"):
        return None
    crashes = training.crashes + (training.status == "running")
    if crashes >= max_crashes:
        _give_up(tx, training, crashes)
        return None
    run = start_run(tx, training_id, crashes=crashes)
    return Claim(run, training, get_product(tx, training.product_id))


def _give_up(tx: Transaction, training: TrainingRow, crashes: int) -> None:
    reason = training.error or "killed, or out of memory"
    error = f"The training ended {crashes} times without a result or a new checkpoint ({reason}). See the worker's log."
    mark_failed(tx, TrainingRun(training.id, training.attempts), error)


def _train(database: Database, claim: Claim, train: TrainTheta, watch: "_Watch") -> None:
    schema = claim.owner.product.feature_schema
    with database.reading() as tx:
        source = load_frame(tx, claim.owner.id, schema)
        summary = summarise_source(tx, claim.owner.id, source)
    watch.heed()
    trained = train(schema, source, claim.training.recipe, on_progress=watch.on_progress, checkpoints=watch)
    with database.writing() as tx:
        _keep(tx, claim, trained, summary, watch.progress)


def _keep(
    tx: Transaction, claim: Claim, trained: TrainedTheta, summary: SourceSummary, progress: dict[str, Any] | None
) -> None:
    """Store theta and end its training, both or neither."""
    replaced = lock_product(tx, claim.owner.id)
    _require(mark_succeeded(tx, claim.run, progress))
    insert_theta(
        tx,
        claim.training,
        schema_sha256=claim.owner.product.schema_sha256,
        weights=trained.artifact.weights,
        sha256=trained.artifact.sha256,
        report=trained.report,
        software=software_versions(),
        source_data=summary,
    )
    if claim.training.activate_if_first and replaced is None:
        note = "the product's first theta, activated as its request asked"
        version = claim.training.version
        put_in_service(tx, claim.owner.id, version, replaced=None, activated_by="training", note=note)


class _Watch:
    """Hears a training: keeps its checkpoints and its progress, and ends it when it should stop."""

    def __init__(self, database: Database, run: TrainingRun, is_stopping: Callable[[], bool]) -> None:
        self.progress: dict[str, Any] | None = None
        self._database = database
        self._run = run
        self._is_stopping = is_stopping
        self._resumed_at: dict[str, Any] | None = None
        self._resumes = False
        self._reported_at = -math.inf
        self._stopping_since: float | None = None

    def load(self) -> bytes | None:
        with self._database.reading() as tx:
            state = load_checkpoint(tx, self._run)
        self._resumes = state is not None
        return state

    def save(self, state: bytes) -> None:
        """Keep a checkpoint; the best moment to stop. Raises: RunStopped, RunOutdated."""
        with self._database.writing() as tx:
            _require(save_checkpoint(tx, self._run, state))
        self.heed()

    def on_progress(self, event: ProgressEvent) -> None:
        """Keep an event, write it if the last one is old enough. Raises: RunStopped, RunOutdated."""
        if self._resumes and self._resumed_at is None:
            self._resumed_at = {"phase": event.phase, "step": event.step}
        self.progress = _presentable(event) | {"resumed_at": self._resumed_at}
        self.heed(patience_s=CHECKPOINT_WITHIN_S)
        if monotonic() - self._reported_at >= PROGRESS_EVERY_S:
            self._reported_at = monotonic()
            with self._database.writing() as tx:
                _require(save_progress(tx, self._run, self.progress))

    def heed(self, patience_s: float = 0.0) -> None:
        """Raises: RunStopped: the run was asked to stop, at least ``patience_s`` ago."""
        if self._is_stopping():
            self._stopping_since = self._stopping_since or monotonic()
            if monotonic() - self._stopping_since >= patience_s:
                raise RunStopped

    def give_back(self) -> None:
        with self._database.writing() as tx:
            give_back(tx, self._run)


def _presentable(event: ProgressEvent) -> dict[str, Any]:
    """Name the event's values for JSON, which knows no NaN and no infinity."""
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(event).items()
    }
    return values | {"reported_at": datetime.now(UTC).isoformat()}


def _require(is_latest_run: bool) -> None:
    if not is_latest_run:
        raise RunOutdated
