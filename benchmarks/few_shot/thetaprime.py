"""Thetaprime itself, through the same door that the service uses: train, adapt, predict."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
from scipy.special import expit

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.engine.adapter import adapt, load_theta, posted_rows
from app.engine.contract import Adaptation, BaseRateBelief, FeatureColumns, ProgressEvent, Support, TrainedTheta
from app.engine.predictor import Predictor
from app.engine.training import train_theta
from benchmarks.few_shot.data import Rows, schema_of
from benchmarks.few_shot.design import CASE_CONTROL, RANDOM, Posted, logit
from benchmarks.few_shot.level import DECLARED_SD, intercept_at_rate
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets
from meta.adaptation import adapt_markets

THETA = "theta"
THETA_LEVEL = "theta + level"
THETA_DECLARED = "theta + declared rate"
THETA_PRIME = "theta_prime"
GUARDED = "theta_prime, guarded"
OURS = (THETA, THETA_LEVEL, THETA_DECLARED, THETA_PRIME, GUARDED)
TOLD_EVERY_S = 15.0
REACH = 1.645 * DECLARED_SD  # half the 90 % range of a declared rate, in logits


class Thetaprime:
    """theta, theta with the level alone moved, theta_prime, and theta_prime where its verdict lets it serve.

    Guarded means what a market with ``activation: automatic`` is served by: theta unless the verdict is `activate`.
    Declared rate: theta at rest, moved so that the accounts' mean PD is the declared rate; no label is looked at.
    """

    names: tuple[str, ...] = OURS
    n_draws = None

    def __init__(self, recipe: ThetaRecipe | None = None) -> None:
        self.recipe = recipe or ThetaRecipe()

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.schema = schema_of(source.rows.features)
        recipe = self.recipe.model_copy(update={"seed": source.design.seed})
        started = time.monotonic()
        trained = theta_of(source, recipe)
        self.theta = trained.artifact
        told = ("level_prior", "strength", "learner", "steps")
        learnt: dict[str, Any] = {key: trained.report[key] for key in told if key in trained.report}
        return {"seconds": round(time.monotonic() - started), "recipe": recipe.model_dump(mode="json"), **learnt}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts = columns_of(accounts)
        self.resting = Predictor(self.schema, self.theta)
        self.at_rest = self.resting.pd(self.accounts)
        self._met: tuple[bytes, FeatureColumns] = b"", {}

    def pds(self, posted: Posted, query: Positions) -> PDs:
        asked = self._columns_at(query)
        moved = self._adapt(posted, AdaptationRecipe())
        adapted = Predictor(self.schema, self.theta, moved.artifact)
        serving = adapted if moved.verdict == "activate" else self.resting
        self._serving = {THETA: self.resting, THETA_PRIME: adapted, GUARDED: serving}
        prime, at_rest = adapted.pd(asked), self.at_rest[query]
        found = {THETA: at_rest, THETA_LEVEL: expit(self._levelled(posted, at_rest))}
        found |= {THETA_PRIME: prime, GUARDED: prime if serving is adapted else at_rest}
        if posted.base_rate is not None:
            found[THETA_DECLARED] = self._at_rate(posted.base_rate)[query]
        return found

    def mean_pd_ranges(self, query: Positions) -> Mapping[str, tuple[float, float]]:
        """90 % range of the mean PD of the accounts ``query`` under what the last ``pds`` served."""
        asked = self._columns_at(query)
        found = {id(p): mean_pd_range(p, asked) for p in self._serving.values()}
        return {name: found[id(predictor)] for name, predictor in self._serving.items()}

    def _levelled(self, posted: Posted, at_rest: FloatArray) -> FloatArray:
        """Logits of accounts once the level alone has moved."""
        loaded = load_theta(self.theta.weights, self.theta.sha256, self.schema.sha256())
        rows = posted_rows(loaded, self._support(posted), _belief(posted.base_rate)).rows
        (level_only,) = adapt_markets(loaded, [rows], inner_steps=0)
        return np.log(at_rest) - np.log1p(-at_rest) + level_only.level - loaded.level_prior.mean

    def _at_rate(self, rate: float) -> FloatArray:
        logits = np.log(self.at_rest) - np.log1p(-self.at_rest)
        return expit(logits + intercept_at_rate(logits, rate))

    def _columns_at(self, place: Positions) -> FeatureColumns:
        """Columns of some accounts; those of a draw's query are asked for in every cell of it."""
        if self._met[0] != place.tobytes():
            self._met = place.tobytes(), _taken(self.accounts, place)
        return self._met[1]

    def _adapt(self, posted: Posted, recipe: AdaptationRecipe) -> Adaptation:
        belief = _belief(posted.base_rate)
        return adapt(self.schema, self.theta, self._support(posted), base_rate=belief, recipe=recipe)

    def _support(self, posted: Posted) -> Support:
        columns, labels = _taken(self.accounts, posted.support), [bool(label) for label in posted.y]
        return Support(columns, labels, RANDOM if posted.base_rate is None else CASE_CONTROL)


