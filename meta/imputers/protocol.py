"""What an imputer is: fitted on source markets, then frozen arrays that fill gaps and draw what may stand there.

Two halves. A *fit* learns from source rows, in torch or scikit-learn, as slowly as it likes. What it returns is a
``FittedImputer``: arrays and numbers alone, stored inside theta, that fills a row in NumPy with nothing fitted at
scoring time. Labels are never among what it sees: a fill that knew the label would tell it to the model.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]
NEVER_SEEN = "no source row has a value: filled with 0, or left unknown where it is a category"  # of a report


class FittedImputer(Protocol):
    """A fitted imputer of a ``Layout``'s columns.

    ``values`` are (n_rows, n_columns) float64 as ``Layout.values`` makes them: a numeric column in its own unit, a
    categorical one as the place of its category; NaN where nothing is known. Observed values are returned as they came.
    Each row's results have the same bits alone and in any batch, whatever the number of threads.
    """

    name: ClassVar[str]

    @property
    def layout(self) -> Layout: ...

    def fill(self, values: FloatArray) -> FloatArray:
        """The best single guess: means of numeric columns, the most probable category of others. No NaN is left."""
        ...

    def expected(self, values: FloatArray) -> FloatArray:
        """What is known in one-hot coding, (n_rows, sum of ``layout.widths``): means, and categories' probabilities.

        Observed values are as they came, a category as flags.
        """
        ...

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        """Draw completions from what the row allows: (n_draws, n_rows, n_columns), no NaN left.

        uniforms (n_draws, n_rows or 1, n_columns), in [0, 1): all of the randomness. With one row of them every row is
        completed with the same luck, which is how scores are served: then a score depends on its row alone.
        """
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that was fitted, to be stored as tensors; finite."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything else that ``restore`` needs, as JSON values."""
        ...

    @property
    def report(self) -> Mapping[str, str]:
        """What the fit could not do as asked, in words, by column; empty where all went well."""
        ...

    @classmethod
    def restore(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Read what ``arrays`` and ``settings`` wrote."""
        ...


FitImputer = Callable[[Layout, FloatArray, int], FittedImputer]
"""(layout, values of source rows, seed) -> a fitted imputer; equal inputs give equal bits on one machine."""


def never_seen(layout: Layout, values: FloatArray) -> dict[str, str]:
    """The report's line for each column without a single value in ``values`` (n_rows, n_columns)."""
    return {layout.names[i]: NEVER_SEEN for i in np.flatnonzero(np.isnan(values).all(axis=0))}
