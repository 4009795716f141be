"""The job queue: procrastinate's tables in the PostgreSQL schema ``jobs``, used for meta-training alone.

The table of trainings is the truth and the queue only carries it to a worker: `rescue` puts back what a dead worker
held and queues again whatever unfinished training has no job. Why procrastinate: docs/decisions/0003-job-queue.md.
"""

import procrastinate
import psycopg
from procrastinate.exceptions import ConnectorException
from sqlalchemy import text

from app.errors import DatabaseUnavailable
from app.store.database import Transaction, sqlalchemy_url

SCHEMA = "jobs"
QUEUE = TASK = "meta-training"
RESCUER_LOCK = 0x7E7B  # any constant but the migrations': of two rescuers one does the work

QueueUnavailable = (ConnectorException, psycopg.OperationalError)

# Never opened: it writes on the caller's connection, and so in the caller's transaction.
_deferrer = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def open_queue(url: str) -> procrastinate.App:
    """Make a worker's own way to the queue: few connections, on which names mean the queue's schema."""
    conninfo = sqlalchemy_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo,
        # A server that is gone without a word is noticed while there is time to come back to it.
        kwargs={
            "options": f"-c search_path={SCHEMA} -c timezone=UTC",
            "connect_timeout": 5,
            "tcp_user_timeout": 10_000,
        },
        min_size=1,
        max_size=4,
        timeout=5.0,
    )
    return procrastinate.App(connector=connector)


def defer_training(tx: Transaction, training_id: int) -> None:
    """Queue a training; the job is there when, and only when, the caller's transaction commits."""
    lock = f"training-{training_id}"  # of jobs with one lock, one runs at a time
    job = _deferrer.configure_task(
        TASK, queue=QUEUE, lock=lock, queueing_lock=lock, connection=tx.connection.driver_connection
    )
    _use_schema(tx, SCHEMA)
    try:
        job.defer(training_id=training_id)
    except ConnectorException as fault:
        raise DatabaseUnavailable("the training could not be queued; nothing was stored, try again") from fault
    _use_schema(tx, "DEFAULT")


def rescue(tx: Transaction, *, stalled_after_s: float) -> list[int]:
    """Put dead workers' jobs back into the queue, and queue unfinished trainings that have no job.

    Args:    stalled_after_s: a worker without a sign of life for this long is taken for dead.
    Returns: ids of the trainings that will run again; none while another process does the same.
    """
    if not tx.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": RESCUER_LOCK}).scalar_one():
        return []
    _use_schema(tx, SCHEMA)
    stalled = tx.execute(_PUT_BACK, {"task": TASK, "stalled_after_s": stalled_after_s}).scalars().all()
    _use_schema(tx, "DEFAULT")
    forgotten = tx.execute(_WITHOUT_JOB, {"task": TASK}).scalars().all()
    for training_id in forgotten:
        defer_training(tx, training_id)
    return [*stalled, *forgotten]


def _use_schema(tx: Transaction, search_path: str) -> None:
    tx.execute(text(f"SET LOCAL search_path TO {search_path}"))


# The lock on the job makes a rescue that waited for another look at the job again, as it is by then.
_PUT_BACK = text("""
    WITH stalled AS MATERIALIZED (
        SELECT job.id, job.args
        FROM procrastinate_jobs AS job LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
        WHERE job.status = 'doing' AND job.task_name = :task
          AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => :stalled_after_s))
        FOR UPDATE OF job SKIP LOCKED
    )
    SELECT (stalled.args ->> 'training_id')::bigint
    FROM stalled, LATERAL procrastinate_retry_job_v2(stalled.id, now(), NULL, NULL, NULL)
""")

_WITHOUT_JOB = text("""
    SELECT training.id
    FROM trainings AS training
    WHERE training.status IN ('queued', 'running') AND NOT EXISTS (
        SELECT FROM jobs.procrastinate_jobs AS job
        WHERE job.task_name = :task AND job.status IN ('todo', 'doing')
          AND (job.args ->> 'training_id')::bigint = training.id
    )
    ORDER BY training.id
""")
