"""The serving path: a NumPy forward of stored weights in tiles of fixed size, without torch.

Matrix libraries choose their summation order by the shape of the product, so a row's last bits depend on how many
others it is scored with. Here every product has the same shape, ``TILE`` rows padded with zeros: a row's answer is
the same alone and in any batch, wherever it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]
TILE = 32


@dataclass(frozen=True)
class EnsembleForward:
    """``meta.nets.Ensemble`` plus the level of a theta_prime, for serving.

    Shapes:  r (n_members, n_features); s0, b0 (n_members, width) ...; head_w (n_members, width); level (1,), in logits.
    """

    weights: Weights
    n_layers: int

    def logits(self, x: NDArray[np.float32]) -> FloatArray:
        """Score encoded rows (n_rows, n_features) to logits of default (n_rows,)."""
        out = np.empty(len(x))
        tile = np.zeros((TILE, x.shape[1]), dtype=np.float32)
        for start in range(0, len(x), TILE):
            rows = x[start : start + TILE]
            tile[: len(rows)] = rows
            tile[len(rows) :] = 0.0
            out[start : start + TILE] = self._tile_logits(tile)[: len(rows)]
        return out

    def pd(self, x: NDArray[np.float32]) -> FloatArray:
        """Score encoded rows to probabilities of default (n_rows,)."""
        return 1.0 / (1.0 + np.exp(-self.logits(x)))

    def _tile_logits(self, x: NDArray[np.float32]) -> FloatArray:
        w = self.weights
        hidden = x[:, None, :] * w["r"]
        for layer in range(self.n_layers):
            n_members, width = hidden.shape[1:]
            mixed = (hidden.reshape(-1, width) @ w[f"w{layer}"]).reshape(TILE, n_members, -1)
            hidden = np.maximum(mixed * w[f"s{layer}"] + w[f"b{layer}"], 0.0)
        members = (hidden * w["head_w"]).sum(axis=2, dtype=np.float64) + w["head_b"]
        return _logit_of_mean(members) + float(w["level"][0])


def _logit_of_mean(members: FloatArray) -> FloatArray:
    """Logit of the members' mean probability, stable in both tails; members (n_rows, n_members)."""
    log_pd = -np.logaddexp(0.0, -members)
    log_good = -np.logaddexp(0.0, members)
    total: FloatArray = np.logaddexp.reduce(log_pd, axis=1) - np.logaddexp.reduce(log_good, axis=1)
    return total
