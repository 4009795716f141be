"""Imputers that a theta may carry: what stands where a market's file has nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta.errors import InvalidRecipe
from meta.imputers.conditional import FittedConditional
from meta.imputers.conditional_fit import fit_conditional
from meta.imputers.gain import FittedGain, fit_gain
from meta.imputers.protocol import FitImputer, FittedImputer
from meta.imputers.table import Layout
from meta.imputers.typical import TypicalValues, fit_typical

FITS: dict[str, FitImputer] = {
    TypicalValues.name: fit_typical,
    FittedGain.name: fit_gain,
    FittedConditional.name: fit_conditional,
}
KINDS: dict[str, type[FittedImputer]] = {kind.name: kind for kind in (TypicalValues, FittedGain, FittedConditional)}


def fit_imputer(name: str, layout: Layout, values: NDArray[np.float64], seed: int) -> FittedImputer:
    """Fit an imputer by its name on source rows. Raises InvalidRecipe for a name that is not among ``FITS``."""
    if name not in FITS:
        raise InvalidRecipe(f"imputer must be one of {', '.join(sorted(FITS))}, got {name!r}")
    return FITS[name](layout, values, seed)


def restore_imputer(
    name: str, layout: Layout, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> FittedImputer:
    """Read a stored imputer. Raises InvalidRecipe for a name that is not among ``KINDS``."""
    if name not in KINDS:
        raise InvalidRecipe(f"imputer must be one of {', '.join(sorted(KINDS))}, got {name!r}")
    return KINDS[name].restore(layout, arrays, settings)


__all__ = ["FitImputer", "FittedImputer", "Layout", "fit_imputer", "restore_imputer"]
