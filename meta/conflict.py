"""Do a support's labels contradict what theta knows? Tests against what honest markets would post.

An honest market is theta's ranking with effects drawn as source markets' are spread. How probable labels are there,
levels and effects integrated out, is compared with how probable they are if labels were shuffled, or if a column had
another sign: the ratio is the most powerful test against that one fault (Neyman & Pearson).
How large a ratio honest markets reach is seen in labels drawn from theta's own prior predictive at the same rows, so
that a market that merely differs as others do is not accused.

Source: prior predictive checks, Box 1980, JRSS A 143(4); Bayes factors, Kass & Raftery 1995, JASA 90(430), integrals by
Laplace, Tierney & Kadane 1986. Deviations: all sets of labels share the curvature at theta, so that two thousand are
judged in a blink; drawn labels are judged by the same approximation, so that the test stays fair.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from meta.adaptation import MarketRows, market_logits, network_logits
from meta.thetas import Theta

FloatArray = NDArray[np.float64]
N_DRAWS = 1999  # the least p-value, 1 in 2000, must lie below the strictest rule of a guard
MAX_ROWS = 2000  # more rows than these are not looked at: a contradiction shows in fewer
MAX_MIRRORED = 10_000  # rows times columns that are scored once more: of wide schemas fewer rows are looked at
MIN_ROWS = 10
N_LEVEL_STEPS = 6
N_MODE_STEPS = 1  # towards the most probable effects of each set of labels, after the first
LEVEL_SD = 3.0  # logits: wide, for the ranking is judged and not how many defaults there are


@dataclass(frozen=True)
class Conflict:
    """One test: how probable labels as far off as these are in an honest market; column: what it points at."""

    check: str
    p_value: float
    column: str | None
    text: str


def find_conflicts(theta: Theta, rows: MarketRows, columns: Mapping[str, Sequence[Any]], seed: int) -> list[Conflict]:
    """Test a support (encoded in ``rows``, as posted in ``columns``) in three ways.

    ranking: does theta still rank these accounts? column: would they be explained better if one column had the
    opposite sign? move: is the move that they ask for larger than source markets' effects are?
    """
    rng = np.random.default_rng([seed, 11])
    if len(rows.y) < MIN_ROWS:
        return []
    chosen = np.arange(len(rows.y))
    at_most = min(MAX_ROWS, MAX_MIRRORED // max(len(theta.encoder.columns), 1))
    if len(chosen) > at_most:
        chosen = np.sort(rng.choice(chosen, at_most, replace=False))
    looked_at = MarketRows(rows.x[chosen], rows.y[chosen], rows.design, rows.declared)
    if not 0 < looked_at.y.sum() < len(looked_at.y):
        return []
    columns = {name: [values[int(i)] for i in chosen] for name, values in columns.items()}
    return _run_tests(theta, looked_at, columns, rng)


def _run_tests(
    theta: Theta, rows: MarketRows, columns: Mapping[str, Sequence[Any]], rng: np.random.Generator
) -> list[Conflict]:
    n_effects = len(theta.effects.sds)
    posted = _Accounts.of(theta, rows, rows.x)
    honest = posted.in_markets(rng.normal(size=(N_DRAWS, n_effects)))
    drawn = rng.random(honest.shape) < expit(honest)
    labels = np.concatenate([rows.y[None, :], drawn])  # first row: what was posted; others: honest draws
    honestly = posted.log_evidence(labels)
    ranking = _log_evidence_by_chance(labels) - honestly
    found = [
        Conflict("ranking", _p_value(ranking), None, "theta does not rank these accounts: defaulters are not the risky")
    ]
    turned = {
        name: _Accounts.of(theta, rows, x).log_evidence(labels) - honestly for name, x in _mirrored(theta, columns)
    }
    if turned:
        column = max(turned, key=lambda name: float(turned[name][0]))
        text = f"column '{column}': its effect looks reversed here (sign or coding turned round?)"
        found.append(Conflict("column", _p_value(np.max(list(turned.values()), axis=0)), column, text))
    text = "the labels ask for a larger move than source markets' differences account for"
    return [*found, Conflict("move", _p_value(_moves_asked_for(posted, labels)), None, text)]


@dataclass(frozen=True)
class _Accounts:
    """A support's accounts, as posted or altered, and what theta says of them.

    Shapes:  logits (n_rows,), selection included, level where as many defaults are expected as were posted;
             white (n_rows, 1 + n_slopes): see ``_spread``.
    """

    logits: FloatArray
    white: FloatArray

    @classmethod
    def of(cls, theta: Theta, rows: MarketRows, x: NDArray[np.float32]) -> "_Accounts":
        learner = theta.learner()
        at_rest = learner.at_rest(theta.params)
        white = _spread(theta, network_logits(theta, at_rest, x), x)
        logits = market_logits(learner, at_rest, x) + rows.correction
        return cls(_levelled(logits[None, :], float(rows.y.sum()))[0], white)

    def in_markets(self, effects: FloatArray) -> FloatArray:
        """Logits (n_markets, n_rows) in markets with ``effects`` (n_markets, 1 + n_slopes), in their sds.

        Each market's level is where as many defaults are expected as were posted: what remains is ranking alone.
        """
        return _levelled(self.logits + effects @ self.white.T, float(expit(self.logits).sum()))

    def log_evidence(self, labels: FloatArray) -> FloatArray:
        """Log probability (n_sets,) of each set of labels (n_sets, n_rows), over all levels and effects, by Laplace."""
        along = np.concatenate([np.full((len(self.logits), 1), LEVEL_SD), self.white], axis=1)
        pd = expit(self.logits)
        curvature = (along.T * (pd * (1.0 - pd))) @ along + np.eye(along.shape[1])
        inverse = np.linalg.inv(curvature)
        effects = (labels - pd) @ along @ inverse
        logits = self.logits + effects @ along.T
        for _ in range(N_MODE_STEPS):
            effects += ((labels - expit(logits)) @ along - effects) @ inverse
            logits = self.logits + effects @ along.T
        likelihood = (labels * logits - np.logaddexp(0.0, logits)).sum(axis=1)
        found: FloatArray = likelihood - 0.5 * (effects**2).sum(axis=1) - 0.5 * np.linalg.slogdet(curvature)[1]
        return found


def _levelled(logits: FloatArray, n_defaults: float) -> FloatArray:
    """Shift each row of ``logits`` (n_markets, n_rows) until its PDs add up to ``n_defaults``: Newton, bounded."""
    level = np.zeros((len(logits), 1))
    for _ in range(N_LEVEL_STEPS):
        pd = expit(logits + level)
        missing = n_defaults - pd.sum(axis=1, keepdims=True)
        level += np.clip(missing / np.maximum((pd * (1.0 - pd)).sum(axis=1, keepdims=True), 1e-3), -2.0, 2.0)
    return logits + level


def _log_evidence_by_chance(labels: FloatArray) -> FloatArray:
    """Log likelihood of each set of labels (n_sets, n_rows) if all accounts were alike, as they are once shuffled."""
    rate = labels[0].mean()
    n_defaults = labels.sum(axis=1)
    found: FloatArray = n_defaults * np.log(rate) + (labels.shape[1] - n_defaults) * np.log1p(-rate)
    return found


def _spread(theta: Theta, network: FloatArray, x: NDArray[np.float32]) -> FloatArray:
    """What one standard deviation of each effect adds to each row's logit, (n_rows, 1 + n_slopes).

    A market deviates from the true theta as others do, and theta itself is known to ``theta_sd`` logits: all effects
    are widened alike until both are in the rows' variance.
    """
    white = theta.effects.directions(network, x) * theta.effects.likely_sds
    of_markets = float((white**2).sum(axis=1).mean())
    if of_markets > 0:
        white *= np.sqrt(1.0 + theta.effects.theta_sd**2 / of_markets)
    return white


def _means(along: FloatArray, weight: FloatArray) -> FloatArray:
    found: FloatArray = (along * weight[:, None]).sum(axis=0) / weight.sum()
    return found


def _moves_asked_for(posted: _Accounts, labels: FloatArray) -> FloatArray:
    """How large a move from theta's ranking each set of labels (n_sets, n_rows) asks for, (n_sets,)."""
    pd = expit(posted.logits)
    weight = pd * (1.0 - pd)
    return _squared_moves(labels - pd, posted.white - _means(posted.white, weight), weight)


def _squared_moves(residuals: FloatArray, white: FloatArray, weight: FloatArray) -> FloatArray:
    """Squared length, against its prior predictive spread, of the pull on all effects together; (n_sets,)."""
    curvature = (white.T * weight) @ white
    values, vectors = np.linalg.eigh(curvature)
    kept = values > 1e-6 * max(float(values.max(initial=0.0)), 1e-12)
    pull = residuals @ white @ vectors[:, kept]
    found: FloatArray = (pull**2 / (values[kept] + values[kept] ** 2)).sum(axis=1)
    return found


def _mirrored(theta: Theta, columns: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Each numeric column's name with the rows (n_rows, n_features) in which it is turned round its typical value."""
    for column in theta.encoder.columns:
        middle = theta.profiles.typical[column.name]
        if column.kind == "numeric" and middle is not None:
            turned = 2.0 * float(middle) - np.asarray(columns[column.name], dtype=np.float64)
            yield column.name, theta.reading.encode_altered(columns, column.name, turned.tolist())


def _p_value(statistics: FloatArray) -> float:
    """Share of honest draws that are at least as far off as the first."""
    return float((statistics >= statistics[0]).mean())
