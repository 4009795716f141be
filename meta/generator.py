"""Accounts that never were: whole rows drawn for a label, from what source markets' rows look like.

The conditional imputer's network with the label as one more column, sampled with everything but the label missing. It
is a separate thing from a theta's imputer, which never sees a label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meta.imputers.conditional import FittedConditional
from meta.imputers.conditional_fit import ConditionalSettings, fit_conditional
from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]
LABEL = "y"  # a name inside this room only: columns are told apart by their place


@dataclass(frozen=True)
class Generator:
    """A fitted generator of ``layout``'s accounts."""

    layout: Layout
    network: FittedConditional

    def sample(self, y: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw one account for each label of y (n_rows,): values (n_rows, n_columns), as ``Layout.values``."""
        rows = np.full((len(y), len(self.layout.names) + 1), np.nan)
        rows[:, 0] = y
        return self.network.draw(rows, rng.random((1, *rows.shape)))[0, :, 1:]


def fit_generator(
    layout: Layout, values: FloatArray, y: FloatArray, seed: int, settings: ConditionalSettings | None = None
) -> Generator:
    """Learn from values (n_rows, n_columns), NaN where unknown, and labels y (n_rows,), 1.0 = default.

    Raises:  InvalidColumns, TrainingDiverged: as the imputer's fit.
    """
    with_label = Layout((LABEL, *layout.names), (("0", "1"), *layout.categories))
    network = fit_conditional(with_label, np.column_stack([y, values]), seed, settings)
    return Generator(layout, network)
