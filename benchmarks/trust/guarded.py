"""The guard under test: a verdict for every honest and every corrupted support of one new market."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from app.domain.recipes import AdaptationRecipe
from app.domain.schema import FeatureSchema
from app.engine.adapter import adapt
from app.engine.contract import Artifact, BaseRateBelief, Support
from benchmarks.few_shot.thetaprime import columns_of
from benchmarks.trust.corruption import Corruption, wrong_unit

FloatArray = NDArray[np.float64]
GOODS_PER_DEFAULT = 4
N_DEFAULTS = (5, 12, 25, 50)
CORRUPTED_AT = 12
HONEST, ALONE = "honest", "defaulters alone"
ALONE_FACTORS = (12.0, 1 / 12)


@dataclass(frozen=True)
class GuardedMarket:
    """A new market whose supports are judged by theta's guard.

    features, y (n_rows,): its accounts; rate: what it declares; reference: goods of source markets that complete a
    support of defaulters alone.
    """

    schema: FeatureSchema
    theta: Artifact
    name: str
    features: pandas.DataFrame
    y: FloatArray
    rate: float
    corruption: Corruption
    reference: Support

    def verdicts(self, n_draws: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Honest supports of every size that the market has the rows for, corrupted ones of CORRUPTED_AT defaults."""
        for _ in range(n_draws):
            bad = rng.permutation(np.flatnonzero(self.y == 1))
            good = rng.permutation(np.flatnonzero(self.y == 0))
            for n in N_DEFAULTS:
                if len(bad) >= n and len(good) >= GOODS_PER_DEFAULT * n:
                    yield self._judged(HONEST, n, *self._at(np.concatenate([bad[:n], good[: GOODS_PER_DEFAULT * n]])))
            if len(bad) >= CORRUPTED_AT and len(good) >= GOODS_PER_DEFAULT * CORRUPTED_AT:
                both = np.concatenate([bad[:CORRUPTED_AT], good[: GOODS_PER_DEFAULT * CORRUPTED_AT]])
                for name, features, y in self.corruption.of(*self._at(both), rng):
                    yield self._judged(name, CORRUPTED_AT, features, y)
                yield from self._of_defaulters_alone(bad[:CORRUPTED_AT], rng)

    def _of_defaulters_alone(self, bad: NDArray[np.int64], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        features, y = self._at(bad)
        yield self._judged(f"{HONEST}, {ALONE}", CORRUPTED_AT, features, y)
        for factor in ALONE_FACTORS:
            wrong = self.corruption.in_another_unit(features, factor, rng)
            yield self._judged(f"{wrong_unit(factor)}, {ALONE}", CORRUPTED_AT, wrong, y)

    def _at(self, rows: NDArray[np.int64]) -> tuple[pandas.DataFrame, FloatArray]:
        return self.features.iloc[rows], self.y[rows]

    def _judged(self, name: str, n_defaults: int, features: pandas.DataFrame, y: FloatArray) -> dict[str, Any]:
        support = Support(columns_of(features), [bool(label) for label in y], "case_control")
        found = adapt(
            self.schema,
            self.theta,
            support,
            base_rate=BaseRateBelief(self.rate, self.rate, self.rate),
            recipe=AdaptationRecipe(),
            reference=self.reference,
        )
        checks = {f["check"] for f in found.report["findings"] if f["severity"] != "note"}
        return {
            "market": self.name,
            "support": name,
            "n_defaults": n_defaults,
            "verdict": found.verdict,
            "checks": " ".join(sorted(checks)),
        }


def reference_support(source: pandas.DataFrame, features: list[str], row_ids: list[int]) -> Support:
    """Goods of source markets, as theta names them; ``source`` has columns row_id and the features."""
    rows = source.set_index("row_id").loc[row_ids]
    return Support(columns_of(rows[features]), [False] * len(rows), "case_control")
