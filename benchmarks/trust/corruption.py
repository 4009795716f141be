"""Supports as they should not be: a column turned round, a unit wrong, labels shuffled."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

FloatArray = NDArray[np.float64]
FACTORS = (12.0, 100.0, 1 / 12, 1 / 100)
MIN_NONZERO = 0.5  # share of a column's values that a wrong unit must change
FLIPPED, SHUFFLED = "strongest column's sign flipped", "labels shuffled"


@dataclass(frozen=True)
class Corruption:
    """What may be made wrong: the strongest numeric column, turned round its center, and the columns with a unit."""

    strongest: str
    center: float
    with_unit: Sequence[str]

    def of(
        self, honest: pandas.DataFrame, y: FloatArray, rng: np.random.Generator
    ) -> Iterator[tuple[str, pandas.DataFrame, FloatArray]]:
        """Give name, features and labels (n_rows,) of each corrupted version of a support."""
        yield FLIPPED, honest.assign(**{self.strongest: 2 * self.center - honest[self.strongest]}), y
        for factor in FACTORS:
            yield wrong_unit(factor), self.in_another_unit(honest, factor, rng), y
        yield SHUFFLED, honest, rng.permutation(y)

    def in_another_unit(self, honest: pandas.DataFrame, factor: float, rng: np.random.Generator) -> pandas.DataFrame:
        """Multiply a column drawn at random among those that would change; as it is, if none would."""
        changing = [name for name in self.with_unit if honest[name].fillna(0.0).ne(0.0).mean() >= MIN_NONZERO]
        if not changing:
            return honest
        column = changing[int(rng.integers(len(changing)))]
        return honest.assign(**{column: honest[column] * factor})


def wrong_unit(factor: float) -> str:
    return f"a unit wrong by {factor:.3g}"


def strongest_column(features: pandas.DataFrame, y: FloatArray, names: Sequence[str]) -> str:
    """The numeric column that ranks defaults best by itself, either way; gaps rank as its median."""
    return max(names, key=lambda name: abs(roc_auc_score(y, features[name].fillna(features[name].median())) - 0.5))
