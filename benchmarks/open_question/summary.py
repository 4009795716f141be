"""From cells to answers: paired differences by bootstrap over judged markets and seeds, and where they end."""

from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray

from benchmarks.open_question.design import labels_of
from benchmarks.open_question.worlds import TOGETHER

FloatArray = NDArray[np.float64]
N_RESAMPLES = 4000


@dataclass(frozen=True)
class Estimate:
    """A mean over judged markets, each the mean over its seeds, with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n_markets: int

    @property
    def shown(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


def markets_of(cells: pandas.DataFrame) -> pandas.DataFrame:
    return cells[cells["target"] != TOGETHER]


def pooled_of(cells: pandas.DataFrame) -> pandas.DataFrame:
    return cells[cells["target"] == TOGETHER]


def complete(cells: pandas.DataFrame) -> pandas.DataFrame:
    """Leave out the sizes that only some markets have, so that means over markets are of the same ones."""
    counts = cells.groupby("size")["market"].nunique()
    return cells[cells["size"].map(counts) == cells["market"].nunique()]


def levels(cells: pandas.DataFrame, method: str, metric: str, same_markets: bool = False) -> dict[str, Estimate]:
    """The metric of a method at each size; ``same_markets``: as ``estimate``."""
    return _by_size(cells[cells["method"] == method].assign(value=lambda frame: frame[metric]), same_markets)


def differences(cells: pandas.DataFrame, method: str, other: str, metric: str) -> dict[str, Estimate]:
    """``method`` minus ``other`` at each size, paired on (market, seed)."""
    keys = ["market", "seed", "size"]
    two = [cells.loc[cells["method"] == name, [*keys, metric]] for name in (method, other)]
    paired = two[0].merge(two[1], on=keys, suffixes=("", "_other"))
    return _by_size(paired.assign(value=paired[metric] - paired[f"{metric}_other"]))


def _by_size(values: pandas.DataFrame, same_markets: bool = False) -> dict[str, Estimate]:
    found = {}
    for size in labels_of(values["size"].tolist()):
        table = values[values["size"] == size].pivot(index="market", columns="seed", values="value")
        found[size] = estimate(table.to_numpy(np.float64), same_markets)
    return found


def estimate(values: FloatArray, same_markets: bool = False) -> Estimate:
    """values (n_markets, n_seeds). Markets are resampled, and within each drawn market its seeds.

    same_markets, or one market alone: only seeds are, and the interval is for those markets' judged rows.
    """
    n_markets, n_seeds = values.shape
    rng = np.random.default_rng(0)
    markets = rng.integers(n_markets, size=(N_RESAMPLES, n_markets, 1))
    if same_markets:
        markets = np.broadcast_to(np.arange(n_markets)[:, None], markets.shape)
    seeds = rng.integers(n_seeds, size=(N_RESAMPLES, n_markets, n_seeds))
    low, high = np.quantile(values[markets, seeds].mean(axis=(1, 2)), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), n_markets)


def ends_at(gaps: dict[str, Estimate], margin: float = 0.0) -> str | None:
    """The size from which on a difference is no longer shown, or not above ``margin``; None: shown to the last.

    >>> far, near = Estimate(0.1, 0.05, 0.15, 4), Estimate(0.01, -0.01, 0.02, 4)
    >>> ends_at({"50": far, "200": near, "all": near}), ends_at({"50": near, "all": far})
    ('200', None)
    """
    found = None
    for size, gap in reversed(gaps.items()):
        if gap.shown and abs(gap.mean) > margin:
            break
        found = size
    return found


def reached_with(cells: pandas.DataFrame, method: str, loss: float, metric: str) -> str | None:
    """The smallest size at which the method's mean loss is at most ``loss``; None: at none."""
    for size, level in levels(cells, method, metric).items():
        if level.mean <= loss:
            return size
    return None


def mean_n(cells: pandas.DataFrame) -> dict[str, float]:
    """Rows learned from at each size, the mean over markets."""
    means = cells.groupby("size")["n"].mean()
    return {size: float(means[size]) for size in labels_of(cells["size"].tolist())}


def compute(cells: pandas.DataFrame) -> pandas.DataFrame:
    """Mean processor seconds by (method, size): of a fit, of choosing its settings, of what the world shares."""
    columns = ["seconds", "tuning_seconds", "shared_seconds", "capped"]
    means: pandas.DataFrame = cells.groupby(["method", "size"])[columns].mean()
    return means
