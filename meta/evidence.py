"""What a support's own rows say of theta_prime, each judged by a model that has not seen it: the ladder.

theta, theta with the level alone moved, theta_prime, and a model of the market's rows alone, all on the same folds. The
in-sample loss is never among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from meta.adaptation import AdaptedMarket, MarketRows, adapt_markets, market_logits, market_prior
from meta.effects import most_probable_effects
from meta.intervals import auc_interval, mean_and_reach
from meta.metrics import auc
from meta.thetas import Theta

FloatArray = NDArray[np.float64]
N_FOLDS = 5
# Folds share most of their rows, and a fold's rows share a model: a mean over all is less sure than of rows apart.
# Source: Nadeau & Bengio 2003, Machine Learning 52(3), section 3: 1/n becomes (1 + n_folds / (n_folds - 1)) / n.
OVERLAP = (1.0 + N_FOLDS / (N_FOLDS - 1)) ** 0.5
INTERVAL = 0.9
SCRATCH_SD = 0.3  # logits a robust standard deviation: prior of a model of the market's own rows
SCRATCH_LEVEL_SD = 3.0
MIN_DEFAULTS_FOR_AUC = 50
LADDER = ("theta", "base_rate_only", "theta_prime", "scratch")


@dataclass(frozen=True)
class CrossFitted:
    """Logits (n_rows,) of every row by every rung of the ladder, made without that row's fold.

    Rows drawn by label are judged on their own scale: every rung's logits carry the same selection correction.
    """

    y: FloatArray
    logits: dict[str, FloatArray]
    diverged: bool

    def losses(self, rung: str) -> FloatArray:
        """Log loss (n_rows,) of each row."""
        found: FloatArray = np.logaddexp(0.0, self.logits[rung]) - self.y * self.logits[rung]
        return found

    def gains(self, rung: str = "theta_prime") -> FloatArray:
        """How much better than theta each row is predicted, (n_rows,)."""
        found: FloatArray = self.losses("theta") - self.losses(rung)
        return found

    def gain(self, rung: str = "theta_prime") -> tuple[float, float]:
        """Mean gain of a rung on theta an account, and half the width of its interval."""
        mean, reach = mean_and_reach(self.gains(rung), INTERVAL)
        return mean, OVERLAP * reach

    def worse(self, rung: str = "theta_prime") -> float:
        """How probable a mean gain as low as this is where a rung is as good as theta: one-sided, by Student's t."""
        gains = self.gains(rung)
        error = OVERLAP * float(gains.std(ddof=1)) / len(gains) ** 0.5
        return float(student_t.cdf(gains.mean() / error, len(gains) - 1)) if error > 0 else 1.0

    def report(self) -> dict[str, Any]:
        """The ladder, each rung's gain on theta with an interval; so its AUC, only where there are defaults enough."""
        rungs = {rung: self._rung(rung) for rung in LADDER}
        return {"n_folds": N_FOLDS, "interval": INTERVAL, "unit": "log loss an account, in nats", **rungs}

    def _rung(self, rung: str) -> dict[str, Any]:
        found: dict[str, Any] = {"log_loss": float(self.losses(rung).mean())}
        if rung != "theta":
            mean, reach = self.gain(rung)
            found["gain"] = {"mean": mean, "low": mean - reach, "high": mean + reach}
        if MIN_DEFAULTS_FOR_AUC <= self.y.sum() <= len(self.y) - 2:  # of a single good no spread can be told
            found["auc"] = auc(self.y, self.logits[rung])
            found["auc_low"], found["auc_high"] = auc_interval(self.y, self.logits[rung], INTERVAL)
        return found


def cross_fit(
    theta: Theta, rows: MarketRows, seed: int, inner_steps: int | None, minimum_defaults: int
) -> CrossFitted | None:
    """Adapt on four fifths of the rows and predict the fifth left out, five times over; None below five rows."""
    if len(rows.y) < N_FOLDS:
        return None
    folds = _stratified_folds(rows.y, seed)
    parts = [rows.without(fold) for fold in folds]
    # a fold takes defaults away; the rule on their number is that of the whole support
    minimum = minimum_defaults
    if rows.y.sum() >= minimum_defaults:
        minimum = min(minimum, max(1, min(int(part.y.sum()) for part in parts)))
    adapted = adapt_markets(theta, parts, inner_steps=inner_steps, minimum_defaults=minimum)
    logits = {rung: np.empty(len(rows.y)) for rung in LADDER}
    rest = market_logits(theta.learner(), theta.learner().at_rest(theta.params), rows.x)
    prior = market_prior(theta.level_prior, rows, rest)
    logits["theta"] = rest + prior.mean + rows.correction
    for fold, part, moved in zip(folds, parts, adapted, strict=True):
        logits["theta_prime"][fold] = _logits_of(theta, moved, rows.x[fold]) + rows.correction
        others = np.setdiff1d(np.arange(len(rows.y)), fold)
        level = prior.level_given(rest[others] + part.correction, part.y)
        logits["base_rate_only"][fold] = rest[fold] + level + rows.correction
        logits["scratch"][fold] = _scratch_logits(theta, part, rows.x[fold])
    return CrossFitted(rows.y, logits, any(result.diverged for result in adapted))


def _logits_of(theta: Theta, adapted: AdaptedMarket, x: NDArray[np.float32]) -> FloatArray:
    found: FloatArray = market_logits(theta.learner(), adapted.theta_prime, x) + adapted.level
    return found


def _scratch_logits(theta: Theta, part: MarketRows, x: NDArray[np.float32]) -> FloatArray:
    """Ridge logistic regression on the part's own rows and the columns' main effects, on the rows' own scale."""
    effects = theta.effects
    along, ahead = (
        np.concatenate([np.ones((len(rows), 1)), rows[:, effects.slots] - effects.center], axis=1)
        for rows in (part.x, x)
    )
    sds = np.concatenate([[SCRATCH_LEVEL_SD], np.full(len(effects.slots), SCRATCH_SD)])
    rate = (part.y.sum() + 0.5) / (len(part.y) + 1.0)
    start = np.zeros(len(sds))
    start[0] = np.log(rate) - np.log1p(-rate)
    found: FloatArray = ahead @ most_probable_effects(along, part.y, np.zeros(len(part.y)), start, sds)
    return found


def _stratified_folds(y: FloatArray, seed: int) -> Sequence[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.flatnonzero(y == label)) for label in (1.0, 0.0)])
    return [np.sort(order[start::N_FOLDS]) for start in range(N_FOLDS)]
