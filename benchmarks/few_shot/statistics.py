"""From cells to claims: mean over draws within a market, then over markets; markets are what is resampled."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
HARM = 0.002  # log loss by which a market must be worse off than under theta to count as harmed
N_RESAMPLES = 10_000
SETTING = ["design", "size", "rate_factor"]
NOT_METRICS = ["world", "split", "draw"]


@dataclass(frozen=True)
class Difference:
    """Mean difference of a metric, ``method`` minus ``other``, over markets, with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n_markets: int


def market_means(cells: pandas.DataFrame, by_setting: bool) -> pandas.DataFrame:
    """Average draws within (method, market, setting), then settings within (method, market) unless ``by_setting``."""
    keys = ["method", "market", *SETTING]
    means = cells.drop(columns=NOT_METRICS).groupby(keys).mean().reset_index()
    return means if by_setting else means.drop(columns=SETTING).groupby(["method", "market"]).mean().reset_index()


def market_gaps(cells: pandas.DataFrame, method: str, other: str, metric: str) -> pandas.Series:
    """``method`` minus ``other`` a market, over the draws that both were run on, every setting weighing the same.

    A slow method with few draws is thus compared like with like.
    """
    two = cells[cells["method"].isin([method, other])]
    wide = two.pivot_table(index=["market", *SETTING, "draw"], columns="method", values=metric)
    wide = wide.reindex(columns=[method, other]).dropna()
    gaps = wide[method] - wide[other] if method != other else wide.iloc[:, 0] * 0.0
    return gaps.groupby(["market", *SETTING]).mean().groupby("market").mean()


def difference(cells: pandas.DataFrame, method: str, other: str, metric: str, seed: int = 0) -> Difference:
    """Paired difference over markets, each market's mean taken over draws and settings alike."""
    return resampled(market_gaps(cells, method, other, metric).to_numpy(), seed)


def resampled(gaps: FloatArray, seed: int = 0) -> Difference:
    """Mean of the markets' gaps (n_markets,) and its interval under resampling of markets."""
    if not len(gaps):
        return Difference(math.nan, math.nan, math.nan, 0)
    means = np.random.default_rng(seed).choice(gaps, (N_RESAMPLES, len(gaps))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps))


def harmed_share(cells: pandas.DataFrame, method: str, base: str, margin: float = HARM) -> float:
    """Share of markets whose mean log loss is more than ``margin`` above that under ``base``."""
    return float((market_gaps(cells, method, base, "log_loss") > margin).mean())


def worst_decile(gaps: FloatArray) -> float:
    """Mean gap (n_markets,) of the tenth of markets that is worst off; of one market where there are fewer than 20."""
    if not len(gaps):
        return math.nan
    return float(np.sort(gaps)[-math.ceil(len(gaps) / 10) :].mean())


def coverage(cells: pandas.DataFrame, method: str) -> tuple[float, float]:
    """Share of ranges that hold the market's default rate, and its standard error over markets; NaN without ranges."""
    of_method = cells[(cells["method"] == method) & cells["covered"].notna()]
    shares = of_method.groupby("market")["covered"].mean().to_numpy()
    if len(shares) < 2:
        return math.nan, math.nan
    return float(shares.mean()), float(shares.std(ddof=1) / math.sqrt(len(shares)))


def rehearsed_gaps(losses: Mapping[str, Sequence[float | None]], anchor: str) -> dict[str, float]:
    """Mean rehearsed log loss of each rival minus the anchor's, on the cells that both rehearsed (NaN elsewhere)."""
    table = {name: np.array(values, dtype=np.float64) for name, values in losses.items()}
    return {name: float(np.nanmean(values - table[anchor])) for name, values in table.items()}
