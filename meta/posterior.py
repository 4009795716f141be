"""How sure a market's model is: a normal posterior of its level and effects, from which every PD gets an interval.

Source: Laplace approximation, Tierney & Kadane 1986. Deviations: the network's own weights are held fixed; how exactly
theta itself is known enters as one spread, ``EffectsPrior.theta_sd``, common to all accounts.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from meta.effects import EffectsPrior

FloatArray = NDArray[np.float64]
REACH = float(norm.ppf(0.95))  # a 90 % interval


@dataclass(frozen=True)
class Posterior:
    """Covariance of (level, scale, slopes) as root @ root.T, k = 2 + n_slopes.

    Shapes:  root (k, k), float32, lower or upper: only the product matters.
    """

    prior: EffectsPrior
    root: NDArray[np.float32]

    @classmethod
    def before_rows(cls, prior: EffectsPrior, level_sd: float) -> "Posterior":
        """What is known of a market that has posted nothing: the spread of source markets."""
        return cls(prior, np.diag(np.concatenate([[level_sd], prior.likely_sds])).astype(np.float32))

    @classmethod
    def after_rows(
        cls,
        prior: EffectsPrior,
        level_sd: float,
        network_logits: FloatArray,
        x: NDArray[np.float32],
        logits: FloatArray,
    ) -> "Posterior":
        """Condition on labelled rows x (n_rows, n_features), at their fitted ``logits`` (n_rows,), selection included.

        network_logits (n_rows,): the network's own, which the scale multiplies.
        """
        sds = np.concatenate([[level_sd], prior.likely_sds])
        white = directions(prior, network_logits, x) * sds
        pd = 1.0 / (1.0 + np.exp(-logits))
        precision = (white.T * (pd * (1.0 - pd))) @ white + np.eye(len(sds))
        # precision = L L^T, so its inverse is (L^-1)^T (L^-1)
        inverse = np.linalg.inv(np.linalg.cholesky(precision))
        return cls(prior, (sds[:, None] * inverse.T).astype(np.float32))

    def kept(self, share: float, level_sd: float) -> "Posterior":
        """The same, where only a ``share`` of the move to the most probable effects was kept.

        What was held back is as far off as rows move effects on average: the variance that they take from the prior,
        times the square of the share held back. level_sd: the level's, given rows, with effects left as theta's.
        """
        held_back = (1.0 - share) ** 2
        unmoved = np.diag(np.concatenate([[level_sd], self.prior.likely_sds]))
        wide = [np.sqrt(1.0 - held_back) * self.root.astype(np.float64), np.sqrt(held_back) * unmoved]
        return self._of(np.concatenate(wide, axis=1))

    def beside(self, withheld: float) -> "Posterior":
        """The same, around a level that caution moved less far than is most probable, by ``withheld`` logits.

        The squared distance joins the level's variance: what an estimate misses by, bias and all.
        """
        more = np.zeros((len(self.root), 1))
        more[0] = withheld
        return self._of(np.concatenate([self.root.astype(np.float64), more], axis=1))

    def _of(self, wide: FloatArray) -> "Posterior":
        """The posterior whose covariance is wide @ wide.T, wide (k, at least k)."""
        _, square = np.linalg.qr(wide.T)
        return Posterior(self.prior, square.T.astype(np.float32))

    @property
    def level_sd(self) -> float:
        """Posterior standard deviation of the level, in logits."""
        return float(np.linalg.norm(self.root[0].astype(np.float64)))

    def interval(
        self, network_logits: FloatArray, x: NDArray[np.float32], logits: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Ends (n_rows,) of the 90 % interval of each row's logit, ``logits`` being served."""
        return self.interval_around(logits, self.logit_sd(network_logits, x))

    def interval_around(
        self, logits: FloatArray, market_sd: FloatArray, missing_sd: FloatArray | float = 0.0
    ) -> tuple[FloatArray, FloatArray]:
        """The same, once it is known how far each row's logit depends on the market, ``market_sd`` (n_rows,).

        missing_sd (n_rows,): standard deviation of the logit over what missing values may be; ``logits`` is its mean.

        A served PD is an average over what the market may be, and an average of PDs lies nearer to a half than the PD
        of the average logit: the interval is centred further away from a half than the served PD.
        Source:  MacKay 1992, Neural Computation 4(5), section 3, for the mean of a logit-normal PD, here solved for
                 its center.
        """
        center = logits * np.sqrt(1.0 + np.pi * market_sd**2 / 8.0)
        reach = REACH * np.sqrt(market_sd**2 + self.prior.theta_sd**2 + missing_sd**2)
        return center - reach, center + reach

    def logit_sd(self, network_logits: FloatArray, x: NDArray[np.float32]) -> FloatArray:
        """Standard deviation (n_rows,) of each row's logit as far as the market's level and effects are uncertain.

        Each row's has the same bits alone and in any batch.
        """
        along = directions(self.prior, network_logits, x)[:, None, :]
        spread = np.matmul(along, self.root.astype(np.float64))[:, 0, :]
        found: FloatArray = np.sqrt((spread**2).sum(axis=1))
        return found

    def mean_pd_sd(self, network_logits: FloatArray, x: NDArray[np.float32], logits: FloatArray) -> float:
        """Standard deviation of the logit of the mean PD over rows; what accounts do not share cancels out."""
        pd = 1.0 / (1.0 + np.exp(-logits))
        weight = pd * (1.0 - pd)
        along = (directions(self.prior, network_logits, x) * (weight / weight.sum())[:, None]).sum(axis=0)
        slope = float(weight.mean() / (pd.mean() * (1.0 - pd.mean())))
        return slope * math.sqrt(float(((along @ self.root.astype(np.float64)) ** 2).sum()))


def directions(prior: EffectsPrior, network_logits: FloatArray, x: NDArray[np.float32]) -> FloatArray:
    """What one unit of level and of each effect adds to a row's logit, (n_rows, 2 + n_slopes)."""
    return np.concatenate([np.ones((len(x), 1)), prior.directions(network_logits, x)], axis=1)
