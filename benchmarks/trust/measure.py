"""One spread of the world: theta is trained on its source markets, then every promise is put to new markets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.domain.schema import Feature, FeatureSchema
from app.engine.adapter import adapt
from app.engine.contract import Adaptation, Artifact, BaseRateBelief, FeatureColumns, Support
from app.engine.predictor import Predictor
from app.engine.training import train_theta
from benchmarks.trust.world import (
    CENTER,
    NAMES,
    STRONGEST,
    TrueMarket,
    best_possible,
    draw_new_markets,
    draw_source,
)

FloatArray = NDArray[np.float64]
GOODS_PER_DEFAULT = 4
N_DEFAULTS = (5, 12, 25, 50)
N_RANDOM = (10, 50, 200)
CORRUPTED_AT = 12
N_ROWS = 4000  # of a new market; supports come from the first half, scores are judged on the second
SCHEMA = FeatureSchema(features=tuple(Feature(name=name, kind="numeric") for name in NAMES))
HARM = 0.002


@dataclass(frozen=True)
class Setting:
    """One run: the spread of coefficients, how many new markets and draws a cell, and the seed."""

    spread: float
    n_markets: int = 30
    n_draws: int = 4
    seed: int = 0


def measure(setting: Setting) -> tuple[pandas.DataFrame, pandas.DataFrame, pandas.DataFrame]:
    """Train and measure: a row a support (gain, coverage), one a judged support (verdict), one an account (reasons)."""
    torch.set_num_threads(1)
    recipe = ThetaRecipe(seed=setting.seed)
    source = draw_source(setting.spread, setting.seed)
    theta = train_theta(SCHEMA, source, recipe, on_progress=lambda event: None).artifact
    markets = draw_new_markets(setting.spread, setting.n_markets, N_ROWS, setting.seed)
    supports, verdicts, accounts = [], [], []
    for number, market in enumerate(markets):
        bench = _Bench(theta, market, setting, np.random.default_rng([setting.seed, 3, number]))
        supports += list(bench.supports())
        verdicts += list(bench.verdicts())
        accounts += list(bench.accounts())
    return pandas.DataFrame(supports), pandas.DataFrame(verdicts), pandas.DataFrame(accounts)


class _Bench:
    """One new market under test."""

    def __init__(self, theta: Artifact, market: TrueMarket, setting: Setting, rng: np.random.Generator) -> None:
        self.theta, self.market, self.setting, self.rng = theta, market, setting, rng
        self.features = market.features()
        self.pool, self.query = np.arange(N_ROWS // 2), np.arange(N_ROWS // 2, N_ROWS)
        self.rate = float(market.pd.mean())
        self.belief = BaseRateBelief(self.rate, self.rate, self.rate)
        self.asked = _columns(self.features.iloc[self.query])
        self.rest = Predictor(SCHEMA, theta).score(self.asked)

    def supports(self) -> Iterator[dict[str, Any]]:
        """Gain and coverage of supports drawn by label and at random, and of theta at rest."""
        yield self._row("random", 0, self.rest.pd, self.rest, {})
        for draw in range(self.setting.n_draws):
            for n_defaults in N_DEFAULTS:
                chosen = self._by_label(n_defaults)
                yield self._by_label_row(n_defaults, chosen) | {"draw": draw}
            for n in N_RANDOM:
                chosen = self.rng.choice(self.pool, n, replace=False)
                yield self._at_random_row(n, chosen) | {"draw": draw}

    def _by_label_row(self, n_defaults: int, chosen: NDArray[np.int64]) -> dict[str, Any]:
        moved, level = (self._adapt(chosen, "case_control", steps) for steps in (None, 0))
        correction = float(logit(1 / (1 + GOODS_PER_DEFAULT)) - logit(self.rate))
        best, start = best_possible(self.market, chosen, self.setting.spread, self.rate, correction)
        yardstick = {"best": self._loss(expit(best[self.query])), "best_start": self._loss(expit(start[self.query]))}
        return self._row(
            "case_control",
            n_defaults,
            self._pd(level),
            Predictor(SCHEMA, self.theta, moved.artifact).score(self.asked),
            yardstick,
        )

    def _at_random_row(self, n: int, chosen: NDArray[np.int64]) -> dict[str, Any]:
        moved, level = (self._adapt(chosen, "random", steps) for steps in (None, 0))
        return self._row(
            "random", n, self._pd(level), Predictor(SCHEMA, self.theta, moved.artifact).score(self.asked), {}
        )

    def _row(self, design: str, size: int, level: FloatArray, scored: Any, more: dict[str, float]) -> dict[str, Any]:
        true = self.market.pd[self.query]
        return {
            "market": self.market.name,
            "design": design,
            "size": size,
            "theta": self._loss(self.rest.pd),
            "level": self._loss(level),
            "theta_prime": self._loss(scored.pd),
            "truth": self._loss(true),
            "covered": float(((scored.pd_low <= true) & (true <= scored.pd_high)).mean()),
            "width": float((logit(scored.pd_high) - logit(scored.pd_low)).mean()),
            **more,
        }

    def verdicts(self) -> Iterator[dict[str, Any]]:
        """The guard on honest supports of every size and on corrupted ones of CORRUPTED_AT defaults."""
        for _ in range(self.setting.n_draws):
            for n_defaults in N_DEFAULTS:
                chosen = self._by_label(n_defaults)
                yield self._judged("honest", n_defaults, self.features.iloc[chosen], self.market.y[chosen])
            chosen = self._by_label(CORRUPTED_AT)
            for name, features, y in self._corrupted(self.features.iloc[chosen], self.market.y[chosen]):
                yield self._judged(name, CORRUPTED_AT, features, y)

    def _corrupted(self, honest: pandas.DataFrame, y: FloatArray) -> Iterator[tuple[str, pandas.DataFrame, FloatArray]]:
        turned = 2 * CENTER[NAMES.index(STRONGEST)] - honest[STRONGEST]
        yield "strongest column's sign flipped", honest.assign(**{STRONGEST: turned}), y
        for factor in (12.0, 100.0, 1 / 12, 1 / 100):
            column = NAMES[int(self.rng.integers(len(NAMES)))]
            yield f"a unit wrong by {factor:.3g}", honest.assign(**{column: honest[column] * factor}), y
        yield "labels shuffled", honest, self.rng.permutation(y)

    def _judged(self, name: str, n_defaults: int, features: pandas.DataFrame, y: FloatArray) -> dict[str, Any]:
        support = Support(_columns(features), [bool(label) for label in y], "case_control")
        found = adapt(SCHEMA, self.theta, support, base_rate=self.belief, recipe=AdaptationRecipe())
        checks = {f["check"] for f in found.report["findings"] if f["severity"] != "note"}
        return {
            "market": self.market.name,
            "support": name,
            "n_defaults": n_defaults,
            "verdict": found.verdict,
            "checks": " ".join(sorted(checks)),
        }

    def accounts(self, n_accounts: int = 40, n_random: int = 20) -> Iterator[dict[str, Any]]:
        """Reasons of accounts of the market, under a theta_prime of its own: do they say what lowers the PD?"""
        moved = self._adapt(self._by_label(25), "case_control", None)
        predictor = Predictor(SCHEMA, self.theta, moved.artifact)
        chosen = self.features.iloc[self.query[:n_accounts]]
        asked = _columns(chosen)
        pd, explained, again = predictor.pd(asked), predictor.explain(asked), predictor.explain(asked)
        for row in range(n_accounts):
            account = {name: values[row] for name, values in asked.items()}
            named = [reason.feature for reason in explained[row].reasons]
            trials = [self.rng.choice(NAMES, len(named), replace=False) for _ in range(n_random)]
            lowered = _pds_with_reference(predictor, account, [named[:1], named, *trials])
            total = explained[row].base + sum(explained[row].contributions.values())
            yield {
                "market": self.market.name,
                "n_reasons": len(named),
                "gap": abs(total - float(logit(pd[row]))),
                "same_again": explained[row] == again[row],
                "top_lowers": bool(named) and lowered[0] < pd[row],
                "beats_random": float(np.mean([lowered[1] <= other + 1e-12 for other in lowered[2:]])),
            }

    def _by_label(self, n_defaults: int) -> NDArray[np.int64]:
        """Defaulters and four goods each from the first half; all its defaulters, where there are fewer."""
        bad = self.rng.permutation(self.pool[self.market.y[self.pool] == 1])[:n_defaults]
        good = self.rng.permutation(self.pool[self.market.y[self.pool] == 0])
        return np.concatenate([bad, good[: GOODS_PER_DEFAULT * len(bad)]])

    def _adapt(self, chosen: NDArray[np.int64], design: Any, inner_steps: int | None) -> Adaptation:
        support = Support(
            _columns(self.features.iloc[chosen]), [bool(label) for label in self.market.y[chosen]], design
        )
        belief = self.belief if design == "case_control" else None
        recipe = AdaptationRecipe(inner_steps=inner_steps)
        return adapt(SCHEMA, self.theta, support, base_rate=belief, recipe=recipe)

    def _pd(self, adapted: Adaptation) -> FloatArray:
        return Predictor(SCHEMA, self.theta, adapted.artifact).pd(self.asked)

    def _loss(self, pd: FloatArray) -> float:
        """Expected log loss over the query accounts, under their true PDs: no noise of labels."""
        true = self.market.pd[self.query]
        return float(-(true * np.log(pd) + (1 - true) * np.log1p(-pd)).mean())


def _pds_with_reference(predictor: Predictor, account: dict[str, Any], replaced: list[Any]) -> FloatArray:
    """PDs of an account once some of its features are set to the reference account's, a set each."""
    typical = predictor.reference
    columns = {
        name: [typical[name] if name in set(names) else value for names in replaced] for name, value in account.items()
    }
    return predictor.pd(columns)


def _columns(features: pandas.DataFrame) -> FeatureColumns:
    return {name: features[name].tolist() for name in features}
