"""A market's intercept under a prior learned on the source markets: what turns a pooled model into a strong rival.

Written apart from ``meta.level`` on purpose: the rival must not inherit a weakness of what it is compared with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from benchmarks.few_shot.design import Posted, logit

FloatArray = NDArray[np.float64]
DECLARED_SD = 0.1  # logits; a declared rate is meant to about a tenth of itself
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


class MarketLevel:
    """Intercepts of one pooled model in one market, whose accounts' logits (n_rows,) it gave.

    With rows drawn at random: the mode under the learned prior. With a declared rate: the mode under a prior centred
    where the accounts' mean PD, for which no label is needed, is that rate; the support's logits are corrected for its
    selection.
    """

    def __init__(self, prior: InterceptPrior, logits: FloatArray) -> None:
        self.prior, self.logits = prior, logits
        self._centres: dict[float, float] = {}

    def given(self, posted: Posted) -> float:
        logits = self.logits[posted.support] + posted.correction
        return self.prior_given(posted).mode(logits, posted.y)

    def prior_given(self, posted: Posted) -> InterceptPrior:
        if posted.base_rate is None:
            return self.prior
        if posted.base_rate not in self._centres:
            self._centres[posted.base_rate] = intercept_at_rate(self.logits, posted.base_rate)
        return InterceptPrior(self._centres[posted.base_rate], DECLARED_SD)


def intercept_at_rate(logits: FloatArray, rate: float) -> float:
    """Intercept at which the mean PD of accounts with these logits (n_rows,) is ``rate``, by Newton's method."""
    intercept = logit(rate) - logit(float(expit(logits).mean()))
    for _ in range(100):
        pd = expit(logits + intercept)
        step = (rate - pd.mean()) / max(float((pd * (1 - pd)).mean()), 1e-12)
        intercept += float(np.clip(step, -1, 1))
        if abs(step) < 1e-10:
            break
    return intercept


def learn_prior(logits: FloatArray, y: FloatArray, market: Sequence[str] | NDArray[np.str_]) -> InterceptPrior:
    """Maximise the marginal likelihood of the markets' rows over mean and sd, each intercept integrated out.

    logits (n_rows,) must come from models that have not seen the row's market.
    """
    return prior_of(np.stack([*likelihoods(logits, y, market).values()]))


def likelihoods(logits: FloatArray, y: FloatArray, market: Sequence[str] | NDArray[np.str_]) -> dict[str, FloatArray]:
    """Log likelihood (n_grid,) of each market at every intercept of the grid, up to a constant."""
    market = np.asarray(market)
    return {str(m): _log_likelihood(logits[market == m], y[market == m]) for m in np.unique(market)}


def prior_of(curves: FloatArray) -> InterceptPrior:
    """The prior under which the markets' rows are likeliest; curves (n_markets, n_grid) from ``likelihoods``."""

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
