"""The imputer that everything else has to beat: a column's mean, or its commonest category."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TypicalValues:
    """Fills each column with one value, whatever the rest of the row says; its draws are all alike.

    Shapes:  typical (n_columns,): a mean or the place of the commonest category; 0 where a column was never seen.
    """

    name: ClassVar[str] = "mean"
    layout: Layout
    typical: FloatArray

    def fill(self, values: FloatArray) -> FloatArray:
        return np.where(np.isnan(values), self.typical, values)

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        return np.repeat(self.fill(values)[None], len(uniforms), axis=0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"typical": self.typical}

    def settings(self) -> dict[str, Any]:
        return {}

    @classmethod
    def restore(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        return cls(layout, arrays["typical"])


def fit_typical(layout: Layout, values: FloatArray, seed: int = 0) -> TypicalValues:
    """Take means of numeric columns and the commonest category of others over ``values`` (n_rows, n_columns)."""
    typical = np.zeros(len(layout.names))
    for i, n_categories in enumerate(layout.n_categories):
        seen = values[~np.isnan(values[:, i]), i]
        if len(seen):
            typical[i] = np.bincount(seen.astype(np.int64)).argmax() if n_categories else seen.mean()
    return TypicalValues(layout, typical)
