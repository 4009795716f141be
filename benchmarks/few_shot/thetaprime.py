"""Thetaprime itself, through the same door that the service uses: train, adapt, predict."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.engine.adapter import adapt
from app.engine.contract import Adaptation, Artifact, FeatureColumns, ProgressEvent, Support
from app.engine.predictor import Predictor
from app.engine.training import train_theta
from benchmarks.few_shot.data import Rows, schema_of
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets

THETA = "theta"
THETA_LEVEL = "theta + level"
THETA_PRIME = "theta_prime"
GUARDED = "theta_prime, guarded"
TOLD_EVERY_S = 15.0


class Thetaprime:
    """theta, theta with the level alone moved, theta_prime, and theta_prime where its verdict lets it serve.

    Guarded means what a market with ``activation: automatic`` is served by: theta unless the verdict is `activate`.
    """

    names = (THETA, THETA_LEVEL, THETA_PRIME, GUARDED)
    n_draws = None

    def __init__(self, recipe: ThetaRecipe | None = None) -> None:
        self.recipe = recipe or ThetaRecipe()

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.schema = schema_of(source.rows.features)
        recipe = self.recipe.model_copy(update={"seed": source.design.seed})
        started = time.monotonic()
        trained = train_theta(self.schema, _as_source_data(source.rows), recipe, on_progress=_Teller())
        self.theta = trained.artifact
        learnt: dict[str, Any] = {
            key: trained.report[key] for key in ("level_prior", "strength") if key in trained.report
        }
        return {"seconds": round(time.monotonic() - started), "recipe": recipe.model_dump(mode="json"), **learnt}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts = columns_of(accounts)
        self.at_rest = self._pd(None)

    def pds(self, support: Positions, y: FloatArray, query: Positions) -> PDs:
        posted = {name: [values[i] for i in support] for name, values in self.accounts.items()}
        moved = self._adapt(posted, y, AdaptationRecipe())
        prime, at_rest = self._pd(moved.artifact)[query], self.at_rest[query]
        level = self._pd(self._adapt(posted, y, AdaptationRecipe(inner_steps=0)).artifact)[query]
        served = prime if moved.verdict == "activate" else at_rest
        return dict(zip(self.names, (at_rest, level, prime, served), strict=True))

    def _adapt(self, posted: FeatureColumns, y: FloatArray, recipe: AdaptationRecipe) -> Adaptation:
        support = Support(posted, [bool(label) for label in y], "random")
        return adapt(self.schema, self.theta, support, base_rate=None, recipe=recipe)

    def _pd(self, theta_prime: Artifact | None) -> FloatArray:
        return Predictor(self.schema, self.theta, theta_prime).pd(self.accounts)


def columns_of(features: pandas.DataFrame) -> FeatureColumns:
    """Feature columns as the service receives them: missing is None."""
    plain = features.astype(object).where(features.notna(), None)
    return {str(name): plain[name].tolist() for name in plain}


def _as_source_data(rows: Rows) -> pandas.DataFrame:
    return rows.features.assign(row_id=np.arange(len(rows)), market=rows.market, defaulted=rows.y == 1.0)


class _Teller:
    """Tells the progress of a training on the terminal, now and then."""

    def __init__(self) -> None:
        self.told_at = 0.0

    def __call__(self, event: ProgressEvent) -> None:
        if time.monotonic() - self.told_at > TOLD_EVERY_S:
            self.told_at = time.monotonic()
            left = "" if event.eta_s is None else f", {event.eta_s:.0f} s to go"
            print(f"    {event.phase}: step {event.step} of {event.n_steps}{left}", file=sys.stderr, flush=True)
