"""Worlds of the study: a few large target markets, and the other markets, on whose rows every start is learned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from numpy.typing import NDArray

from benchmarks.few_shot.data import DATASETS, Rows, load
from meta.synthetic import CATEGORICAL, NUMERIC, PortfolioSettings, make_portfolio

FloatArray = NDArray[np.float64]
TOGETHER = "pooled"
N_TARGETS = 4  # of real worlds: the largest markets


@dataclass(frozen=True)
class Target:
    """Rows that models are built for: one market's, or those of all target markets together (named TOGETHER).

    Shapes:  true_pd (n_rows,); None where only outcomes are known.
    """

    name: str
    rows: Rows
    true_pd: FloatArray | None = None


@dataclass(frozen=True)
class World:
    """No row of a target is among the source's; TOGETHER, where it is one, holds the rows of all the others."""

    name: str
    source: Rows
    targets: Mapping[str, Target]


@dataclass(frozen=True)
class Portfolio:
    """How a world is made: ``read`` gives it from the folder of data files and a seed. ``read`` raises DataNotFound."""

    title: str
    read: Callable[[Path, int], World]


def cut(name: str, rows: Rows, n_targets: int, true_pd: FloatArray | None = None, together: bool = True) -> World:
    """Take the largest markets as targets, ties by name, and their rows ``together``. true_pd (n_rows,)."""
    names, counts = np.unique(rows.market, return_counts=True)
    largest = [str(market) for market in names[np.argsort(-counts, kind="stable")][:n_targets]]
    targets = {}
    members = {market: [market] for market in largest} | ({TOGETHER: largest} if together else {})
    for target, markets in members.items():
        inside = np.isin(rows.market, markets)
        targets[target] = Target(target, rows.at(inside), None if true_pd is None else true_pd[inside])
    return World(name, rows.at(~np.isin(rows.market, largest)), targets)


def _real(name: str, n_targets: int) -> Callable[[Path, int], World]:
    return lambda folder, seed: cut(name, load(DATASETS[name], folder), n_targets)


def synthetic_world(
    seed: int,
    n_targets: int = 2,
    target_rows: int = 25_000,
    n_source: int = 30,
    source_rows: int = 1000,
    together: bool = False,
) -> World:
    """The synthetic portfolio of ``meta``: large markets beside mature ones of usual size, all of one population.

    A market has rows in plenty here, so that nothing is learned by putting them together.
    """
    large = make_portfolio(PortfolioSettings(n_targets, target_rows), seed)
    # a market's number seeds its rows: those that the large ones have taken are left out of the others
    others = make_portfolio(PortfolioSettings(n_targets + n_source, source_rows), seed)
    others = others[~others["market"].isin(large["market"].unique())]
    frame = pandas.concat([large, others], ignore_index=True)
    features = frame[[*NUMERIC, *CATEGORICAL]]
    rows = Rows(features, frame["defaulted"].to_numpy(np.float64), frame["market"].to_numpy(dtype=str))
    return cut("synthetic", rows, n_targets, frame["true_pd"].to_numpy(np.float64), together)


WORLDS = {
    "lendingclub_states": Portfolio("Lending Club, US states", _real("lendingclub_states", N_TARGETS)),
    "sba_states": Portfolio("SBA, US states", _real("sba_states", N_TARGETS)),
    "synthetic": Portfolio("Synthetic portfolio", lambda folder, seed: synthetic_world(seed)),
}
