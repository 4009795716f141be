"""Matching networks: a row's class is that of the support rows it attends to, by cosine similarity.

Source: Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra 2016, arXiv:1606.04080, Eq. 1 and section 2.1.1.
Deviations: one embedding for both sides (f = g); no full context embeddings (section 2.1.2: a bi-directional LSTM over
the support and an attention LSTM over the query), which make the answer hang on the order of the support. On credit
those of ``meta.learners.in_context``, and a learned temperature of the cosines (the paper has none).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.learners.in_context import SCALE, InContext, shares_of
from meta.types import Params

NOTHING = 1e-6  # share of attention below which a class is not told from one without rows


@dataclass(frozen=True)
class Matching(InContext):
    """theta is the embedding, on credit with ``sharpness`` (1,) (ln of what multiplies cosines / SCALE).

    seen: ``keys`` (n_rows, width), of length 1; ``labels`` (n_rows, n_classes); ``weights`` (n_rows,), 0 = padding.
    """

    def own(self, width: int, generator: torch.Generator) -> Params:
        return {"sharpness": torch.zeros(1)} if self.on_credit else {}

    def read(self, own: Params, embedded: Tensor, labels: Tensor, weights: Tensor) -> Params:
        kept = (weights > 0).to(weights).unsqueeze(-1)
        return {"keys": F.normalize(embedded, dim=-1) * kept, "labels": labels * kept, "weights": weights}

    def answer(self, own: Params, seen: Params, embedded: Tensor) -> Tensor:
        """Give the logs of the classes' shares of attention: ln y of Eq. 1."""
        cosines = F.normalize(embedded, dim=-1) @ seen["keys"].mT
        if self.on_credit:
            cosines = cosines * (SCALE * own["sharpness"]).exp().unsqueeze(-1)
        return (attention(cosines, seen["weights"]) @ seen["labels"]).clamp(min=NOTHING).log()


def attention(cosines: Tensor, weights: Tensor) -> Tensor:
    """Softmax over the support of cosines (..., n_queries, n_support), section 2.1.1; weights (..., n_support).

    >>> attention(torch.zeros(1, 3), torch.tensor([1.0, 1.0, 0.0])).tolist()
    [[0.5, 0.5, 0.0]]
    """
    return shares_of(cosines, weights.unsqueeze(-2))
