"""A fixed world of card markets whose truth is known to the last coefficient, with the statistician's best answer to it.

Ten features, logistic, a base rate of 7 %; every market has its own level, coefficients and feature means. Since the
spread of coefficients is known, so is the best that any method can do on average: the posterior mode under it.
"""

from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray
from scipy.special import expit, logit

FloatArray = NDArray[np.float64]
MEAN = np.array([0.8, -0.6, 0.5, -0.4, 0.35, 0.3, -0.25, 0.2, 0.1, 0.0])  # of coefficients, a standard deviation each
CENTER = np.array([0.45, 31_000, 2.4, 80.0, 0.32, 1.6, 41.0, 3_200, 7.0, 12.0])
UNIT = np.array([0.18, 9_000, 1.1, 30.0, 0.09, 0.7, 9.0, 1_100, 2.5, 4.0])
NAMES = (
    "utilisation",
    "income",
    "inquiries",
    "months_at_address",
    "debt_to_income",
    "late_payments",
    "age",
    "limit",
    "open_accounts",
    "weekday",
)
STRONGEST = NAMES[0]
BASE_RATE = 0.07
LEVEL_SPREAD = 0.35
COVARIATE_SPREAD = 0.2
N_SOURCE, SOURCE_ROWS = 30, 1000


@dataclass(frozen=True)
class TrueMarket:
    """One market: standardised features z (n_rows, 10), true PDs and drawn outcomes (n_rows,), its own coefficients."""

    name: str
    z: FloatArray
    pd: FloatArray
    y: FloatArray
    intercept: float
    coefficients: FloatArray

    def features(self) -> pandas.DataFrame:
        """The features in units as they are posted."""
        return pandas.DataFrame(CENTER + UNIT * self.z, columns=list(NAMES))


def draw_market(name: str, spread: float, n_rows: int, rng: np.random.Generator) -> TrueMarket:
    """Draw a market whose coefficients are Normal(MEAN, spread^2)."""
    coefficients = MEAN + rng.normal(0.0, spread, len(MEAN))
    z = rng.normal(size=(n_rows, len(MEAN))) + rng.normal(0.0, COVARIATE_SPREAD, len(MEAN))
    rate = float(expit(logit(BASE_RATE) + rng.normal(0.0, LEVEL_SPREAD)))
    intercept = level_at_rate(z @ coefficients, rate)
    pd = expit(intercept + z @ coefficients)
    return TrueMarket(name, z, pd, (rng.random(n_rows) < pd).astype(np.float64), intercept, coefficients)


def draw_source(spread: float, seed: int) -> pandas.DataFrame:
    """The mature markets as source data: columns row_id, market, defaulted and the features."""
    rng = np.random.default_rng([seed, 1])
    markets = [draw_market(f"S{number:02d}", spread, SOURCE_ROWS, rng) for number in range(N_SOURCE)]
    frames = [m.features().assign(market=m.name, defaulted=m.y == 1.0) for m in markets]
    frame = pandas.concat(frames, ignore_index=True)
    return frame.assign(row_id=np.arange(len(frame)))


def draw_new_markets(spread: float, n_markets: int, n_rows: int, seed: int) -> list[TrueMarket]:
    """Markets that no source row is of."""
    rng = np.random.default_rng([seed, 2])
    return [draw_market(f"N{number:02d}", spread, n_rows, rng) for number in range(n_markets)]


def level_at_rate(score: FloatArray, rate: float) -> float:
    """The intercept at which the mean PD over ``score`` (n_rows,) is ``rate``, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(score + middle).mean() < rate else (low, middle)
    return low


def best_possible(
    market: TrueMarket, support: NDArray[np.int64], spread: float, rate: float, correction: float
) -> tuple[FloatArray, FloatArray]:
    """Logits (n_rows,) of the posterior mode under the true prior, and of the prior's mean, at a known rate.

    The intercept of either is set so that the mean PD over the market is ``rate``; the yardstick sees features and
    coefficients as they were drawn, which no method here does.
    """
    z, y = market.z[support], market.y[support]
    start = level_at_rate(market.z @ MEAN, rate)
    found, level = MEAN.copy(), start
    for _ in range(30):
        pd = expit(z @ found + level + correction)
        weight = np.diag(pd * (1 - pd))
        slope = z.T @ (y - pd) - (found - MEAN) / spread**2
        found = found + np.linalg.solve(z.T @ weight @ z + np.eye(len(MEAN)) / spread**2, slope)
        level = level_at_rate(market.z @ found, rate)
    return market.z @ found + level, market.z @ MEAN + start
