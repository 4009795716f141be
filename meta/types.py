"""Shapes that every room of ``meta`` agrees on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Params = dict[str, Tensor]
"""Named tensors: a theta, a theta_prime or a gradient. A leading task dimension is allowed everywhere."""

LossFn = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(outputs (..., n_rows, n_outputs), y (..., n_rows), mask (..., n_rows)) -> mean loss per task (...)."""


@dataclass(frozen=True)
class Column:
    """One feature column, as far as mathematics needs to know it."""

    name: str
    kind: Literal["numeric", "categorical"]
    categories: tuple[str, ...] | None = None
    direction: Literal["increases", "decreases"] | None = None  # of risk as the value grows, where it is declared


@dataclass(frozen=True)
class LabelledRows:
    """Rows of one task, or of a batch of tasks padded to one length.

    Shapes:  x (..., n_rows, n_features), encoded, finite; y (..., n_rows): 1.0 = default for credit, a real
             number for regression, a class index for classification; mask (..., n_rows): 1 = a row, 0 = padding;
             offset (..., n_rows): known part of the logit, added to the outputs inside the loss. It carries the
             prior correction of label-selected rows (King & Zeng 2001) and is zero elsewhere.
    """

    x: Tensor
    y: Tensor
    mask: Tensor
    offset: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, mask: Tensor | None = None, offset: Tensor | None = None) -> "LabelledRows":
        """Fill in what is absent: no padding, no offset."""
        mask = torch.ones(x.shape[:-1], dtype=x.dtype, device=x.device) if mask is None else mask
        offset = torch.zeros(x.shape[:-1], dtype=x.dtype, device=x.device) if offset is None else offset
        return cls(x, y, mask, offset)

    def to(self, device: torch.device) -> "LabelledRows":
        return LabelledRows(*(t.to(device) for t in (self.x, self.y, self.mask, self.offset)))

    @property
    def n_defaults(self) -> Tensor:
        """Number of rows with y = 1 per task, shape (...)."""
        return (self.y * self.mask).sum(-1)


SupportSet = LabelledRows
QuerySet = LabelledRows


@dataclass(frozen=True)
class Episode:
    """A meta-batch: the support and query rows of ``n_tasks`` tasks, in their leading dimension."""

    support: SupportSet
    query: QuerySet

    def to(self, device: torch.device) -> "Episode":
        return Episode(self.support.to(device), self.query.to(device))
