"""Prototypical networks: a class is the mean of its embedded rows, and a row belongs to the nearest.

Source: Snell, Swersky, Zemel 2017, arXiv:1703.05175, Eqs. 1 and 2, squared Euclidean distance.
Deviations: none on the papers' problems; on credit those of ``meta.learners.in_context``, where a class's prototype is
compared with the one that the network expects of the same rows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from meta.learners.in_context import InContext
from meta.types import Params


@dataclass(frozen=True)
class Prototypical(InContext):
    """theta is the embedding; seen: ``prototypes`` (n_classes, width), 0 for a class without rows."""

    def own(self, width: int, generator: torch.Generator) -> Params:
        return {}

    def read(self, own: Params, embedded: Tensor, labels: Tensor, weights: Tensor) -> Params:
        return {"prototypes": prototypes(embedded, labels, weights)}

    def answer(self, own: Params, seen: Params, embedded: Tensor) -> Tensor:
        return -squared_distances(embedded, seen["prototypes"])


def prototypes(embedded: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Average each class's rows (Eq. 1): (n_tasks, n_rows, width) -> (n_tasks, n_classes, width).

    labels (n_tasks, n_rows, n_classes): a row may belong to classes in parts; weights (n_tasks, n_rows).

    >>> rows = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 4.0]]])
    >>> labels = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    >>> prototypes(rows, labels, torch.ones(1, 3)).tolist()
    [[[1.0, 0.0], [0.0, 4.0]]]
    """
    membership = labels * weights.unsqueeze(-1)
    total = membership.sum(-2).unsqueeze(-1)
    return (membership.mT @ embedded) / total.clamp(min=torch.finfo(total.dtype).tiny)


def squared_distances(embedded: Tensor, centers: Tensor) -> Tensor:
    """Squared Euclidean distances (..., n_rows, n_classes), whose negatives are the scores of Eq. 2."""
    return (embedded.unsqueeze(-2) - centers.unsqueeze(-3)).square().sum(-1)
