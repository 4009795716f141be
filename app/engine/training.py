"""Source rows of mature markets -> a trained theta."""

from collections.abc import Sequence

import pandas
import torch

from app.domain.recipes import ThetaRecipe
from app.domain.schema import FeatureSchema
from app.domain.theta_primes import MEASURED_ON
from app.engine.columns import columns_of
from app.engine.contract import Artifact, CheckpointStore, OnProgress, TrainedTheta
from meta.checkpoint import sha256
from meta.learners import usual_of
from meta.meta_training import MetaTraining
from meta.source import SourceTable
from meta.thetas import LearnerSettings
from meta.training_settings import TrainingSettings
from meta.types import Column

MANY_GAPS = 0.1  # share of the source's values from which on filling pays for its fit (docs/results/imputation.md)


def train_theta(
    schema: FeatureSchema,
    source: pandas.DataFrame,
    recipe: ThetaRecipe,
    *,
    on_progress: OnProgress,
    checkpoints: CheckpointStore | None = None,
) -> TrainedTheta:
    """Learn a theta; equal rows, recipe and seed give equal bytes, interrupted or not.

    source: columns ``row_id`` (int), ``market`` (str), ``defaulted`` (bool) and one per feature, None or NaN = missing.
    Raises:  InvalidEpisode, InvalidColumns, InvalidRecipe: the rows or settings cannot teach; TrainingDiverged.
    """
    columns = columns_of(schema)
    table = SourceTable.from_frame(columns, source, imputer_of(recipe, columns, source), recipe.seed)
    training = MetaTraining(schema.sha256(), table, settings_of(recipe))
    theta, report = training.run(on_progress, checkpoints)
    weights = theta.pack()
    told = {"expected_gain_measured_on": MEASURED_ON, "torch": torch.__version__}
    return TrainedTheta(Artifact(weights, sha256(weights)), report | told)


def imputer_of(recipe: ThetaRecipe, columns: Sequence[Column], source: pandas.DataFrame) -> str | None:
    """Name the imputer that a theta of these source rows gets; None where missing is a state of its own."""
    if recipe.imputer != "auto":
        return None if recipe.imputer == "none" else recipe.imputer
    gaps = source[[column.name for column in columns]].isna().to_numpy()
    return "conditional" if gaps.size and gaps.mean() >= MANY_GAPS else None


def settings_of(recipe: ThetaRecipe) -> TrainingSettings:
    """Translate a recipe of the API into settings of ``meta``; what it leaves open is as usual for its learner."""
    usual = usual_of(recipe.learner)
    learner = LearnerSettings(
        recipe.learner,
        usual.inner_lr if recipe.inner_lr is None else recipe.inner_lr,
        usual.inner_steps if recipe.inner_steps is None else recipe.inner_steps,
        recipe.n_members,
        (recipe.width, recipe.width),
        tuple(sorted(recipe.learner_options.items())),
    )
    return TrainingSettings(
        learner,
        seed=recipe.seed,
        pooled_steps=recipe.pooled_steps,
        pooled_lr=recipe.pooled_lr,
        teacher_share=recipe.teacher_share,
        outer_steps=usual.outer_steps if recipe.outer_steps is None else recipe.outer_steps,
        outer_lr=usual.outer_lr if recipe.outer_lr is None else recipe.outer_lr,
        meta_batch=recipe.meta_batch,
        n_folds=recipe.n_folds,
        device=recipe.device,
        compile=recipe.compile,
    )
