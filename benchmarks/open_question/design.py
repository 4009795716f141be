"""Which rows are judged and which are learned from: the same for every contestant."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.few_shot.data import Rows

Positions = NDArray[np.int64]
ALL = "all"
BATCH = 128
MAX_WATCHED = 2000


@dataclass(frozen=True)
class Design:
    """Settings of the study.

    sizes: rows learned from, beside all; those above ``nearly_all`` of all are left out. The judged rows are drawn once
    a market, ``test_share`` of it and ``max_test`` rows at most: seeds draw samples, and what was chosen on the sample
    of one seed or target has then seen no row that is judged in another.
    """

    seed: int = 0
    sizes: tuple[int, ...] = (50, 200, 1000, 5000, 20_000)
    n_seeds: int = 5
    test_share: float = 0.33
    max_test: int = 4000
    nearly_all: float = 0.8


@dataclass(frozen=True)
class Sample:
    """``rows`` (n,): positions learned from. Of one seed, the larger samples begin with the smaller ones."""

    size: str
    seed: int
    rows: Positions


@dataclass(frozen=True)
class Folds:
    """What stops a fit: rows to train on (n_folds, n_train) and rows that watch (n_folds, n_watched), all positions."""

    train: Positions
    watched: Positions


def split_test(rows: Rows, design: Design) -> tuple[Positions, Positions]:
    """Positions (pool, test), disjoint. A market's judged rows are the same alone and among others.

    They have the market's own default rate, as nearly as can be.
    """
    test = np.zeros(len(rows), dtype=bool)
    for market in np.unique(rows.market):
        rng = np.random.default_rng([design.seed, zlib.crc32(str(market).encode())])
        inside = rows.market == market
        share = min(design.test_share, design.max_test / int(inside.sum()))
        for outcome in (0.0, 1.0):
            place = rng.permutation(np.flatnonzero(inside & (rows.y == outcome)))
            test[place[: round(share * len(place))]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def samples_of(pool: Positions, name: str, seed: int, design: Design) -> list[Sample]:
    """One seed's samples, drawn at random, in order of size; the last is the whole pool."""
    order = np.random.default_rng([design.seed, zlib.crc32(name.encode()), 1 + seed]).permutation(pool)
    sizes = [n for n in design.sizes if n <= design.nearly_all * len(pool)]
    return [Sample(str(n), seed, order[:n]) for n in sizes] + [Sample(ALL, seed, order)]


def folds_of(n: int) -> Folds:
    """Cut n shuffled rows into a quarter that watches (MAX_WATCHED rows at most) and the rest.

    Few rows are cut four times or twice, each time another quarter: a dozen rows would stop a fit at random.
    """
    n_watched = min(n // 4, MAX_WATCHED)
    n_folds = 4 if n <= 500 else 2 if n <= 2000 else 1
    watched = np.arange(n_folds * n_watched).reshape(n_folds, n_watched)
    train = np.stack([np.setdiff1d(np.arange(n), part) for part in watched])
    return Folds(train, watched)


def labels_of(sizes: Sequence[str]) -> list[str]:
    """Sizes in order, ``all`` last.

    >>> labels_of(["all", "1000", "50", "50"])
    ['50', '1000', 'all']
    """
    numbers = sorted({int(size) for size in sizes if size != ALL})
    return [*map(str, numbers), *([ALL] if ALL in set(sizes) else [])]
