"""The contestants of a world; a new one is a line here."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scipy.special import logit

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.engine.adapter import adapt
from app.engine.contract import Support
from app.engine.predictor import Predictor
from benchmarks.few_shot.data import Rows, schema_of
from benchmarks.few_shot.thetaprime import columns_of
from benchmarks.open_question.fitted import Contestant, Fitted
from benchmarks.open_question.networks import Network
from benchmarks.open_question.starts import OUTER_STEPS, Learned, learn, starts_of
from benchmarks.open_question.trees import Trees, TreesWithSource

SCRATCH = "network, from scratch"
POOLED = "network, from pooled rows"
META = "network, from MAML"
TREES = "trees"
TREES_WITH_SOURCE = "trees, source rows added"
THETA_PRIME = "theta_prime"
USUAL, MADE_FOR_STEPS = ThetaRecipe(), ThetaRecipe(learner="maml", outer_steps=OUTER_STEPS)
METHODS = (SCRATCH, POOLED, META, TREES, TREES_WITH_SOURCE, THETA_PRIME)


@dataclass(frozen=True)
class Method:
    """A contestant, the processor seconds of what it shares with every target of the world, and its meta-batches."""

    contestant: Contestant
    shared_seconds: float = 0.0
    outer_steps: int = 0


@dataclass(frozen=True)
class ThetaPrime:
    """The service's own adaptation under the default recipe, the guard left aside: nothing is chosen or fine-tuned."""

    learned: Learned

    def choices(self) -> tuple[None]:
        return (None,)

    def watch(self, rows: Rows, choice: None, seed: int) -> float:
        return 0.0

    def fit(self, rows: Rows, choice: None, seed: int) -> Fitted:
        started = time.process_time()
        schema, theta = schema_of(rows.features), self.learned.artifact
        support = Support(columns_of(rows.features), [bool(label) for label in rows.y], "random")
        adapted = adapt(schema, theta, support, base_rate=None, recipe=AdaptationRecipe(seed=seed))
        predictor = Predictor(schema, theta, adapted.artifact)
        seconds = time.process_time() - started
        return Fitted(lambda features: logit(predictor.pd(columns_of(features))), seconds, 0)


@dataclass(frozen=True)
class Recipes:
    """How thetas are trained: the usual one, which serves theta_prime, and the one that is made for gradient steps."""

    usual: ThetaRecipe = USUAL
    maml: ThetaRecipe = MADE_FOR_STEPS


def methods_of(source: Rows, folder: Path, seed: int, recipes: Recipes) -> Mapping[str, Method]:
    """Every method by name; thetas are trained, or read from ``folder`` where they are there."""
    maml = learn(source, recipes.maml.model_copy(update={"seed": seed}), folder / "maml.theta")
    usual = learn(source, recipes.usual.model_copy(update={"seed": seed}), folder / "map_bayes.theta")
    pooled, meta = starts_of(maml, source)
    started = time.process_time()
    with_source = TreesWithSource(source, seed)
    return {
        SCRATCH: Method(Network()),
        POOLED: Method(Network(pooled), pooled.seconds),
        META: Method(Network(meta), meta.seconds, maml.outer_steps),
        TREES: Method(Trees()),
        TREES_WITH_SOURCE: Method(with_source, time.process_time() - started),
        THETA_PRIME: Method(ThetaPrime(usual), usual.seconds),
    }
