"""Pooled training of one network on a fold, by the product's own trainer."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.backbone.folds import Fold
from meta.level import logit
from meta.pooled import AbsenceTeacher, PooledRows, predict_logits
from meta.trainer import Schedule, TrainerState, train
from meta.types import Params

BATCH_SIZE = 512
# the default recipe's but for its 600 steps, which are often stopped half way: here the rate has come down by then
SCHEDULE = Schedule(300, 0.015, weight_decay=0.01, validate_every=50, patience=4, warmup=30, averaging=0.99)


def fit_network(
    network: Any, fold: Fold, targets: NDArray[np.float64], dropout: float, seed: int
) -> tuple[NDArray[np.float64], int]:
    """Logits of the asked rows (n_asked,) and the step that the stopping markets liked best.

    targets (n_rows,): what the rows learned from are taught as, labels or a teacher's PDs or a mixture.
    """
    x, y = torch.from_numpy(fold.learn.x), torch.from_numpy(targets).float()
    owner, absent = (torch.from_numpy(a) for a in (fold.encoder.column_of_slot, fold.encoder.absence_slots))
    draw = 1000 * seed + fold.number
    hider = AbsenceTeacher.from_rows(x, owner, absent)
    rows = PooledRows(x, y, network, hider, min(BATCH_SIZE, len(x)), dropout, draw, torch.device("cpu"))
    start: Params = network.init(torch.Generator().manual_seed(draw))
    start["head_b"] = start["head_b"] + logit(float(y.mean()))
    stop = torch.from_numpy(fold.stop.x)

    def validate(weights: Params) -> float:
        return fold.stop.loss(predict_logits(network, weights, stop).double().numpy())

    state = train(TrainerState.at_start(start), rows.gradient_at, SCHEDULE, validate=validate)
    logits = predict_logits(network, state.best, torch.from_numpy(fold.asked.x))
    return logits.double().numpy(), state.best_step
