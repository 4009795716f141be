"""Teaching the conditional imputer: known values are hidden at random, and the network is to say what they were."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from meta.errors import InvalidColumns, TrainingDiverged
from meta.imputers.adversary import Adversary
from meta.imputers.coding import Coding, fit_coding
from meta.imputers.conditional import FittedConditional
from meta.imputers.fixed_point import weight_grid
from meta.imputers.protocol import never_seen
from meta.imputers.table import Layout
from meta.threads import one_thread
from meta.types import Params

FloatArray = NDArray[np.float64]
NARROW, WIDE = 96, 384
EPOCHS, LEAST_STEPS, MOST_STEPS = 100, 500, 3000


@dataclass(frozen=True)
class ConditionalSettings:
    """How the network is taught; ``adversary``: weight of a discriminator's loss, 0 for none.

    n_steps: None for EPOCHS times the rows, within LEAST_STEPS and MOST_STEPS; width: None for NARROW, or WIDE where
    there are categories: means are as good from the narrow one and come faster, choices gain from the wide one.
    """

    n_steps: int | None = None
    batch_size: int = 512
    width: int | None = None
    n_bins: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    averaging: float = 0.995
    adversary: float = 0.0


@dataclass(frozen=True)
class _Rows:
    """Source rows as the teaching takes them: code (n_rows, code), targets by column, what is known."""

    code: Tensor
    standard: Tensor
    bins: Tensor
    known: Tensor


@one_thread()
def fit_conditional(
    layout: Layout, values: FloatArray, seed: int, settings: ConditionalSettings | None = None
) -> FittedConditional:
    """Fit on source rows (n_rows, n_columns), NaN where unknown; equal inputs give equal bits on one machine.

    Raises:  InvalidColumns: nothing is known at all; TrainingDiverged: the loss left the finite numbers.
    """
    settings = settings or ConditionalSettings()
    if np.isnan(values).all():
        raise InvalidColumns("an imputer needs source rows in which something is known")
    coding = fit_coding(layout, values, settings.n_bins)
    rows = _rows_of(coding, values)
    n_steps = settings.n_steps or int(np.clip(EPOCHS * len(values) / settings.batch_size, LEAST_STEPS, MOST_STEPS))
    width = settings.width or (NARROW if layout.is_numeric.all() else WIDE)
    weights = _teach(coding, rows, replace(settings, n_steps=n_steps, width=width), seed)
    served = {n: weight_grid(v.numpy()) for n, v in weights.items()}
    return FittedConditional(coding, served, never_seen(layout, values))


def _rows_of(coding: Coding, values: FloatArray) -> _Rows:
    known = ~np.isnan(values)
    standard = np.where(known, (values - coding.center) / coding.scale, 0.0)
    return _Rows(
        torch.from_numpy(coding.read(values)).float(),
        torch.from_numpy(standard).float(),
        torch.from_numpy(coding.bins_of(values)),
        torch.from_numpy(known),
    )


def _initial(coding: Coding, rows: _Rows, width: int, generator: torch.Generator) -> Params:
    """He initialisation; the bins begin at their shares among what is known."""
    n_code, n_columns, most = int(coding.starts[-1]), len(coding.n_bins), coding.most_bins

    def normal(*shape: int, fan: float) -> Tensor:
        scale: float = (2.0 / fan) ** 0.5
        return torch.randn(*shape, generator=generator) * scale

    bins_b = torch.full((n_columns, most), -15.0)
    for i, n in enumerate(coding.n_bins.tolist()):
        counts = torch.bincount(rows.bins[rows.known[:, i], i], minlength=n).float() + 0.5
        bins_b[i, :n] = (counts / counts.sum()).log()
    return {
        "w0": normal(n_code, width, fan=2 * n_columns),
        "b0": torch.zeros(width),
        "w1": normal(width, width, fan=width),
        "b1": torch.zeros(width),
        "mean_w": 0.1 * normal(width, n_columns, fan=width),
        "mean_b": torch.zeros(n_columns),
        "skip": torch.zeros(n_code, n_columns),
        "bins_w": 0.1 * normal(n_columns, width, most, fan=width),
        "bins_b": bins_b,
    }


def answer(weights: Params, code: Tensor) -> tuple[Tensor, Tensor]:
    """Standardised means (n_rows, n_columns) and logits of bins (n_rows, n_columns, most bins)."""
    hidden = torch.relu(code @ weights["w0"] + weights["b0"])
    hidden = torch.relu(hidden @ weights["w1"] + weights["b1"])
    means = hidden @ weights["mean_w"] + code @ weights["skip"] + weights["mean_b"]
    n_columns, width, most = weights["bins_w"].shape
    wide = weights["bins_w"].permute(1, 0, 2).reshape(width, n_columns * most)
    logits = (hidden @ wide).reshape(len(code), n_columns, most) + weights["bins_b"]
    return means, logits


def _teach(coding: Coding, rows: _Rows, settings: ConditionalSettings, seed: int) -> Params:
    generator, n_steps = torch.Generator().manual_seed(seed), settings.n_steps or 0
    weights = _initial(coding, rows, settings.width or NARROW, generator)
    parameters = {name: value.requires_grad_() for name, value in weights.items()}
    average = {name: value.detach().clone() for name, value in weights.items()}
    optimizer = torch.optim.AdamW(parameters.values(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_then_cosine(n_steps))
    owner = torch.from_numpy(np.repeat(np.arange(len(coding.n_bins)), coding.code_widths))
    is_numeric = torch.from_numpy(coding.layout.is_numeric)
    adversary = Adversary(coding, settings.adversary, seed) if settings.adversary else None
    for step in range(n_steps):
        chosen = torch.randint(len(rows.code), (min(settings.batch_size, len(rows.code)),), generator=generator)
        batch = _Rows(rows.code[chosen], rows.standard[chosen], rows.bins[chosen], rows.known[chosen])
        shown = batch.known & ~_hide(batch.known.shape, generator)
        asked = batch.known & ~shown
        means, logits = answer(parameters, batch.code * shown[:, owner])
        loss = _loss(means, logits, batch, asked, is_numeric)
        if adversary is not None:
            loss = loss + adversary.loss(means, logits, batch.standard, batch.bins, shown, batch.known)
        if not torch.isfinite(loss):
            raise TrainingDiverged(f"the imputer's loss is not finite at step {step + 1} of {n_steps}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        schedule.step()
        keep = min(settings.averaging, (1.0 + step) / (10.0 + step))
        for name, value in average.items():
            value.lerp_(parameters[name].detach(), 1.0 - keep)
    # a finite loss may still have a gradient that is not, and after the last step no loss is looked at
    if not all(torch.isfinite(value).all() for value in average.values()):
        raise TrainingDiverged(f"the imputer's weights are not finite after {n_steps} steps")
    return average


def _hide(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """What is hidden, True: each row at a rate of its own, from next to nothing to everything."""
    rate = torch.rand(shape[0], 1, generator=generator) ** 1.5
    return torch.rand(shape, generator=generator) < rate


def _loss(means: Tensor, logits: Tensor, batch: _Rows, asked: Tensor, is_numeric: Tensor) -> Tensor:
    """Mean over hidden values: cross-entropy of their bins, and of numeric ones the squared error, too."""
    n_asked = asked.sum().clamp(min=1)
    entropy = functional.cross_entropy(logits.transpose(1, 2), batch.bins, reduction="none")
    squared = (means - batch.standard) ** 2 * is_numeric
    return ((entropy + squared) * asked).sum() / n_asked


def _warm_then_cosine(n_steps: int) -> Callable[[int], float]:
    warm = max(1, n_steps // 20)
    return lambda step: min(1.0, (step + 1) / warm) * (0.505 + 0.495 * float(np.cos(np.pi * step / n_steps)))


def with_adversary(weight: float, settings: ConditionalSettings | None = None) -> ConditionalSettings:
    """The same settings with a discriminator of this weight."""
    return replace(settings or ConditionalSettings(), adversary=weight)
