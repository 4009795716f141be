"""What every contestant of the study is and what a fit of it gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A model of one sample: logits (n_rows,) of accounts, processor seconds, steps or rounds of the final run.

    capped: it would have gone on improving at the end of the longest run allowed.
    """

    score: Callable[[pandas.DataFrame], FloatArray]
    seconds: float
    n_steps: int
    capped: bool = False


class Contestant(Protocol):
    """Learns from a sample in shuffled order. One of ``choices`` is chosen on watching rows of the sample itself."""

    def choices(self) -> Sequence[Any]: ...

    def watch(self, rows: Rows, choice: Any, seed: int) -> float:
        """Log loss of the watching rows at the step or round where it is lowest."""
        ...

    def fit(self, rows: Rows, choice: Any, seed: int) -> Fitted: ...
