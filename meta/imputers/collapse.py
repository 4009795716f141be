"""Mode collapse, told from a fit alone: fills that are all but one value, or lie away from what belongs there.

Fills of real gaps cannot be judged: where high incomes are missing, right fills lie away from all incomes that are
known. So the test hides what is known, as rows with a gap in the column hide it, and looks at what is filled there.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]
ALIKE_SHARE = 0.01  # fills that spread by less of what was observed are one value in all but name
ASTRAY = 1.0  # standard deviations that fills' mean may lie from the truth's
ASTRAY_SHARE = 0.5  # probability that fills may have on other categories than the truth
LEAST, MOST = 100, 2000  # rows that are judged; fewer cannot tell, and more need not
ALIKE = "mode collapse, fills were all but one value: filled with the mean instead"
AWAY = "mode collapse, fills lay away from all that was observed: filled with the mean instead"


class Expects(Protocol):
    """As much of a fitted imputer as is judged."""

    @property
    def layout(self) -> Layout: ...

    def expected(self, values: FloatArray) -> FloatArray: ...


def collapsed_columns(fitted: Expects, values: FloatArray) -> dict[str, str]:
    """What is wrong with fills of ``values`` (n_rows, n_columns), by column; gaps fewer than LEAST are not judged."""
    layout, found = fitted.layout, {}
    starts = np.cumsum([0, *layout.widths])
    for i, name in enumerate(layout.names):
        known, gaps = (np.flatnonzero(flags) for flags in (~np.isnan(values[:, i]), np.isnan(values[:, i])))
        if min(len(known), len(gaps)) < LEAST:
            continue
        rows = values[known[:MOST]]
        own = slice(starts[i], starts[i + 1])
        truth = layout.one_hot(rows)[:, own]
        pattern = np.isnan(values[np.resize(gaps, len(rows))])
        fills = fitted.expected(np.where(pattern, np.nan, rows))[:, own]
        if fault := _fault(fills, truth):
            found[name] = fault
    return found


def _fault(fills: FloatArray, truth: FloatArray) -> str | None:
    """Of one column, (n_rows, its width): a number, or a category's flags."""
    spread = truth.std(axis=0)
    if not spread.any():
        return None  # a constant has but one value
    apart = np.abs(fills.mean(axis=0) - truth.mean(axis=0))
    is_away = apart[0] > ASTRAY * spread[0] if len(apart) == 1 else apart.sum() / 2.0 > ASTRAY_SHARE
    if is_away:
        return AWAY
    return ALIKE if (fills.std(axis=0) <= ALIKE_SHARE * spread).all() else None
