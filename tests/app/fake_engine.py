"""An engine small enough to reason about, for tests of everything around the engine.

Its theta is a level; its theta_prime moves the level to the support's default rate, the declared rate as a prior.
Seeds choose the verdict, so that a test can have each: 13 refuses, 7 holds, any other activates.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

from app.engine.contract import Adaptation, Artifact, CorruptArtifact, ProgressEvent, TrainedTheta
from app.services.engine import Engine

VERDICTS = {13: "refuse", 7: "hold"}


def artifact(content: dict[str, Any]) -> Artifact:
    weights = json.dumps(content, sort_keys=True).encode()
    return Artifact(weights, hashlib.sha256(weights).hexdigest())


def read(found: Artifact) -> dict[str, Any]:
    if hashlib.sha256(found.weights).hexdigest() != found.sha256:
        raise CorruptArtifact("the weights do not have the hash that they were stored with")
    return json.loads(found.weights)


def make_theta(level: float = -2.0, reference: tuple[int, ...] = ()) -> Artifact:
    return artifact({"level": level, "reference": reference})


def train_theta(schema, source, recipe, *, on_progress, checkpoints) -> TrainedTheta:
    on_progress(ProgressEvent("pooled", 1, 1, 0.5, 0.5, 0.1, 0.0))
    rate = float(source["defaulted"].mean())
    level = math.log(rate / (1 - rate))
    return TrainedTheta(
        artifact({"level": level, "reference": source["row_id"].tolist()[:50]}), {"n_rows": len(source)}
    )


def adapt(schema, theta, support, *, base_rate, recipe, reference) -> Adaptation:
    labels = [*support.defaulted, *([] if reference is None else reference.defaulted)]
    prior = 0.1 if base_rate is None else base_rate.value
    rate = (sum(labels) + 10 * prior) / (len(labels) + 10)
    verdict = VERDICTS.get(recipe.seed, "activate")
    report = {
        "n_support": len(support.defaulted),
        "n_reference": 0 if reference is None else len(reference.defaulted),
        "theta_level": read(theta)["level"],
        "base_rate": None if base_rate is None else base_rate.value,
    }
    columns = {name: list(values) for name, values in support.columns.items()}
    content = {"level": math.log(rate / (1 - rate)), "columns": columns}
    return Adaptation(artifact(content), verdict, [f"seed {recipe.seed} says {verdict}"], report)


def reference_row_ids(theta: Artifact) -> list[int]:
    return read(theta)["reference"]


class Predictor:
    def __init__(self, schema, theta, theta_prime) -> None:
        self.schema = schema
        self.level = read(theta)["level"]
        if theta_prime is not None:
            self.level = read(theta_prime)["level"]

    def pd(self, columns) -> np.ndarray:
        numeric = [f.name for f in self.schema.features if f.kind == "numeric"]
        n_rows = len(next(iter(columns.values())))
        logits = [
            self.level + sum(math.tanh((columns[name][row] or 0.0) / 1e4) for name in numeric) for row in range(n_rows)
        ]
        return np.array([1 / (1 + math.exp(-logit)) for logit in logits])

    def unseen(self, columns) -> list[list[str]]:
        known = {f.name: f.categories for f in self.schema.features if f.categories is not None}
        n_rows = len(next(iter(columns.values())))
        return [[name for name in known if columns[name][row] not in (None, *known[name])] for row in range(n_rows)]


FAKE_ENGINE = Engine(
    train_theta=train_theta, adapt=adapt, reference_row_ids=reference_row_ids, load_predictor=Predictor
)
