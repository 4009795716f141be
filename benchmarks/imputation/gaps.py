"""How values go missing: at random, by another column, or by themselves."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
MECHANISMS = ("MCAR", "MAR", "MNAR")


def make_gaps(values: FloatArray, mechanism: str, rate: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which values (n_rows, n_columns) to hide, a share ``rate`` (at most a half) of each column that may have gaps.

    MCAR: every value alike. MAR: by the row's place in the first column, which stays whole: from never at the lowest to
    twice the rate at the highest. MNAR: by the value's own place in its column in the same way.
    """
    if mechanism == "MCAR":
        chance = np.full(values.shape, rate)
    elif mechanism == "MAR":
        chance = np.repeat(2.0 * rate * _places(values[:, 0], rng)[:, None], values.shape[1], axis=1)
        chance[:, 0] = 0.0
    else:
        chance = 2.0 * rate * np.stack([_places(column, rng) for column in values.T], axis=1)
    return (rng.random(values.shape) < chance) & ~np.isnan(values)


def _places(column: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Places in order, 0 to 1, ties at random; a row without a value is in the middle."""
    order = np.lexsort((rng.random(len(column)), column))  # NaN comes last
    places = np.empty(len(column))
    places[order] = np.arange(len(column)) / max(1, len(column) - 1)
    return np.where(np.isnan(column), 0.5, places)
