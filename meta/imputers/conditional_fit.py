"""Teaching the conditional imputer: known values are hidden at random, and the network is to say what they were."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
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
Drop = Callable[[Tensor], Tensor]
EPOCHS, LEAST_STEPS, MOST_STEPS = 200, 500, 9000
BIASES = ("b0", "b1", "_b")  # not decayed: a column's own shares are no pattern that chance could have made
TEMPERATURES, TEMPERATURE_SD = (0.5, 3.0), 0.3
# What few rows say a wide network learns by heart, and dropout keeps it from it; of many it costs what it could have
# learned. On 4,100 rows 0.3 is best, on 18,000 too much: as much as chance has to say, it goes by one over the rows.
MOST_DROPOUT, DROPOUT_ROWS = 0.3, 1200
N_HIDINGS = 4  # of each row that is held out
HELD_OUT_PART, HELD_OUT_ROWS = 10, 2000  # one row in ten, at most so many, tells how sure the choices may be


@dataclass(frozen=True)
class ConditionalSettings:
    """How the networks are taught; ``adversary``: weight of a discriminator's loss, 0 for none.

    n_steps: None for EPOCHS times the rows, within LEAST_STEPS and MOST_STEPS; dropout: share of the hidden units of
    choices, None for DROPOUT_ROWS over the rows, at most MOST_DROPOUT; width: of the network of choices; mean_width: of
    that of means, which must be fast: 100,000 rows are filled by it.
    """

    n_steps: int | None = None
    dropout: float | None = None
    batch_size: int = 512
    width: int = 384
    mean_width: int = 96
    n_bins: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.1
    averaging: float = 0.995
    adversary: float = 0.0

    def for_rows(self, n_rows: int) -> "ConditionalSettings":
        """The same, with what the number of rows decides."""
        n_steps = self.n_steps or int(np.clip(EPOCHS * n_rows / self.batch_size, LEAST_STEPS, MOST_STEPS))
        dropout = min(MOST_DROPOUT, DROPOUT_ROWS / n_rows) if self.dropout is None else self.dropout
        return replace(self, n_steps=n_steps, dropout=dropout)


@dataclass(frozen=True)
class _Rows:
    """Source rows as the teaching takes them: code (n_rows, code), targets by column, what is known."""

    code: Tensor
    standard: Tensor
    bins: Tensor
    known: Tensor

    def of(self, chosen: slice | Tensor) -> "_Rows":
        return _Rows(self.code[chosen], self.standard[chosen], self.bins[chosen], self.known[chosen])


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
    rows = _rows_of(coding, values[np.random.default_rng([seed, 9]).permutation(len(values))])
    last = len(values) - min(HELD_OUT_ROWS, len(values) // HELD_OUT_PART)
    weights = _teach(coding, rows.of(slice(0, last)), settings.for_rows(len(values)), seed)
    if last < len(values):
        weights = _tempered(weights, coding, rows.of(slice(last, None)), seed)
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


def _initial(coding: Coding, rows: _Rows, settings: ConditionalSettings, generator: torch.Generator) -> Params:
    """He initialisation; the bins begin at their shares among what is known."""
    width, narrow = settings.width, settings.mean_width
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
        "bins_w": 0.1 * normal(n_columns, width, most, fan=width),
        "bins_b": bins_b,
        "mean_w0": normal(n_code, narrow, fan=2 * n_columns),
        "mean_b0": torch.zeros(narrow),
        "mean_w1": normal(narrow, narrow, fan=narrow),
        "mean_b1": torch.zeros(narrow),
        "mean_w": 0.1 * normal(narrow, n_columns, fan=narrow),
        "mean_b": torch.zeros(n_columns),
        "skip": torch.zeros(n_code, n_columns),
    }


def answer(weights: Params, code: Tensor, drop: Drop = lambda hidden: hidden) -> tuple[Tensor, Tensor]:
    """Standardised means (n_rows, n_columns) and logits of bins (n_rows, n_columns, most bins).

    drop: what is done to the hidden units of choices while they are taught.
    """
    narrow, hidden = _hidden(weights, code, "mean_", lambda units: units), _hidden(weights, code, "", drop)
    means = narrow @ weights["mean_w"] + code @ weights["skip"] + weights["mean_b"]
    n_columns, width, most = weights["bins_w"].shape
    wide = weights["bins_w"].permute(1, 0, 2).reshape(width, n_columns * most)
    logits = (hidden @ wide).reshape(len(code), n_columns, most) + weights["bins_b"]
    return means, logits


def _hidden(weights: Params, code: Tensor, network: str, drop: Drop) -> Tensor:
    first = drop(torch.relu(code @ weights[f"{network}w0"] + weights[f"{network}b0"]))
    return drop(torch.relu(first @ weights[f"{network}w1"] + weights[f"{network}b1"]))


def _dropout(rate: float, generator: torch.Generator) -> Drop:
    """Leave out hidden units at random, those that stay are scaled up (Srivastava et al. 2014, JMLR 15)."""

    def drop(hidden: Tensor) -> Tensor:
        kept = torch.rand(hidden.shape, generator=generator) >= rate
        return hidden * kept / (1.0 - rate)

    return drop


def _teach(coding: Coding, rows: _Rows, settings: ConditionalSettings, seed: int) -> Params:
    generator, n_steps = torch.Generator().manual_seed(seed), settings.n_steps or 0
    drop = _dropout(settings.dropout or 0.0, torch.Generator().manual_seed(seed + 3))
    weights = _initial(coding, rows, settings, generator)
    parameters = {name: value.requires_grad_() for name, value in weights.items()}
    average = {name: value.detach().clone() for name, value in weights.items()}
    biases = [value for name, value in parameters.items() if name.endswith(BIASES)]
    others = [value for name, value in parameters.items() if not name.endswith(BIASES)]
    groups = [{"params": others, "weight_decay": settings.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_then_cosine(n_steps))
    owner = _owner_of_slot(coding)
    is_numeric = torch.from_numpy(coding.layout.is_numeric)
    adversary = Adversary(coding, settings.adversary, seed) if settings.adversary else None
    for step in range(n_steps):
        chosen = torch.randint(len(rows.code), (min(settings.batch_size, len(rows.code)),), generator=generator)
        batch = rows.of(chosen)
        shown = batch.known & ~_hide(batch.known.shape, generator)
        asked = batch.known & ~shown
        means, logits = answer(parameters, batch.code * shown[:, owner], drop)
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


@torch.no_grad()
def _tempered(weights: Params, coding: Coding, held_out: _Rows, seed: int) -> Params:
    """Divide the logits of the choices by what makes rows that were not learned from most probable.

    Source:  Guo, Pleiss, Sun & Weinberger 2017, arXiv:1706.04599, temperature scaling. Deviations: one for all columns;
             its logarithm has a prior, Normal(0, TEMPERATURE_SD^2), for a few rows tell it badly.
    """
    generator = torch.Generator().manual_seed(seed + 2)
    held_out = held_out.of(torch.arange(len(held_out.known)).repeat(N_HIDINGS))
    shown = held_out.known & ~_hide(held_out.known.shape, generator)
    asked = held_out.known & ~shown
    if not asked.any():
        return weights
    _, logits = answer(weights, held_out.code * shown[:, _owner_of_slot(coding)])
    asked_logits, bins = logits[asked].double(), held_out.bins[asked]

    def unlikeliness(log_temperature: float) -> float:
        of_values = float(functional.cross_entropy(asked_logits / np.exp(log_temperature), bins))
        return of_values * len(bins) / N_HIDINGS + 0.5 * (log_temperature / TEMPERATURE_SD) ** 2

    found = minimize_scalar(unlikeliness, bounds=np.log(TEMPERATURES), method="bounded").x
    scale = float(np.exp(-found))
    return weights | {name: weights[name] * scale for name in ("bins_w", "bins_b")}


def _owner_of_slot(coding: Coding) -> Tensor:
    """Which column each number of the code is of."""
    return torch.from_numpy(np.repeat(np.arange(len(coding.n_bins)), coding.code_widths))


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
