"""Synthetic card portfolios whose truth is known: markets with base-rate, coefficient, covariate and missingness shift.

For demos without a download and for tests: every account's true PD is returned beside its label.
"""

from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray

from meta.errors import InvalidRecipe
from meta.level import logit
from meta.types import Column

FloatArray = NDArray[np.float64]

NUMERIC = ("utilisation", "income", "months_at_address", "inquiries_6m", "open_accounts", "limit", "age", "dti")
CATEGORICAL = {"employment": ("employed", "self_employed", "student", "retired"), "channel": ("branch", "web", "app")}
COLUMNS: tuple[Column, ...] = (
    *(Column(name, "numeric") for name in NUMERIC),
    *(Column(name, "categorical", categories) for name, categories in CATEGORICAL.items()),
)


@dataclass(frozen=True)
class PortfolioSettings:
    """What varies between markets; spreads are standard deviations over markets.

    base_rate: the portfolio's default rate, a share; level_spread: of a market's level, in logits;
    coefficient_spread: of each coefficient; covariate_spread: of each feature's mean, in its own standard deviations;
    missing_share, missing_spread: a market's share of missing numeric cells, uniform within spread.
    """

    n_markets: int = 30
    rows_per_market: int = 1000
    base_rate: float = 0.07
    level_spread: float = 0.35
    coefficient_spread: float = 0.25
    covariate_spread: float = 0.3
    missing_share: float = 0.05
    missing_spread: float = 0.04

    def __post_init__(self) -> None:
        if self.n_markets < 1 or self.rows_per_market < 1 or not 0 < self.base_rate < 1:
            raise InvalidRecipe("n_markets and rows_per_market must be >= 1 and base_rate between 0 and 1")
        if not 0 <= self.missing_share - self.missing_spread <= self.missing_share + self.missing_spread < 1:
            raise InvalidRecipe("missing_share +- missing_spread must stay within [0, 1)")


def make_portfolio(settings: PortfolioSettings, seed: int) -> pandas.DataFrame:
    """Draw a portfolio: one row an account, columns ``market``, ``issued``, ``defaulted``, ``true_pd`` and COLUMNS.

    ``issued`` is YYYY-MM-DD, ascending within a market. Numeric units are those of real files (income in currency a
    year, shares as fractions), categories are strings, None or NaN is missing. Equal seeds give equal frames.
    """
    rng = np.random.default_rng(seed)
    shared = rng.normal(0.0, 0.45, len(NUMERIC))
    shared_categories = {name: rng.normal(0.0, 0.35, len(known)) for name, known in CATEGORICAL.items()}
    frames = [
        _make_market(f"M{number:02d}", settings, shared, shared_categories, np.random.default_rng([seed, number]))
        for number in range(settings.n_markets)
    ]
    return pandas.concat(frames, ignore_index=True)


def _make_market(
    name: str,
    settings: PortfolioSettings,
    shared: FloatArray,
    shared_categories: dict[str, FloatArray],
    rng: np.random.Generator,
) -> pandas.DataFrame:
    n = settings.rows_per_market
    z = rng.normal(size=(n, len(NUMERIC))) + rng.normal(0.0, settings.covariate_spread, len(NUMERIC))
    own = shared + rng.normal(0.0, settings.coefficient_spread, len(shared))
    score = z @ own + 0.35 * z[:, 0] * z[:, 7] - 0.25 * np.maximum(z[:, 1], 0.0) ** 1.5
    frame: dict[str, object] = {"market": name, "issued": _dates(n)}
    for column, effects in shared_categories.items():
        shares = rng.dirichlet(np.full(len(effects), 4.0))
        codes = rng.choice(len(effects), n, p=shares)
        score = score + effects[codes]
        frame[column] = np.array(CATEGORICAL[column], dtype=object)[codes]
    target = 1.0 / (1.0 + np.exp(-(logit(settings.base_rate) + rng.normal(0.0, settings.level_spread))))
    true_pd = _at_rate(score, float(target))
    missing = rng.random((n, len(NUMERIC))) < settings.missing_share + rng.uniform(-1, 1) * settings.missing_spread
    frame |= {column: np.where(missing[:, j], np.nan, _in_units(column, z[:, j])) for j, column in enumerate(NUMERIC)}
    frame["defaulted"] = rng.random(n) < true_pd
    frame["true_pd"] = true_pd
    return pandas.DataFrame(frame)


def _at_rate(score: FloatArray, rate: float) -> FloatArray:
    """Shift scores so that their mean PD is ``rate``."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        too_low = (1.0 / (1.0 + np.exp(-(score + middle)))).mean() < rate
        low, high = (middle, high) if too_low else (low, middle)
    pd: FloatArray = 1.0 / (1.0 + np.exp(-(score + low)))
    return pd


def _in_units(column: str, z: FloatArray) -> FloatArray:
    """Standard normal -> the column's own unit."""
    units = {
        "utilisation": lambda v: np.round(1.0 / (1.0 + np.exp(-v)), 3),
        "income": lambda v: np.round(np.exp(10.3 + 0.5 * v), 0),
        "months_at_address": lambda v: np.round(np.exp(3.5 + 0.9 * v), 0),
        "inquiries_6m": lambda v: np.floor(np.maximum(1.0 + 1.3 * v, 0.0)),
        "open_accounts": lambda v: np.floor(np.maximum(6.0 + 3.0 * v, 0.0)),
        "limit": lambda v: np.round(np.exp(8.0 + 0.7 * v), -2),
        "age": lambda v: np.round(np.clip(42.0 + 12.0 * v, 18.0, 95.0), 0),
        "dti": lambda v: np.round(np.clip(0.3 + 0.12 * v, 0.0, 1.5), 3),
    }
    values: FloatArray = units[column](z)
    return values


def _dates(n: int) -> list[str]:
    """Spread n accounts evenly over two years."""
    start = np.datetime64("2023-01-01")
    return [str(start + np.timedelta64(int(730 * i / n), "D")) for i in range(n)]
