"""Meta-training as a durable job, against a real PostgreSQL; what a kill does to real processes is in tests/e2e."""

import hashlib
from collections.abc import Callable, Iterator

import pandas
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import create_engine, text

from app.domain.products import OutcomeDefinition, ProductDraft
from app.domain.recipes import ThetaRecipe
from app.domain.schema import Feature, FeatureSchema
from app.domain.thetas import Theta
from app.engine.contract import Artifact, CheckpointStore, InvalidEpisode, OnProgress, ProgressEvent, TrainedTheta
from app.errors import UnknownProduct, UnknownTheta, UntrainedTheta
from app.services import training, training_run
from app.services.engine import TrainTheta
from app.store import activations, migrations, queue, source_rows, tables, thetas
from app.store.database import Database, sqlalchemy_url
from app.store.products import find_product, insert_product
from app.store.source_rows import SourceRow

RECIPE = ThetaRecipe(seed=7)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url, pool_size=4)
    with database.writing() as tx:
        insert_product(
            tx,
            ProductDraft(
                slug="cards",
                title="Cards",
                feature_schema=FeatureSchema(features=[Feature(name="income", kind="numeric")]),
                outcome=OutcomeDefinition(definition="90 days past due", performance_window_days=365),
            ),
        )
        product = find_product(tx, "cards")
        assert product is not None
        rows = [SourceRow("ES", is_bad, None, None, {"income": float(is_bad)}) for is_bad in (True, False)]
        source_rows.copy_source_rows(tx, product.id, rows)
    yield database
    database.close()


def request(database: Database, *, activate: bool = False) -> tuple[int, int]:
    """Ask for a theta; return the ids of its training and its version."""
    with database.writing() as tx:
        version = training.request_theta(tx, "cards", RECIPE, activate=activate).version
        product = find_product(tx, "cards")
        assert product is not None
        return thetas.get_training(tx, product.id, version).id, version


def read(database: Database, version: int = 1) -> Theta:
    with database.reading() as tx:
        return training.get_theta(tx, "cards", version)


def jobs(database: Database) -> list[tuple[int, str]]:
    with database.reading() as tx:
        found = tx.execute(text("SELECT (args ->> 'training_id')::int, status::text FROM jobs.procrastinate_jobs"))
        return [(row[0], row[1]) for row in found]


def execute(database: Database, statement: str) -> None:
    """Do something to the queue's tables."""
    with database.writing() as tx:
        tx.execute(text("SET LOCAL search_path TO jobs"))
        tx.execute(text(statement))


class StepTrainer:
    """Trains as the engine does: step by step, reporting each, checkpointing some, resumable; theta is its history."""

    def __init__(
        self, n_steps: int = 10, *, checkpoint_every: int = 4, before_step: Callable[[int], None] | None = None
    ):
        self.n_steps, self.checkpoint_every, self.before_step = n_steps, checkpoint_every, before_step
        self.seen: pandas.DataFrame | None = None
        self.started_at: int | None = None

    def __call__(
        self,
        schema: FeatureSchema,
        source: pandas.DataFrame,
        recipe: ThetaRecipe,
        *,
        on_progress: OnProgress,
        checkpoints: CheckpointStore | None,
    ) -> TrainedTheta:
        assert checkpoints is not None
        self.seen = source
        weights = checkpoints.load() or bytes([recipe.seed])
        self.started_at = len(weights) - 1
        for step in range(self.started_at + 1, self.n_steps + 1):
            if self.before_step:
                self.before_step(step)
            weights += bytes([step])
            if step % self.checkpoint_every == 0:
                checkpoints.save(weights)
            on_progress(ProgressEvent("outer", step, self.n_steps, 0.7, float("nan"), float(step), 1.0))
        return TrainedTheta(Artifact(weights, hashlib.sha256(weights).hexdigest()), {"steps": self.n_steps})


def die(at: int) -> Callable[[int], None]:
    """Make a step that ends a run without a word, as a kill does."""

    def before_step(step: int) -> None:
        if step == at:
            raise KeyboardInterrupt  # no Exception: nothing is noted, nothing given back

    return before_step


def run(database: Database, training_id: int, train: TrainTheta, **options: object) -> bool:
    return training_run.run_training(database, training_id, train, **options)  # type: ignore[arg-type]


