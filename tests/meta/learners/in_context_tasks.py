"""What the tests of learners that read the support share: how they are made, and a gate that is not shut."""

from dataclasses import replace
from typing import Any

import torch

from meta.learners.in_context import SCALE, InContext
from meta.losses import binary_cross_entropy, cross_entropy
from meta.nets import Ensemble, Mlp
from meta.types import LabelledRows, Params
from tests.meta.conftest import N_FEATURES

SMALL = Ensemble(N_FEATURES, (8, 8), n_members=3)
IDENTITY = {"w0": torch.eye(2), "b0": torch.zeros(2)}  # of a network without hidden layer: a row is its own embedding


def for_credit(kind: type[InContext], **options: Any) -> InContext:
    return kind(SMALL, binary_cross_entropy, 0.1, 3, size=4, **options)


def as_published(kind: type[InContext], n_classes: int = 2, **options: Any) -> InContext:
    """The paper's method on rows of two numbers that are embedded as themselves."""
    return kind(Mlp(2, (), 2), cross_entropy, 0.1, 0, n_classes=n_classes, on_credit=False, **options)


def opened(theta: Params) -> Params:
    """A theta as episodes leave it: the gate is open."""
    return theta | {"own.gate": torch.full_like(theta["own.gate"], 0.7 / SCALE)}


def without_pseudo_rows(theta: Params) -> Params:
    return theta | {"own.log_h": torch.full_like(theta["own.log_h"], -100.0)}


def in_double(tensors: Params) -> Params:
    return {name: value.double() for name, value in tensors.items()}


def padded(rows: LabelledRows, n_more: int) -> LabelledRows:
    """Put rows that count for nothing, and are not zero, behind the others."""
    n_tasks, _, n_features = rows.x.shape
    more = LabelledRows(
        torch.full((n_tasks, n_more, n_features), 7.0).to(rows.x),
        rows.y.new_ones(n_tasks, n_more),
        rows.mask.new_zeros(n_tasks, n_more),
        rows.offset.new_full((n_tasks, n_more), 3.0),
    )
    parts = (torch.cat([a, b], dim=1) for a, b in zip(vars(rows).values(), vars(more).values(), strict=True))
    return LabelledRows(*parts)


def picked(rows: LabelledRows, order: torch.Tensor) -> LabelledRows:
    return LabelledRows(rows.x[:, order], rows.y[:, order], rows.mask[:, order], rows.offset[:, order])


def with_offset(rows: LabelledRows, by: float) -> LabelledRows:
    return replace(rows, offset=rows.offset + by)
