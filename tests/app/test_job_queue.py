"""The job queue's own part: what is rescued, and where its tables are."""

import hashlib

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import create_engine, text

from app.store import migrations, queue, tables
from app.store.database import Database, sqlalchemy_url
from app.worker import WorkerSettings
from tests.app.trainings import StepTrainer, execute, found_product, jobs, request, run


@pytest.fixture
def database(database: Database) -> Database:
    found_product(database)
    return database


def take_job(database: Database, *, heartbeat_age_s: float) -> None:
    """Let a worker, last heard of so long ago, hold the only job."""
    execute(
        database,
        f"""
        INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '{heartbeat_age_s} s');
        SELECT procrastinate_fetch_job_v2(NULL, (SELECT max(id) FROM procrastinate_workers));
        """,
    )


def rescue(database: Database) -> list[int]:
    with database.writing() as tx:
        return queue.rescue(tx, stalled_after_s=10)


def test_a_dead_workers_job_goes_back_into_the_queue(database: Database) -> None:
    training_id, _ = request(database)
    take_job(database, heartbeat_age_s=11)
    assert rescue(database) == [training_id]
    assert jobs(database) == [(training_id, "todo")]


def test_the_job_of_a_worker_that_was_struck_off_goes_back_too(database: Database) -> None:
    training_id, _ = request(database)
    take_job(database, heartbeat_age_s=0)
    execute(database, "DELETE FROM procrastinate_workers")
    assert rescue(database) == [training_id]
    assert jobs(database) == [(training_id, "todo")]


def test_a_living_workers_job_is_left_alone(database: Database) -> None:
    training_id, _ = request(database)
    take_job(database, heartbeat_age_s=9)
    assert rescue(database) == []
    assert jobs(database) == [(training_id, "doing")]


@pytest.mark.parametrize("forget", ["DELETE FROM", "UPDATE"])
def test_an_unfinished_training_without_a_job_gets_one(database: Database, forget: str) -> None:
    training_id, _ = request(database)
    done = " SET status = 'succeeded'" if forget == "UPDATE" else ""
    execute(database, f"{forget} procrastinate_jobs{done}")
    assert rescue(database) == [training_id]
    assert jobs(database)[-1] == (training_id, "todo")
    assert rescue(database) == []


def test_a_finished_training_needs_no_job(database: Database) -> None:
    training_id, _ = request(database)
    assert run(database, training_id, StepTrainer())
    execute(database, "DELETE FROM procrastinate_jobs")
    assert rescue(database) == []


def test_of_two_rescuers_one_does_the_work(database: Database) -> None:
    training_id, _ = request(database)
    take_job(database, heartbeat_age_s=11)
    with database.writing() as tx:
        assert queue.rescue(tx, stalled_after_s=10) == [training_id]
        assert rescue(database) == []
    assert jobs(database) == [(training_id, "todo")]


# --- its schema --------------------------------------------------------------------------------------------------


def test_the_queues_tables_stay_in_their_own_schema_and_go_with_it(empty_database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(empty_database_url))
    found = text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'procrastinate%'")
    migrations.upgrade(empty_database_url)
    with engine.connect() as connection:
        assert connection.execute(found).scalars().all() == ["jobs"]
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    migrations.downgrade(empty_database_url, "0001")
    with engine.connect() as connection:
        assert connection.execute(found).scalars().all() == []
        assert connection.execute(text("SELECT to_regnamespace('jobs')")).scalar_one() is None
    migrations.upgrade(empty_database_url)
    engine.dispose()


def test_the_librarys_schema_is_the_one_that_migration_0002_was_written_for() -> None:
    """When this fails the library has a new schema: add a migration that applies the library's own to older databases
    (docs/decisions/0003-job-queue.md says how), look through the SQL in app/store/queue.py, then renew the hash."""
    schema = SchemaManager.get_schema()
    assert (
        hashlib.sha256(schema.encode()).hexdigest()
        == "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"
    )


def test_a_worker_that_is_late_once_is_not_taken_for_dead() -> None:
    with pytest.raises(ValueError, match="at least three times"):
        WorkerSettings(database_url="postgresql://nowhere", heartbeat_every_s=2, stalled_after_s=5)