def run_and_die(database: Database, training_id: int, *, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(database, training_id, StepTrainer(before_step=die(at)))


# --- asking ------------------------------------------------------------------------------------------------------


def test_a_training_and_its_job_are_there_together(database: Database) -> None:
    training_id, version = request(database)
    theta = read(database, version)
    assert (theta.status, theta.active, theta.recipe, theta.sha256) == ("queued", False, RECIPE, None)
    assert jobs(database) == [(training_id, "todo")]


def test_a_rolled_back_request_leaves_neither_training_nor_job(database: Database) -> None:
    def ask_and_fail() -> None:
        with database.writing() as tx:
            training.request_theta(tx, "cards", RECIPE)
            raise RuntimeError("something failed after the request")

    with pytest.raises(RuntimeError, match="after the request"):
        ask_and_fail()
    assert jobs(database) == []
    with pytest.raises(UnknownTheta), database.reading() as tx:
        training.get_theta(tx, "cards", 1)


def test_queueing_leaves_names_in_the_transaction_as_they_were(database: Database) -> None:
    with database.writing() as tx:
        before = tx.execute(text("SHOW search_path")).scalar_one()
        training.request_theta(tx, "cards", RECIPE)
        assert tx.execute(text("SHOW search_path")).scalar_one() == before


def test_an_unknown_product_has_no_thetas(database: Database) -> None:
    for ask in (
        lambda tx: training.request_theta(tx, "loans", RECIPE),
        lambda tx: training.get_theta(tx, "loans", 1),
        lambda tx: training.list_thetas(tx, "loans", after=0, limit=5),
        lambda tx: training.activate_theta(tx, "loans", 1, activated_by="ann"),
    ):
        with pytest.raises(UnknownProduct), database.writing() as tx:
            ask(tx)


def test_versions_are_listed_in_pages(database: Database) -> None:
    for _ in range(3):
        request(database)
    with database.reading() as tx:
        first = training.list_thetas(tx, "cards", after=0, limit=2)
        second = training.list_thetas(tx, "cards", after=2, limit=2)
    assert [theta.version for theta in first.items] == [1, 2]
    assert first.next_after == 2
    assert [theta.version for theta in second.items] == [3]
    assert second.next_after is None


# --- running -----------------------------------------------------------------------------------------------------


def test_a_run_keeps_theta_and_ends_its_training(database: Database) -> None:
    training_id, version = request(database)
    trainer = StepTrainer()
    assert run(database, training_id, trainer)
    assert trainer.seen is not None
    assert list(trainer.seen["defaulted"]) == [True, False]
    theta = read(database, version)
    weights = bytes([7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert (theta.status, theta.active, theta.attempts, theta.error) == ("succeeded", False, 1, None)
    assert (theta.sha256, theta.report) == (hashlib.sha256(weights).hexdigest(), {"steps": 10})
    assert theta.progress is not None
    assert (theta.progress["step"], theta.progress["n_steps"], theta.progress["eta_s"]) == (10, 10, 1.0)
    assert theta.progress["validation_loss"] is None  # JSON has no NaN
    with database.reading() as tx:
        assert tx.execute(text("SELECT weights FROM thetas")).scalar_one() == weights
        assert tx.execute(text("SELECT checkpoint FROM trainings")).scalar_one() is None


def test_a_second_job_of_a_finished_training_does_nothing(database: Database) -> None:
    training_id, _ = request(database)
    assert run(database, training_id, StepTrainer())
    trainer = StepTrainer()
    assert run(database, training_id, trainer)
    assert trainer.started_at is None


def test_a_job_of_no_training_is_done(database: Database) -> None:
    assert run(database, 12345, StepTrainer())


def test_a_fault_of_recipe_or_data_fails_the_training_with_its_own_words(database: Database) -> None:
    def train(*_: object, **__: object) -> TrainedTheta:
        raise InvalidEpisode("needs at least two markets with defaults, got 1")

    training_id, version = request(database)
    assert run(database, training_id, train)
    theta = read(database, version)
    assert (theta.status, theta.error) == ("failed", "needs at least two markets with defaults, got 1")
    assert theta.finished_at is not None


def test_a_stopped_run_is_given_back_at_its_next_checkpoint(database: Database) -> None:
    training_id, version = request(database)
    steps: list[int] = []
    trainer = StepTrainer(before_step=steps.append)
    assert not run(database, training_id, trainer, is_stopping=lambda: len(steps) >= 6)
    assert read(database, version).status == "queued"
    trainer = StepTrainer()
    assert run(database, training_id, trainer)
    theta = read(database, version)
    assert trainer.started_at == 8
    assert theta.progress is not None
    assert theta.progress["resumed_at"] == {"phase": "outer", "step": 9}
    assert theta.sha256 == hashlib.sha256(bytes([7, *range(1, 11)])).hexdigest()


def test_a_stopped_run_does_not_wait_long_for_a_checkpoint(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000, 2000, 2))
    monkeypatch.setattr(training_run, "monotonic", lambda: next(clock))
    training_id, version = request(database)
    steps: list[int] = []
    trainer = StepTrainer(before_step=steps.append, checkpoint_every=100)
    assert not run(database, training_id, trainer, is_stopping=lambda: len(steps) >= 3)
    assert steps[-1] < trainer.n_steps
    assert read(database, version).status == "queued"


def test_a_stop_while_the_source_is_read_is_heard_before_training(database: Database) -> None:
    training_id, version = request(database)
    trainer = StepTrainer()
    assert not run(database, training_id, trainer, is_stopping=lambda: True)
    assert trainer.started_at is None
    assert read(database, version).status == "queued"


def test_stopping_never_uses_a_training_up(database: Database) -> None:
    training_id, version = request(database)
    for _ in range(5):
        assert not run(database, training_id, StepTrainer(), is_stopping=lambda: True)
    assert run(database, training_id, StepTrainer())
    assert read(database, version).attempts == 6


def test_a_killed_run_goes_on_at_its_checkpoint(database: Database) -> None:
    training_id, version = request(database)
    run_and_die(database, training_id, at=7)
    assert read(database, version).status == "running"
    trainer = StepTrainer()
    assert run(database, training_id, trainer)
    assert trainer.started_at == 4
    assert read(database, version).sha256 == hashlib.sha256(bytes([7, *range(1, 11)])).hexdigest()


def test_a_training_that_kills_its_process_is_given_up(database: Database) -> None:
    training_id, version = request(database)
    for _ in range(training_run.MAX_CRASHES):
        run_and_die(database, training_id, at=2)
        assert read(database, version).status == "running"
    trainer = StepTrainer()
    assert run(database, training_id, trainer)
    theta = read(database, version)
    assert trainer.started_at is None
    assert (theta.status, theta.attempts) == ("failed", 3)
    assert theta.error is not None
    assert "ended 3 times without a result" in theta.error


def test_a_training_that_gets_further_each_time_is_not_given_up(database: Database) -> None:
    training_id, version = request(database)
    for at in (2, 3, 5, 6, 9, 10):  # checkpoints after 4 and 8
        run_and_die(database, training_id, at=at)
    assert run(database, training_id, StepTrainer())
    assert read(database, version).status == "succeeded"


def test_a_fault_of_the_program_is_tried_again_and_named_without_its_message(database: Database) -> None:
    def train(*_: object, **__: object) -> TrainedTheta:
        raise ValueError("account 4711 has income 1234")

    training_id, version = request(database)
    for _ in range(training_run.MAX_CRASHES):
        with pytest.raises(ValueError, match="4711"):
            run(database, training_id, train)
        assert read(database, version).status == "running"
    assert run(database, training_id, train)
    theta = read(database, version)
    assert theta.status == "failed"
    assert theta.error is not None
    assert "ValueError" in theta.error
    assert "4711" not in theta.error


@pytest.mark.parametrize("takeover_at", [3, 4, 10], ids=["at a report", "at a checkpoint", "at the end"])
def test_a_late_run_does_not_overwrite_the_one_that_took_over(database: Database, takeover_at: int) -> None:
    training_id, version = request(database)

    def take_over(step: int) -> None:
        if step == takeover_at:
            assert run(database, training_id, StepTrainer(n_steps=12, checkpoint_every=100))

    late = StepTrainer(before_step=take_over, checkpoint_every=takeover_at)
    assert run(database, training_id, late)
    theta = read(database, version)
    assert (theta.status, theta.report, theta.attempts) == ("succeeded", {"steps": 12}, 2)
    with database.reading() as tx:
        assert tx.execute(text("SELECT count(*) FROM thetas")).scalar_one() == 1


def test_progress_is_written_about_twice_a_second(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(training_run, "monotonic", lambda: now)
    written: list[int] = []
    save = training_run.save_progress
    monkeypatch.setattr(training_run, "save_progress", lambda *a: (written.append(a[2]["step"]), save(*a))[1])

    def tick(step: int) -> None:
        nonlocal now
        now += 0.125

    training_id, _ = request(database)
    assert run(database, training_id, StepTrainer(n_steps=17, before_step=tick))
    assert written == [1, 5, 9, 13, 17]


# --- in service --------------------------------------------------------------------------------------------------


def test_the_first_theta_is_activated_where_its_request_asks_and_no_later_one(database: Database) -> None:
    for _ in range(2):
        training_id, _ = request(database, activate=True)
        assert run(database, training_id, StepTrainer())
    assert (read(database, 1).active, read(database, 2).active) == (True, False)
    with database.reading() as tx:
        product = find_product(tx, "cards")
        assert product is not None
        history = activations.list_activations(tx, product.id, None, after=0, limit=10)
    assert [(entry.version, entry.replaced_version) for entry in history] == [(1, None)]


def test_a_person_activates_and_goes_back(database: Database) -> None:
    for _ in range(2):
        assert run(database, request(database)[0], StepTrainer())
    for version in (1, 2, 2, 1):
        with database.writing() as tx:
            assert training.activate_theta(tx, "cards", version, activated_by="ann", note="why").active
    assert (read(database, 1).active, read(database, 2).active) == (True, False)
    with database.reading() as tx:
        product = find_product(tx, "cards")
        assert product is not None
        history = activations.list_activations(tx, product.id, None, after=0, limit=10)
    assert [(entry.version, entry.replaced_version) for entry in history] == [(1, None), (2, 1), (1, 2)]


def test_a_theta_that_is_not_learned_cannot_serve(database: Database) -> None:
    request(database)
    with pytest.raises(UntrainedTheta, match="is queued"), database.writing() as tx:
        training.activate_theta(tx, "cards", 1, activated_by="ann")
    with pytest.raises(UnknownTheta), database.writing() as tx:
        training.activate_theta(tx, "cards", 2, activated_by="ann")


# --- the queue ---------------------------------------------------------------------------------------------------


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
