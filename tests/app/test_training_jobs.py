"""Meta-training as a durable job, against a real PostgreSQL; what a kill does to real processes is in tests/e2e."""

import hashlib

import pytest
from sqlalchemy import text

from app.engine.contract import InvalidEpisode, TrainedTheta
from app.errors import UnknownProduct, UnknownTheta, UntrainedTheta
from app.services import training, training_run
from app.store import activations
from app.store.database import Database
from app.store.products import find_product
from tests.app.trainings import RECIPE, StepTrainer, found_product, jobs, read, request, run, run_and_die


@pytest.fixture
def database(database: Database) -> Database:
    found_product(database)
    return database


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
