"""A market's intercept under a prior learned on the source markets: what turns a pooled model into a strong rival.

Written apart from ``meta.level`` on purpose: the rival must not inherit a weakness of what it is compared with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

FloatArray = NDArray[np.float64]
GRID = np.linspace(-4.0, 4.0, 1601)  # logits; fine enough for a market of 20,000 rows


@dataclass(frozen=True)
class InterceptPrior:
    """Intercepts of markets are Normal(mean, sd), in logits."""

    mean: float
    sd: float

    def mode(self, logits: FloatArray, y: FloatArray) -> float:
        """Most probable intercept of a market given its rows (n_rows,), by Newton's method; ``mean`` without rows."""
        intercept = self.mean
        for _ in range(100):
            pd = expit(logits + intercept)
            gradient = (y - pd).sum() - (intercept - self.mean) / self.sd**2
            step = gradient / ((pd * (1 - pd)).sum() + 1 / self.sd**2)
            intercept += float(np.clip(step, -1, 1))  # the objective is concave: bounded steps arrive
            if abs(step) < 1e-10:
                break
        return intercept


def learn_prior(logits: FloatArray, y: FloatArray, market: Sequence[str] | NDArray[np.str_]) -> InterceptPrior:
    """Maximise the marginal likelihood of the markets' rows over mean and sd, each intercept integrated out.

    logits (n_rows,) must come from models that have not seen the row's market.
    """
    market = np.asarray(market)
    curves = np.stack([_log_likelihood(logits[market == m], y[market == m]) for m in np.unique(market)])

    def loss(parameters: FloatArray) -> float:
        mean, log_sd = parameters
        log_prior = -0.5 * ((GRID - mean) / np.exp(log_sd)) ** 2 - log_sd
        return -float(logsumexp(curves + log_prior, axis=1).sum())

    fit = minimize(loss, x0=[0.0, np.log(0.3)], method="Nelder-Mead", bounds=[(-2, 2), (np.log(0.02), np.log(3))])
    return InterceptPrior(float(fit.x[0]), float(np.exp(fit.x[1])))


def _log_likelihood(logits: FloatArray, y: FloatArray) -> FloatArray:
    """Log likelihood (n_grid,) of one market at every intercept of the grid, up to a constant."""
    total = np.zeros(len(GRID))
    for part in np.array_split(np.arange(len(y)), len(y) // 2000 + 1):
        moved = logits[part, None] + GRID
        total += (y[part, None] * moved - np.logaddexp(0, moved)).sum(axis=0)
    total -= total.max()
    return total
