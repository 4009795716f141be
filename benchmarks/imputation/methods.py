"""Who takes part: ours, the published GAIN in both readings, and what practitioners use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.imputation.chained import fit_chained
from benchmarks.imputation.libraries import (
    fit_boosting,
    fit_extra_trees,
    fit_median,
    fit_neighbours,
    fit_ridge,
)
from benchmarks.imputation.miwae import fit_miwae
from meta.imputers import Layout
from meta.imputers.conditional_fit import fit_conditional, with_adversary
from meta.imputers.gain import GainSettings, fit_gain
from meta.imputers.typical import fit_typical

Fit = Callable[[Layout, NDArray[np.float64], int], Any]
ADVERSARY = 0.1
PAPER, REFERENCE = GainSettings("paper", falls_back=False), GainSettings("reference", falls_back=False)


@dataclass(frozen=True)
class Method:
    """A title, how it is fitted, and on how many seeds it is run; ``is_slow``: not where columns are many."""

    title: str
    fit: Fit
    n_seeds: int
    group: str
    is_slow: bool = False


METHODS: dict[str, Method] = {
    "mean": Method("Mean and shares", fit_typical, 5, "simple"),
    "median": Method("Median and shares", fit_median, 5, "simple"),
    "neighbours": Method("10 nearest neighbours (6,000 rows)", fit_neighbours, 5, "simple", is_slow=True),
    "ridge": Method("Chained BayesianRidge", fit_ridge, 5, "chained"),
    "extra_trees": Method("Chained ExtraTrees (6,000 rows)", fit_extra_trees, 5, "chained", is_slow=True),
    "boosting": Method("Chained histogram boosting (6,000 rows)", fit_boosting, 5, "chained", is_slow=True),
    "lightgbm": Method("Chained LightGBM, by column type", fit_chained, 5, "chained"),
    "gain_paper": Method(
        "GAIN, the paper's formulas", lambda layout, values, seed: fit_gain(layout, values, seed, PAPER), 5, "gan"
    ),
    "gain_reference": Method(
        "GAIN, the authors' program",
        lambda layout, values, seed: fit_gain(layout, values, seed, REFERENCE),
        5,
        "gan",
    ),
    "miwae": Method("MIWAE", fit_miwae, 5, "latent"),
    "conditional": Method("Conditional (ours)", fit_conditional, 5, "ours"),
    "conditional_adversary": Method(
        "Conditional with adversary",
        lambda layout, values, seed: fit_conditional(layout, values, seed, with_adversary(ADVERSARY)),
        1,
        "ours",
    ),
}
