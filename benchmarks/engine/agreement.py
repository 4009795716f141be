"""Do two rows compute the same meta-gradient?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.engine.task import Array

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@dataclass(frozen=True)
class Agreement:
    """The largest difference of any entry, as a share of the largest entry; one number per precision."""

    float32: float
    float64: float

    @property
    def is_close(self) -> bool:
        return self.float32 <= TOLERANCE["float32"] and self.float64 <= TOLERANCE["float64"]


def largest_difference(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Raises ``KeyError`` where a tensor is missing; a NaN anywhere gives NaN, which is within no tolerance."""
    if found.keys() != expected.keys():
        raise KeyError(f"tensors {sorted(found)} where {sorted(expected)} were expected")
    gap = max(float(np.abs(found[name] - value).max()) for name, value in expected.items())
    return gap / max(float(np.abs(value).max()) for value in expected.values())
