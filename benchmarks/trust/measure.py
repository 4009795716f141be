"""One spread of the world: theta is trained on its source markets, then every promise is put to new markets."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.domain.schema import Feature, FeatureSchema
from app.engine.adapter import adapt, reference_row_ids
from app.engine.contract import Adaptation, Artifact, BaseRateBelief, Support
from app.engine.predictor import Predictor
from app.engine.training import train_theta
from benchmarks.few_shot.thetaprime import columns_of
from benchmarks.trust.corruption import Corruption
from benchmarks.trust.guarded import GOODS_PER_DEFAULT, N_DEFAULTS, GuardedMarket, reference_support
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
N_RANDOM = (10, 50, 200)
N_ROWS = 4000  # of a new market; supports come from the first half, scores are judged on the second
SCHEMA = FeatureSchema(features=tuple(Feature(name=name, kind="numeric") for name in NAMES))
CORRUPTION = Corruption(STRONGEST, float(CENTER[NAMES.index(STRONGEST)]), NAMES)
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
    reference = reference_support(source, list(NAMES), reference_row_ids(theta))
    markets = draw_new_markets(setting.spread, setting.n_markets, N_ROWS, setting.seed)
    supports, verdicts, accounts = [], [], []
    for number, market in enumerate(markets):
        bench = _Bench(theta, market, reference, setting, np.random.default_rng([setting.seed, 3, number]))
        supports += list(bench.supports())
        verdicts += list(bench.verdicts())
        accounts += list(bench.accounts())
    return pandas.DataFrame(supports), pandas.DataFrame(verdicts), pandas.DataFrame(accounts)


class _Bench:
    """One new market under test."""

    def __init__(
        self, theta: Artifact, market: TrueMarket, reference: Support, setting: Setting, rng: np.random.Generator
    ) -> None:
        self.theta, self.market, self.reference, self.setting, self.rng = theta, market, reference, setting, rng
        self.features = market.features()
        self.pool, self.query = np.arange(N_ROWS // 2), np.arange(N_ROWS // 2, N_ROWS)
        self.rate = float(market.pd.mean())
        self.belief = BaseRateBelief(self.rate, self.rate, self.rate)
        self.asked = columns_of(self.features.iloc[self.query])
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
        """The guard on honest supports and on corrupted ones, drawn from the first half."""
        market = GuardedMarket(
            SCHEMA,
            self.theta,
            self.market.name,
            self.features.iloc[self.pool],
            self.market.y[self.pool],
            self.rate,
            CORRUPTION,
            self.reference,
        )
        return market.verdicts(self.setting.n_draws, self.rng)

    def accounts(self, n_accounts: int = 40) -> Iterator[dict[str, Any]]:
        """Reasons of accounts of the market, under a theta_prime of its own: do they say what lowers the PD?

        beaten: of all sets of as many features, the share whose replacement lowers the PD no more than theirs does.
        """
        moved = self._adapt(self._by_label(25), "case_control", None)
        predictor = Predictor(SCHEMA, self.theta, moved.artifact)
        chosen = self.features.iloc[self.query[:n_accounts]]
        asked = columns_of(chosen)
        pd, explained, again = predictor.pd(asked), predictor.explain(asked), predictor.explain(asked)
        for row in range(n_accounts):
            account = {name: values[row] for name, values in asked.items()}
            named = [reason.feature for reason in explained[row].reasons]
            others = [chosen for chosen in combinations(NAMES, len(named)) if set(chosen) != set(named)]
            lowered = _pds_with_reference(predictor, account, [named[:1], named, *others])
            total = explained[row].base + sum(explained[row].contributions.values())
            yield {
                "market": self.market.name,
                "n_reasons": len(named),
                "gap": abs(total - float(logit(pd[row]))),
                "same_again": explained[row] == again[row],
                "top_lowers": bool(named) and lowered[0] < pd[row],
                "beaten": float(np.mean(lowered[1] <= lowered[2:] + 1e-12)) if others else 1.0,
            }

    def _by_label(self, n_defaults: int) -> NDArray[np.int64]:
        """Defaulters and four goods each from the first half; all its defaulters, where there are fewer."""
        bad = self.rng.permutation(self.pool[self.market.y[self.pool] == 1])[:n_defaults]
        good = self.rng.permutation(self.pool[self.market.y[self.pool] == 0])
        return np.concatenate([bad, good[: GOODS_PER_DEFAULT * len(bad)]])

    def _adapt(self, chosen: NDArray[np.int64], design: Any, inner_steps: int | None) -> Adaptation:
        support = Support(
            columns_of(self.features.iloc[chosen]), [bool(label) for label in self.market.y[chosen]], design
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
