"""Attentive conditional neural process: a row attends to the support's (row, label) pairs and decodes what it finds.

Source: Kim et al. 2019, arXiv:1901.05761, section 3.1, figure 2: the deterministic path with multihead cross-attention
(Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2); for the rest Garnelo et al. 2018, arXiv:1807.01613, Eqs. 1 to 3.
Deviations: one head unless told (the paper has eight); no latent path and no self-attention among the support; encoder
and decoder read the embedding of x, which the network learns, in place of x; a point is predicted, not a mean and a
variance; on credit those of ``meta.learners.in_context``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.learners.in_context import InContext, drawn, shares_of
from meta.types import Params


@dataclass(frozen=True)
class NeuralProcess(InContext):
    """theta is the embedding, an encoder of pairs (``pair*``), a multihead attention (``query``, ``key``, ``value``,
    ``merge``: (width or hidden, hidden)) and a decoder (``decode*``).

    seen: ``keys`` and ``values`` (n_rows, hidden); ``weights`` (n_rows,), 0 = padding.
    """

    hidden: int = 32
    n_heads: int = 1  # of random heads half start by adding what the other half takes off

    def own(self, width: int, generator: torch.Generator) -> Params:
        shapes = {
            "pair0": (width + self.n_classes, self.hidden),
            "pair1": (self.hidden, self.hidden),
            "query": (width, self.hidden),
            "key": (width, self.hidden),
            "value": (self.hidden, self.hidden),
            "merge": (self.hidden, self.hidden),
            "decode0": (width + self.hidden, self.hidden),
            "decode1": (self.hidden, self.n_classes),
        }
        layers = {name: drawn(shape, generator) for name, shape in shapes.items()}
        biases = {f"{name}_b": torch.zeros(shapes[name][1]) for name in ("pair0", "pair1", "decode0", "decode1")}
        return layers | biases | {"key": layers["query"].clone()}  # at first rows attend to what is like them

    def read(self, own: Params, embedded: Tensor, labels: Tensor, weights: Tensor) -> Params:
        """Encode each pair, r_i = h(x_i, y_i), Eq. 1 of the conditional neural process."""
        pairs = _two_layers(own, "pair", torch.cat([embedded, labels], dim=-1))
        kept = (weights > 0).to(weights).unsqueeze(-1)
        return {"keys": embedded @ own["key"] * kept, "values": pairs @ own["value"] * kept, "weights": weights}

    def answer(self, own: Params, seen: Params, embedded: Tensor) -> Tensor:
        """Attend, r* = r(x*), and decode g(x*, r*), in place of Eqs. 2 and 3 there."""
        found = multihead(embedded @ own["query"], seen["keys"], seen["values"], seen["weights"], self.n_heads)
        return _two_layers(own, "decode", torch.cat([embedded, found @ own["merge"]], dim=-1))


def multihead(queries: Tensor, keys: Tensor, values: Tensor, weights: Tensor, n_heads: int) -> Tensor:
    """Scaled dot-product attention in ``n_heads`` parts of the width, side by side.

    Shapes:  queries (..., n_queries, width); keys, values (..., n_rows, width); weights (..., n_rows): how often a row
             counts; returns (..., n_queries, width), 0 where no row counts.
    """
    queries, keys, values = (_by_head(t, n_heads) for t in (queries, keys, values))
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    found = shares_of(scores, weights.unsqueeze(-2).unsqueeze(-3)) @ values
    return found.transpose(-3, -2).flatten(-2)


def _by_head(rows: Tensor, n_heads: int) -> Tensor:
    """(..., n_rows, width) -> (..., n_heads, n_rows, width / n_heads)."""
    return rows.reshape(*rows.shape[:-1], n_heads, rows.shape[-1] // n_heads).transpose(-3, -2)


def _two_layers(own: Params, name: str, x: Tensor) -> Tensor:
    hidden = F.relu(x @ own[f"{name}0"] + own[f"{name}0_b"].unsqueeze(-2))
    return hidden @ own[f"{name}1"] + own[f"{name}1_b"].unsqueeze(-2)
