"""The serving path of learners whose theta_prime is more than weights of the network: torch, one row at a time.

Matrix libraries choose their summation order by the shape of a product, by a row's place in it and by the number of
threads. Here every row is predicted by itself and by one thread, so that its bits are the same alone and in any batch;
that costs a few tenths of a millisecond a row, where ``meta.inference`` scores dozens in that time.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from meta.inference import FloatArray
from meta.learners.protocol import Learner
from meta.threads import one_thread
from meta.types import Params


@dataclass(frozen=True)
class RowByRow:
    """A learner and a theta_prime of it, without level."""

    learner: Learner
    theta_prime: Params

    @one_thread()
    @torch.inference_mode()
    def logits(self, x: NDArray[np.float32]) -> FloatArray:
        """Score encoded rows (n_rows, n_features) to the learner's logits of default (n_rows,)."""
        rows = torch.from_numpy(x)
        out = np.empty(len(x))
        for i in range(len(x)):
            out[i] = self.learner.predict(self.theta_prime, rows[i : i + 1])[0].item()
        return out
