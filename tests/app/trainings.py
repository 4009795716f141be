"""A product to train for, and a trainer that does as the engine does, small enough to reason about."""

import hashlib
from collections.abc import Callable

import pandas
import pytest
from sqlalchemy import text

from app.domain.products import OutcomeDefinition, ProductDraft
from app.domain.recipes import ThetaRecipe
from app.domain.schema import Feature, FeatureSchema
from app.domain.thetas import Theta
from app.engine.contract import Artifact, CheckpointStore, OnProgress, ProgressEvent, TrainedTheta
from app.services import training, training_run
from app.services.engine import TrainTheta
from app.store import source_rows, thetas
from app.store.database import Database
from app.store.products import find_product, insert_product
from app.store.source_rows import SourceRow

RECIPE = ThetaRecipe(seed=7)


def found_product(database: Database) -> None:
    """A product with two source rows, as different as a training needs them."""
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
        rows = [
            SourceRow(market, is_bad, None, None, {"income": float(is_bad)})
            for market, is_bad in (("ES", True), ("PT", False))
        ]
        source_rows.copy_source_rows(tx, product.id, rows)


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