class OtherLearner(Thetaprime):
    """Another learner's own theta, adapted by that learner, guard off and on."""

    def __init__(self, learner: str, recipe: ThetaRecipe | None = None) -> None:
        super().__init__(recipe)
        self.learner = learner
        self.names = (f"learner: {learner}", f"learner: {learner}, guarded")

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.recipe = ThetaRecipe.model_validate(self.recipe.model_dump() | {"learner": self.learner})
        return super().learn(source)

    def pds(self, posted: Posted, query: Positions) -> PDs:
        moved = self._adapt(posted, AdaptationRecipe())
        pd = Predictor(self.schema, self.theta, moved.artifact).pd(self._columns_at(query))
        return dict(zip(self.names, (pd, pd if moved.verdict == "activate" else self.at_rest[query]), strict=True))

    def mean_pd_ranges(self, query: Positions) -> Mapping[str, tuple[float, float]]:
        return {}


def theta_of(source: SourceMarkets, recipe: ThetaRecipe, rows: Rows | None = None) -> TrainedTheta:
    """Train once a split what several methods start from; ``rows``: some of the source's, all by default."""
    kept = source.rows if rows is None else rows
    key = f"{recipe.model_dump_json()} {len(kept)}"
    if key not in source.shared:
        source.shared[key] = train_theta(schema_of(kept.features), as_source_data(kept), recipe, on_progress=_Teller())
    trained: TrainedTheta = source.shared[key]
    return trained


def mean_pd_range(predictor: Predictor, columns: FeatureColumns) -> tuple[float, float]:
    """Low and high end of the mean PD of some accounts; NaN where theta states none.

    Where only each account has a range, the mean of these: too wide, for accounts do not err all the same way.
    """
    find = getattr(predictor, "mean_pd_range", None) or getattr(predictor, "pd_range", None)
    low, high = (None, None) if find is None else find(columns)
    return (np.nan, np.nan) if low is None or high is None else (float(np.mean(low)), float(np.mean(high)))


def columns_of(features: pandas.DataFrame) -> FeatureColumns:
    """Feature columns as the service receives them: missing is None."""
    plain = features.astype(object).where(features.notna(), None)
    return {str(name): plain[name].tolist() for name in plain}


def _taken(columns: FeatureColumns, place: Positions) -> FeatureColumns:
    return {name: [values[i] for i in place] for name, values in columns.items()}


def _belief(rate: float | None) -> BaseRateBelief | None:
    if rate is None:
        return None
    low, high = (float(expit(logit(rate) + reach)) for reach in (-REACH, REACH))
    return BaseRateBelief(rate, low, high)


def as_source_data(rows: Rows) -> pandas.DataFrame:
    """Rows as the trainer takes them: an id, the market and the label beside the features."""
    return rows.features.assign(row_id=np.arange(len(rows)), market=rows.market, defaulted=rows.y == 1.0)


class _Teller:
    """Tells the progress of a training on the terminal, now and then."""

    def __init__(self) -> None:
        self.told_at = time.monotonic()

    def __call__(self, event: ProgressEvent) -> None:
        if time.monotonic() - self.told_at > TOLD_EVERY_S:
            self.told_at = time.monotonic()
            left = "" if event.eta_s is None else f", {event.eta_s:.0f} s to go"
            print(f"    {event.phase}: step {event.step} of {event.n_steps}{left}", file=sys.stderr, flush=True)
