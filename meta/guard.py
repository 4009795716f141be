"""Should this theta_prime serve? Judged on rows that did not make it: the in-sample support loss is no evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from meta.adaptation import MarketRows, adapt_markets, market_logits
from meta.level import LevelPrior
from meta.thetas import Theta

FloatArray = NDArray[np.float64]
Verdict = Literal["activate", "hold", "refuse"]
N_FOLDS = 5


@dataclass(frozen=True)
class Judgement:
    """verdict; reasons in words; cross_fitted: losses of theta and theta_prime with the gain's 90 % interval."""

    verdict: Verdict
    reasons: Sequence[str]
    cross_fitted: dict[str, Any] | None


def judge(theta: Theta, rows: MarketRows, seed: int, inner_steps: int | None, minimum_defaults: int) -> Judgement:
    """Cross-fit: adapt on four fifths of the support, compare with theta on the fifth left out, five times over.

    Losses of a label-selected support are taken on its own scale, theta and theta_prime corrected alike.
    """
    if len(rows.y) < N_FOLDS:
        return Judgement("hold", [f"only {len(rows.y)} usable rows: nothing can be judged"], None)
    theta_losses, prime_losses, diverged = _cross_fitted_losses(theta, rows, seed, inner_steps, minimum_defaults)
    gains = theta_losses - prime_losses
    mean, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    reach = error * float(student_t.ppf(0.95, len(gains) - 1))  # few rows know their own spread badly
    cross_fitted = {
        "n_folds": N_FOLDS,
        "theta": {"log_loss": float(theta_losses.mean())},
        "theta_prime": {"log_loss": float(prime_losses.mean())},
        "gain": {"mean": mean, "low": mean - reach, "high": mean + reach, "interval": 0.9},
    }
    if diverged:
        return Judgement("refuse", ["the inner loop diverged on this support: its steps are too long"], cross_fitted)
    verdict, reasons = _verdict(mean, error, reach, int(rows.y.sum()), minimum_defaults)
    return Judgement(verdict, reasons, cross_fitted)


def _verdict(mean: float, error: float, reach: float, n_defaults: int, minimum: int) -> tuple[Verdict, list[str]]:
    """Refuse what is surely worse than theta, hold what is probably worse; ``reach``: half of the interval."""
    reasons = []
    if n_defaults < minimum:
        reasons.append(f"{n_defaults} defaults, fewer than {minimum}: the ranking stays theta's, only the level moved")
    interval = f"cross-fitted gain {mean:.4f} log loss a row, 90 % interval {mean - reach:.4f} to {mean + reach:.4f}"
    if mean < -reach:
        return "refuse", [*reasons, f"theta_prime is worse than theta on rows it has not seen: {interval}"]
    if mean < -error:
        return "hold", [*reasons, f"theta_prime looks worse than theta on rows it has not seen: {interval}"]
    return "activate", [*reasons, f"nothing speaks against theta_prime: {interval}"]


def _cross_fitted_losses(
    theta: Theta, rows: MarketRows, seed: int, inner_steps: int | None, minimum_defaults: int
) -> tuple[FloatArray, FloatArray, bool]:
    folds = _stratified_folds(rows.y, seed)
    parts = [rows.without(fold) for fold in folds]
    # a fold takes defaults away; the rule on their number is that of the whole support
    defaults_left = max(int(part.y.sum()) for part in parts)
    adapted = adapt_markets(
        theta, parts, inner_steps=inner_steps, minimum_defaults=min(minimum_defaults, max(defaults_left, 1))
    )
    learner = theta.learner()
    rest = market_logits(learner, learner.at_rest(theta.params), rows.x)
    rest += _prior_level(theta.level_prior, rows) + rows.correction
    moved = np.empty(len(rows.y))
    for fold, part, result in zip(folds, parts, adapted, strict=True):
        moved[fold] = market_logits(learner, result.theta_prime, rows.x[fold]) + result.level + part.correction
    return _row_losses(rest, rows.y), _row_losses(moved, rows.y), any(result.diverged for result in adapted)


def _prior_level(prior: LevelPrior, rows: MarketRows) -> float:
    declared = rows.declared
    return (prior.given_base_rate(declared.value) if declared else prior).mean


def _stratified_folds(y: FloatArray, seed: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(np.flatnonzero(y == label)) for label in (1.0, 0.0)])
    return [np.sort(order[start::N_FOLDS]) for start in range(N_FOLDS)]


def _row_losses(logits: FloatArray, y: FloatArray) -> FloatArray:
    losses: FloatArray = np.logaddexp(0.0, logits) - y * logits
    return losses
