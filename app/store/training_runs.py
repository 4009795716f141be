"""The writes of a running training. Each names its run, and a run that is no longer the latest changes nothing."""

from typing import Any, NamedTuple

from sqlalchemy import func, select, update

from app.store.database import Transaction
from app.store.tables import trainings


class TrainingRun(NamedTuple):
    """One start of a training, by one process. ``attempt`` is a fencing token: it only grows."""

    training_id: int
    attempt: int


def start_run(tx: Transaction, training_id: int, *, crashes: int) -> TrainingRun:
    """Begin, or go on with, a training; every earlier run of it loses its right to write."""
    statement = (
        update(trainings)
        .where(trainings.c.id == training_id)
        .values(
            status="running",
            attempts=trainings.c.attempts + 1,
            crashes=crashes,
            started_at=func.coalesce(trainings.c.started_at, func.now()),
        )
    )
    return TrainingRun(training_id, tx.execute(statement.returning(trainings.c.attempts)).scalar_one())


def load_checkpoint(tx: Transaction, run: TrainingRun) -> bytes | None:
    statement = select(trainings.c.checkpoint).where(trainings.c.id == run.training_id)
    state: bytes | None = tx.execute(statement).scalar_one()
    return state


def save_progress(tx: Transaction, run: TrainingRun, progress: dict[str, Any]) -> bool:
    return _change(tx, run, progress=progress)


def save_checkpoint(tx: Transaction, run: TrainingRun, state: bytes) -> bool:
    """Keep the newest state. The training got somewhere, so crashes are counted anew."""
    return _change(tx, run, checkpoint=state, crashes=0, error=None)


def note_fault(tx: Transaction, run: TrainingRun, error: str) -> bool:
    """Remember why a run is about to end, for the case that the training is given up."""
    return _change(tx, run, error=error)


def give_back(tx: Transaction, run: TrainingRun) -> bool:
    """End a run in good order; the next one goes on at the checkpoint, and no crash is counted."""
    return _change(tx, run, status="queued")


def mark_succeeded(tx: Transaction, run: TrainingRun, progress: dict[str, Any] | None) -> bool:
    """Finish; the checkpoint has served its purpose and goes."""
    return _change(tx, run, status="succeeded", progress=progress, error=None, checkpoint=None, finished_at=func.now())


def mark_failed(tx: Transaction, run: TrainingRun, error: str) -> bool:
    """Finish without a theta."""
    return _change(tx, run, status="failed", error=error, checkpoint=None, finished_at=func.now())


def _change(tx: Transaction, run: TrainingRun, **values: Any) -> bool:
    statement = update(trainings).where(
        trainings.c.id == run.training_id, trainings.c.attempts == run.attempt, trainings.c.status == "running"
    )
    return tx.execute(statement.values(**values)).rowcount == 1
