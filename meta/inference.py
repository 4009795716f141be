"""The serving path: a NumPy forward of stored weights, without torch.

Matrix libraries choose their summation order by the shape of a product and by a row's place in it, so a row's last
bits would depend on what it is scored with. Here every product is one account's: the tile (n_members, n_features) has
the same shape for each row, alone or in any batch, and so has its answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]
ROWS_AT_ONCE = 512  # bounds memory only: results do not depend on it


@dataclass(frozen=True)
class EnsembleForward:
    """``meta.nets.Ensemble`` for serving.

    Shapes:  r (n_members, n_features); s0, b0 (n_members, width) ...; head_w (n_members, sum of widths).
    """

    weights: Weights
    n_layers: int

    def logits(self, x: NDArray[np.float32]) -> FloatArray:
        """Score encoded rows (n_rows, n_features) to the network's logits of default (n_rows,)."""
        out = np.empty(len(x))
        for start in range(0, len(x), ROWS_AT_ONCE):
            out[start : start + ROWS_AT_ONCE] = self._piece_logits(x[start : start + ROWS_AT_ONCE])
        return out

    def _piece_logits(self, x: NDArray[np.float32]) -> FloatArray:
        w = self.weights
        hidden, layers = x[:, None, :] * w["r"], []
        for layer in range(self.n_layers):
            # a stack of (n_members, width_in) @ (width_in, width_out): NumPy multiplies row by row
            mixed = np.matmul(hidden, w[f"w{layer}"])
            hidden = np.maximum(mixed * w[f"s{layer}"] + w[f"b{layer}"], 0.0)
            layers.append(hidden)
        members = (np.concatenate(layers, axis=2) * w["head_w"]).sum(axis=2, dtype=np.float64) + w["head_b"]
        return _logit_of_mean(members)


def _logit_of_mean(members: FloatArray) -> FloatArray:
    """Logit of the members' mean probability, stable in both tails; members (n_rows, n_members)."""
    log_pd = -np.logaddexp(0.0, -members)
    log_good = -np.logaddexp(0.0, members)
    total: FloatArray = np.logaddexp.reduce(log_pd, axis=1) - np.logaddexp.reduce(log_good, axis=1)
    return total
