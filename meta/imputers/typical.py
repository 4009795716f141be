"""The imputer that everything else has to beat: a column's mean, or its commonest category."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from meta.imputers.protocol import never_seen
from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TypicalValues:
    """Fills each column with one value, whatever the rest of the row says; its draws are all alike.

    Shapes:  typical (sum of layout.widths,): means, and the shares of categories; 0 where a column was never seen.
    """

    name: ClassVar[str] = "mean"
    layout: Layout
    typical: FloatArray
    report: Mapping[str, str] = field(default_factory=dict)

    def fill(self, values: FloatArray) -> FloatArray:
        return np.where(np.isnan(values), self.layout.decide(self.typical[None]), values)

    def expected(self, values: FloatArray) -> FloatArray:
        coded = self.layout.one_hot(values)
        return np.where(np.isnan(coded), self.typical, coded)

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        return np.repeat(self.fill(values)[None], len(uniforms), axis=0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"typical": self.typical}

    def settings(self) -> dict[str, Any]:
        return {"report": dict(self.report)}

    @classmethod
    def restore(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        return cls(layout, arrays["typical"], settings.get("report", {}))  # thetas of before have none


def fit_typical(layout: Layout, values: FloatArray, seed: int = 0) -> TypicalValues:
    """Take means of numeric columns and shares of categories over ``values`` (n_rows, n_columns)."""
    coded = layout.one_hot(values)
    n_seen = (~np.isnan(coded)).sum(axis=0)
    return TypicalValues(layout, np.nansum(coded, axis=0) / np.maximum(n_seen, 1), never_seen(layout, values))
