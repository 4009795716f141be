"""One held-out fold of source markets: what a backbone may learn from, what stops it, and what it is asked."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

from benchmarks.backbone.boosting import fit_signed
from benchmarks.backbone.measure import loss_at_level
from meta.distillation import N_FOLDS, columns_of, softened_labels
from meta.features import Encoder
from meta.source import SourceTable, assign_folds

FloatArray = NDArray[np.float64]
N_REPORTED = 3  # folds of markets, each predicted once
STOPPING_SHARE = 0.15  # of the rows that may be learned from


@dataclass(frozen=True)
class Part:
    """Rows of some markets: x (n_rows, n_features) encoded, y (n_rows,), market (n_rows,) names."""

    x: NDArray[np.float32]
    y: FloatArray
    market: NDArray[np.str_]

    def loss(self, logits: FloatArray) -> float:
        """Mean log loss of these rows under logits (n_rows,), each market once its level is fitted.

        The level is left out of what stops: among a few markets, one of an unusual level would choose the step at
        which the network's own level happens to be nearest to it.
        """
        of_market = [self.market == name for name in np.unique(self.market)]
        losses = [loss_at_level(logits[rows], self.y[rows]) for rows in of_market]
        return float(np.average(losses, weights=[rows.sum() for rows in of_market]))


@dataclass(frozen=True)
class Teaching:
    """A teacher's PDs (n_rows,) of the rows learned from, each market unseen by it, and what they cost."""

    pds: FloatArray
    seconds: float


@dataclass(frozen=True)
class Fold:
    """``learn`` is fitted, ``stop`` chooses steps, rounds or strength, ``asked`` (the reported markets) is predicted.

    Every backbone has the same three, so that none has looked at what is reported and none has had more rows.
    """

    number: int
    encoder: Encoder
    learn: Part
    stop: Part
    asked: Part
    signs: Mapping[str, int]
    seed: int

    @cached_property
    def monotonic(self) -> NDArray[np.int64]:
        """Declared direction of each column (n_columns,), 0 where there is none."""
        return np.array([self.signs.get(name, 0) for name in self.encoder.column_names])

    @cached_property
    def teacher(self) -> Teaching:
        """The product's teacher."""
        started = time.process_time()
        learn = self.learn
        pds = softened_labels(self.encoder, learn.x, learn.y, learn.market, 1.0, self.seed)
        return Teaching(pds, time.process_time() - started)

    @cached_property
    def signed_teacher(self) -> Teaching:
        """The same under monotone constraints."""
        started = time.process_time()
        columns, categorical = columns_of(self.encoder, self.learn.x)
        pds, y = np.empty(len(columns)), self.learn.y
        n_folds = min(N_FOLDS, len(np.unique(self.learn.market)))
        for train, unseen in GroupKFold(n_folds).split(columns, groups=self.learn.market):
            model: HistGradientBoostingClassifier = fit_signed(
                columns[train], y[train], categorical, self.monotonic, self.seed
            )
            pds[unseen] = model.predict_proba(columns[unseen])[:, 1]
        return Teaching(pds, time.process_time() - started)


def make_folds(table: SourceTable, signs: Mapping[str, int], seed: int) -> Iterator[Fold]:
    """Each fold of ``assign_folds`` is asked once; a few markets of the other two stop what is learned on the rest."""
    folds = assign_folds(table, N_REPORTED, seed)
    for number, asked in enumerate(folds):
        others = [name for fold in folds if fold is not asked for name in fold]
        sizes = {name: int((table.market == name).sum()) for name in others}
        stop = stopping_markets(sizes, STOPPING_SHARE, np.random.default_rng([seed, number]))
        learn = [name for name in others if name not in stop]
        learn_part, stop_part, asked_part = (_part(table, names) for names in (learn, stop, asked))
        yield Fold(number, table.encoder, learn_part, stop_part, asked_part, signs, seed)


def stopping_markets(sizes: Mapping[str, int], share: float, rng: np.random.Generator) -> list[str]:
    """Markets in random order until they hold ``share`` of all rows; one that would bring twice as many is passed by.

    >>> stopping_markets({"a": 900, "b": 60, "c": 60}, 0.1, np.random.default_rng(0))
    ['c', 'b']
    """
    wanted = share * sum(sizes.values())
    chosen: list[str] = []
    for name in rng.permutation(sorted(sizes)).tolist():
        held = sum(sizes[other] for other in chosen)
        if held < wanted and held + sizes[name] <= 2 * wanted:
            chosen.append(name)
    return chosen


def _part(table: SourceTable, names: Sequence[str]) -> Part:
    rows = table.rows_of(names)
    return Part(table.x[rows], table.y[rows], table.market[rows])
