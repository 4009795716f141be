"""Draw tasks from markets: a support set like a launch team would post it, and query rows to judge by.

Two sampling designs. ``random``: rows as they come. ``case_control``: a number of defaulters and ``GOODS_PER_DEFAULT``
times as many goods, with the prior correction for the market's true base rate as offset (King & Zeng 2001, Eq. 7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from meta.errors import InvalidEpisode
from meta.level import LevelPrior, fit_level, prior_correction
from meta.types import Episode, LabelledRows

Design = Literal["random", "case_control"]
GOODS_PER_DEFAULT = 4
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """Encoded rows of one market.

    Shapes:  x (n_rows, n_features) float32; y (n_rows,) 0/1; logits (n_rows,): theta's own at rest, which say where
             the market's level lies before anything adapts.
    """

    name: str
    x: NDArray[np.float32]
    y: FloatArray
    logits: FloatArray


@dataclass(frozen=True)
class Draw:
    """Row numbers of one task within its market."""

    market: Market
    support: NDArray[np.int64]
    query: NDArray[np.int64]
    design: Design


def draw_support(y: FloatArray, design: Design, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose support rows: ``size`` rows at random, or ``size`` defaulters and four goods each.

    Raises:  InvalidEpisode: the market has too few rows of a kind.
    """
    if design == "random":
        pools, counts = [np.arange(len(y))], [size]
    else:
        pools, counts = [np.flatnonzero(y == 1), np.flatnonzero(y == 0)], [size, GOODS_PER_DEFAULT * size]
    for pool, count in zip(pools, counts, strict=True):
        if len(pool) < count:
            raise InvalidEpisode(f"a {design} support of {size} needs {count} rows, the market has {len(pool)}")
    return np.concatenate([rng.choice(pool, count, replace=False) for pool, count in zip(pools, counts, strict=True)])


@dataclass(frozen=True)
class EpisodeSampler:
    """Seeded meta-batches from source markets; batch number ``step`` is the same whenever it is asked for.

    ``supports`` lists the (design, size) that episodes are drawn with; all tasks of a meta-batch share one of them.
    """

    markets: Sequence[Market]
    supports: Sequence[tuple[Design, int]]
    n_tasks: int
    n_query: int
    level_prior: LevelPrior
    seed: int

    @staticmethod
    def n_able(markets: Sequence[Market], support: tuple[Design, int], n_query: int = 0) -> int:
        """Count the markets that have the rows for such a support and some query rows besides, ``n_query`` or more."""
        design, size = support
        n_support = size if design == "random" else (1 + GOODS_PER_DEFAULT) * size
        return sum(_rows_needed(m, *support) <= 0 and len(m.y) >= n_support + n_query for m in markets)

    def draw(self, step: int) -> Episode:
        """Draw meta-batch ``step``: x (n_tasks, n_rows, n_features), padded where a market is short of query rows."""
        rng = np.random.default_rng([self.seed, step])
        design, size = self.supports[int(rng.integers(len(self.supports)))]
        able = [m for m in self.markets if _rows_needed(m, design, size) <= 0]
        if not able:
            raise InvalidEpisode(f"no source market has the rows for a {design} support of {size}")
        chosen = rng.choice(len(able), self.n_tasks, replace=len(able) < self.n_tasks)
        return self.assemble([self._draw_task(able[i], design, size, rng) for i in chosen])

    def _draw_task(self, market: Market, design: Design, size: int, rng: np.random.Generator) -> Draw:
        support = draw_support(market.y, design, size, rng)
        others = np.setdiff1d(np.arange(len(market.y)), support)
        query = rng.choice(others, min(self.n_query, len(others)), replace=False)
        return Draw(market, support, query, design)

    def assemble(self, draws: Sequence[Draw]) -> Episode:
        """Stack tasks, with the level that each support suggests as the offset of its support and query rows."""
        levels = [self._level(draw) for draw in draws]
        corrections = [_correction(draw) for draw in draws]
        offsets = [level + c for level, c in zip(levels, corrections, strict=True)]
        support = stack([(d.market.x[d.support], d.market.y[d.support]) for d in draws], offsets)
        query = stack([(d.market.x[d.query], d.market.y[d.query]) for d in draws], levels)
        return Episode(support, query)

    def _level(self, draw: Draw) -> float:
        y, logits = draw.market.y[draw.support], draw.market.logits[draw.support]
        prior = self.level_prior
        if draw.design == "case_control":
            prior = prior.given_base_rate(float(draw.market.y.mean()))
        return fit_level(logits + _correction(draw), y, prior.mean, prior.sd)


def stack(tasks: Sequence[tuple[NDArray[np.float32], FloatArray]], offsets: Sequence[float]) -> LabelledRows:
    """Pad tasks (x, y) to the longest and stack them; offsets: one number per task."""
    longest = max(len(y) for _, y in tasks)
    x = torch.zeros(len(tasks), longest, tasks[0][0].shape[1])
    y, mask = torch.zeros(len(tasks), longest), torch.zeros(len(tasks), longest)
    for row, (task_x, task_y) in enumerate(tasks):
        x[row, : len(task_y)] = torch.from_numpy(np.ascontiguousarray(task_x))
        y[row, : len(task_y)] = torch.from_numpy(task_y)
        mask[row, : len(task_y)] = 1.0
    offset = torch.tensor(list(offsets), dtype=torch.float32).unsqueeze(-1).expand(len(tasks), longest)
    return LabelledRows(x, y, mask, offset)


def _correction(draw: Draw) -> float:
    if draw.design == "random":
        return 0.0
    return prior_correction(float(draw.market.y[draw.support].mean()), float(draw.market.y.mean()))


def _rows_needed(market: Market, design: Design, size: int) -> int:
    """Rows that the market lacks for such a support with at least half as many query rows left; <= 0 if none."""
    if design == "random":
        return size + size // 2 + 1 - len(market.y)
    n_defaults = int(market.y.sum())
    return max(2 * size - n_defaults, 2 * GOODS_PER_DEFAULT * size - (len(market.y) - n_defaults))
