"""An engine small enough to reason about, for tests of everything around the engine.

Its theta is a level; its theta_prime moves the level to the support's default rate, the declared rate as a prior.
Features add up: a number x adds tanh(x / 10,000) to the logit, a known category a quarter for its place in the list, an
unseen one a half, a missing value an eighth; so the reference account has zeros and first categories. An interval
reaches a logit to each side by theta, half of one by theta_prime.
Seeds choose the verdict, so that a test can have each: 13 refuses, 7 holds, any other activates.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

from app.engine.contract import (
    Adaptation,
    Artifact,
    CorruptArtifact,
    Explanation,
    PdColumns,
    ProgressEvent,
    Reason,
    RowInfluence,
    Support,
    TrainedTheta,
)
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


def influence(schema, theta, support, *, base_rate, recipe, reference) -> list[RowInfluence]:
    """What each row did to the level, by leaving it out; as to the ranking, its utilisation stands for the answer."""

    def level_of(rows: list[int]) -> float:
        columns = {name: [values[row] for row in rows] for name, values in support.columns.items()}
        part = Support(columns, [support.defaulted[row] for row in rows], support.design)
        adapted = adapt(schema, theta, part, base_rate=base_rate, recipe=recipe, reference=reference)
        return read(adapted.artifact)["level"]

    everyone = list(range(len(support.defaulted)))
    moves = [level_of(everyone) - level_of([other for other in everyone if other != row]) for row in everyone]
    utilisation = support.columns.get("utilisation", [0.0] * len(everyone))
    return [RowInfluence(move, used or 0.0, -abs(move)) for move, used in zip(moves, utilisation, strict=True)]


def contribution(feature, value) -> tuple[str, float]:
    """The reason's code and what the value adds to the logit."""
    if value is None:
        return f"{feature.name}.not_provided", 0.125
    if feature.kind == "numeric":
        return f"{feature.name}.{'above' if value > 0 else 'below'}_reference", math.tanh(value / 1e4)
    known = feature.categories or ()
    if value not in known:
        return f"{feature.name}.unseen_category", 0.5
    return f"{feature.name}.category", 0.25 * known.index(value)


class Predictor:
    def __init__(self, schema, theta, theta_prime) -> None:
        self.schema = schema
        self.level, self.reach = read(theta)["level"], 1.0
        if theta_prime is not None:
            self.level, self.reach = read(theta_prime)["level"], 0.5

    def pd(self, columns) -> np.ndarray:
        return self.score(columns).pd

    def score(self, columns) -> PdColumns:
        logits = [explained.base + sum(explained.contributions.values()) for explained in self.explain(columns)]
        low, middle, high = (
            np.array([1 / (1 + math.exp(-(logit + by))) for logit in logits]) for by in (-self.reach, 0, self.reach)
        )
        return PdColumns(middle, low, high)

    def explain(self, columns) -> list[Explanation]:
        n_rows = len(next(iter(columns.values())))
        return [self._explain({name: columns[name][row] for name in self.schema.names}) for row in range(n_rows)]

    def _explain(self, features) -> Explanation:
        found = {feature.name: contribution(feature, features[feature.name]) for feature in self.schema.features}
        reasons = [Reason(code, name, added) for name, (code, added) in found.items() if added > 0]
        reasons.sort(key=lambda reason: -reason.contribution)
        return Explanation(self.level, {name: added for name, (_, added) in found.items()}, reasons[:4])

    def filled(self, columns) -> list[list[str]]:
        return [[] for _ in next(iter(columns.values()))]

    def unseen(self, columns) -> list[list[str]]:
        known = {f.name: f.categories for f in self.schema.features if f.categories is not None}
        n_rows = len(next(iter(columns.values())))
        return [[name for name in known if columns[name][row] not in (None, *known[name])] for row in range(n_rows)]


FAKE_ENGINE = Engine(
    train_theta=train_theta,
    adapt=adapt,
    reference_row_ids=reference_row_ids,
    load_predictor=Predictor,
    influence=influence,
)
