"""Source rows of mature markets -> a trained theta."""

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
    imputer = None if recipe.imputer == "none" else recipe.imputer
    table = SourceTable.from_frame(columns_of(schema), source, imputer, recipe.seed)
    training = MetaTraining(schema.sha256(), table, settings_of(recipe))
    theta, report = training.run(on_progress, checkpoints)
    weights = theta.pack()
    told = {"expected_gain_measured_on": MEASURED_ON, "torch": torch.__version__}
    return TrainedTheta(Artifact(weights, sha256(weights)), report | told)


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
