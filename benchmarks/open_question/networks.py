"""The product's network, fitted to convergence from any start: random, pooled rows, or meta-learned."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.engine.columns import columns_of
from benchmarks.few_shot.data import Rows, schema_of
from benchmarks.open_question.design import BATCH, Folds, folds_of
from benchmarks.open_question.fitted import Fitted
from benchmarks.open_question.starts import Start
from meta.features import Encoder, fit_encoder
from meta.learners.protocol import OuterGradient, meta_gradient
from meta.level import fit_level, logit
from meta.losses import binary_cross_entropy, logit_of_mean
from meta.nets import Ensemble
from meta.pooled import AbsenceTeacher, predict_logits
from meta.trainer import Schedule, TrainerState, train
from meta.types import Params

FloatArray = NDArray[np.float64]
STEP_SIZES = (1e-3, 4e-3, 1.6e-2)
DROPOUT = 0.2  # the product's own in pooled training
EPOCHS = 30  # at most; what is still improving then is reported
STEPS = (160, 1600)  # at least and at most, whatever 30 epochs are
N_CHECKS = 40
PATIENCE = 8
MEMBERS, WIDTHS = 8, (64, 64)


@dataclass(frozen=True)
class Network:
    """Fine-tunes ``start``, or trains from random weights where there is none, all weights, by the product's trainer.

    Convergence: a run is stopped when PATIENCE checks of the watching rows' log loss in a row brought nothing new, and
    all rows are then run through, the step size decaying to 0, for as far as the best check had walked. Where several
    folds watch, they run side by side and their mean loss decides. A started network first gets the sample's level.
    """

    start: Start | None = None

    def choices(self) -> tuple[float, ...]:
        return STEP_SIZES

    def watch(self, rows: Rows, choice: float, seed: int) -> float:
        return _converge(self._encoded(rows), folds_of(len(rows)), choice, seed)[0].best_loss

    def fit(self, rows: Rows, choice: float, seed: int) -> Fitted:
        started = time.process_time()
        encoded = self._encoded(rows)
        folds = folds_of(len(rows))
        state, plan = _converge(encoded, folds, choice, seed)
        whole = np.arange(len(rows))[None]
        longer = _per_epoch(len(rows)) / _per_epoch(folds.train.shape[1])
        last = plan.ending_at(state.best_step)
        last = replace(last, n_steps=round(last.n_steps * longer))
        batches = _Batches(encoded, whole, seed)
        done = train(TrainerState.at_start(batches.start()), batches.gradient_at, last)
        weights = {name: value[0] for name, value in done.best.items()}
        capped = state.step >= plan.n_steps and state.best_step >= plan.n_steps - plan.validate_every
        return Fitted(_scorer(encoded, weights), time.process_time() - started, last.n_steps, capped)

    def _encoded(self, rows: Rows) -> "_Encoded":
        if self.start is not None:
            return _Encoded.of(rows, self.start.encoder, self.start.network, self.start)
        encoder = fit_encoder(columns_of(schema_of(rows.features)), rows.features)
        return _Encoded.of(rows, encoder, Ensemble(encoder.n_features, WIDTHS, MEMBERS), None)


@dataclass(frozen=True)
class _Encoded:
    """A sample as the network sees it: x (n, n_features), y (n,)."""

    encoder: Encoder
    network: Ensemble
    start: Start | None
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, rows: Rows, encoder: Encoder, network: Ensemble, start: Start | None) -> "_Encoded":
        x = torch.from_numpy(encoder.encode(rows.features))
        return cls(encoder, network, start, x, torch.from_numpy(rows.y).float())

    def weights_for(self, place: NDArray[np.int64], seed: int) -> Params:
        """Starting weights whose level is that of the rows at ``place``."""
        y = self.y[place].double().numpy()
        if self.start is None:
            weights = self.network.init(torch.Generator().manual_seed(seed))
            rate = (float(y.sum()) + 0.5) / (len(y) + 1)  # Jeffreys' rate
            return weights | {"head_b": weights["head_b"] + logit(rate)}
        weights = self.start.weights
        logits = predict_logits(self.network, weights, self.x[place]).double().numpy()
        return weights | {"head_b": weights["head_b"] + fit_level(logits, y, 0.0, self.start.level_sd)}


class _Batches:
    """Minibatches of several folds side by side, each with weights of its own; seeded by (seed, step)."""

    def __init__(self, encoded: _Encoded, train_rows: NDArray[np.int64], seed: int) -> None:
        self.encoded, self.rows, self.seed = encoded, torch.from_numpy(train_rows), seed
        owner, absent = (torch.from_numpy(a) for a in (encoded.encoder.column_of_slot, encoded.encoder.absence_slots))
        self.hider = AbsenceTeacher.from_rows(encoded.x[self.rows[0]], owner, absent)

    def start(self) -> Params:
        each = [self.encoded.weights_for(place.numpy(), self.seed) for place in self.rows]
        return {name: torch.stack([weights[name] for weights in each]) for name in each[0]}

    def gradient_at(self, theta: Params, step: int) -> OuterGradient:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        rows = self._rows_of(step)
        flat = self.hider.hide(self.encoded.x[rows].flatten(0, 1), generator)
        x, y = flat.reshape(*rows.shape, -1), self.encoded.y[rows]

        def loss(weights: Params) -> Tensor:
            outputs = self.encoded.network.forward(weights, x, DROPOUT, generator)
            return binary_cross_entropy(outputs, y, torch.ones_like(y)).sum()

        return meta_gradient(loss, theta)

    def _rows_of(self, step: int) -> Tensor:
        """Positions (n_folds, batch): walk through seeded permutations, one an epoch, without replacement."""
        n = self.rows.shape[1]
        size = min(BATCH, n)
        epoch, place = divmod(step, max(n // size, 1))
        order = torch.randperm(n, generator=torch.Generator().manual_seed(self.seed * 7919 + epoch))
        return self.rows[:, order[place * size : (place + 1) * size]]


def _converge(encoded: _Encoded, folds: Folds, step_size: float, seed: int) -> tuple[TrainerState, Schedule]:
    """Run the folds until the watching rows see nothing new, or to the end of the plan."""
    plan = plan_of(folds.train.shape[1], step_size)
    batches = _Batches(encoded, folds.train, seed)
    x, y = encoded.x[torch.from_numpy(folds.watched)], encoded.y[torch.from_numpy(folds.watched)]

    @torch.no_grad()
    def validate(weights: Params) -> float:
        logits = logit_of_mean(encoded.network.forward(weights, x))
        return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, y))

    return train(TrainerState.at_start(batches.start()), batches.gradient_at, plan, validate=validate), plan


def plan_of(n_train: int, step_size: float) -> Schedule:
    """The longest run for so many rows, and how often it is looked at."""
    n_steps = min(max(EPOCHS * _per_epoch(n_train), STEPS[0]), STEPS[1])
    every = n_steps // N_CHECKS
    return Schedule(
        n_steps, step_size, weight_decay=0.01, validate_every=every, patience=PATIENCE, warmup=5, averaging=0.9
    )


def _per_epoch(n_rows: int) -> int:
    return max(n_rows // BATCH, 1)


def _scorer(encoded: _Encoded, weights: Params) -> Callable[[pandas.DataFrame], FloatArray]:
    def score(features: pandas.DataFrame) -> FloatArray:
        x = torch.from_numpy(encoded.encoder.encode(features))
        return predict_logits(encoded.network, weights, x).double().numpy()

    return score
