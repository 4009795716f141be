"""From cells to claims: mean over draws within a market, then over markets; markets are what is resampled."""

from dataclasses import dataclass

import numpy as np
import pandas

HARM = 0.002  # log loss by which a market must be worse off than under theta to count as harmed
N_RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """Mean difference of a metric, ``method`` minus ``other``, over markets, with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    n_markets: int


def market_means(cells: pandas.DataFrame, by_n: bool) -> pandas.DataFrame:
    """Average draws within (method, market, n), then n within (method, market) unless ``by_n``."""
    keys = ["method", "market", "n_support"]
    means = cells.drop(columns=["world", "split", "draw"]).groupby(keys).mean().reset_index()
    return means if by_n else means.drop(columns="n_support").groupby(["method", "market"]).mean().reset_index()


def on_common_draws(cells: pandas.DataFrame, method: str, other: str) -> pandas.DataFrame:
    """Cells of two methods that both were run on, so that a slow method with few draws is compared like with like."""
    key = ["market", "n_support", "draw"]
    two = cells[cells["method"].isin([method, other])]
    return two[two.groupby(key)["method"].transform("nunique") == len({method, other})]


def difference(cells: pandas.DataFrame, method: str, other: str, metric: str, seed: int = 0) -> Difference:
    """Paired difference over markets, each market's mean taken over draws and n alike."""
    common = market_means(on_common_draws(cells, method, other), by_n=False)
    wide = common.pivot(index="market", columns="method", values=metric)
    gaps = (wide[method] - wide[other]).to_numpy()
    resampled = np.random.default_rng(seed).choice(gaps, (N_RESAMPLES, len(gaps))).mean(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps))


def harmed_share(cells: pandas.DataFrame, method: str, base: str, margin: float = HARM) -> float:
    """Share of markets whose mean log loss is more than ``margin`` above that under ``base``."""
    common = market_means(on_common_draws(cells, method, base), by_n=False)
    wide = common.pivot(index="market", columns="method", values="log_loss")
    return float((wide[method] - wide[base] > margin).mean())
