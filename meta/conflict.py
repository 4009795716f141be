"""Do a support's labels contradict what theta knows? Tests against what honest markets would post.

An honest market is theta's ranking with effects drawn as source markets' are spread. How probable its labels are, the
average over such markets says; how probable they are if labels were shuffled, or if a column had another sign, is said
in the same way, and the ratio of the two is the test: the most powerful one against that one fault (Neyman & Pearson).
How large a ratio honest markets reach is seen in labels drawn from theta's own prior predictive at the same rows, so
that a market that merely differs as others do is not accused.

Source: prior predictive checks, Box 1980, JRSS A 143(4); Bayes factors, Kass & Raftery 1995, JASA 90(430).
Deviations: evidence is an average over N_COMPARED draws of the prior, which is rough where rows are many; the drawn
labels are judged by the same average, so that the test stays fair. The level is set by the number of defaults.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp

from meta.adaptation import MarketRows, market_logits, network_logits
from meta.thetas import Theta

FloatArray = NDArray[np.float64]
N_DRAWS = 1999  # the least p-value, 1 in 2000, must lie below the strictest rule of a guard
MAX_ROWS = 2000  # more rows than these are not looked at: a contradiction shows in fewer
MAX_MIRRORED = 10_000  # rows times columns that are scored once more: of wide schemas fewer rows are looked at
MIN_ROWS = 10
N_COMPARED = 512  # markets that a likelihood is averaged over
N_LEVEL_STEPS = 6


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
    compared = rng.normal(size=(N_COMPARED, n_effects))
    honestly = _log_evidence(labels, posted.in_markets(compared))
    ranking = _log_evidence_by_chance(labels) - honestly
    found = [
        Conflict("ranking", _p_value(ranking), None, "theta does not rank these accounts: defaulters are not the risky")
    ]
    turned = {
        name: _log_evidence(labels, _Accounts.of(theta, rows, x).in_markets(compared)) - honestly
        for name, x in _mirrored(theta, columns)
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

    Shapes:  logits (n_rows,), selection included; white (n_rows, 1 + n_slopes): see ``_spread``; n_defaults: posted.
    """

    logits: FloatArray
    white: FloatArray
    n_defaults: float

    @classmethod
    def of(cls, theta: Theta, rows: MarketRows, x: NDArray[np.float32]) -> "_Accounts":
        learner = theta.learner()
        at_rest = learner.at_rest(theta.params)
        white = _spread(theta, network_logits(theta, at_rest, x), x)
        return cls(market_logits(learner, at_rest, x) + rows.correction, white, float(rows.y.sum()))

    def in_markets(self, effects: FloatArray) -> FloatArray:
        """Logits (n_markets, n_rows) in markets with ``effects`` (n_markets, 1 + n_slopes), in their sds.

        Each market's level is where as many defaults are expected as were posted: what remains is ranking alone.
        """
        return _levelled(self.logits + effects @ self.white.T, self.n_defaults)


def _levelled(logits: FloatArray, n_defaults: float) -> FloatArray:
    """Shift each row of ``logits`` (n_markets, n_rows) until its PDs add up to ``n_defaults``: Newton, bounded."""
    level = np.zeros((len(logits), 1))
    for _ in range(N_LEVEL_STEPS):
        pd = expit(logits + level)
        missing = n_defaults - pd.sum(axis=1, keepdims=True)
        level += np.clip(missing / np.maximum((pd * (1.0 - pd)).sum(axis=1, keepdims=True), 1e-3), -2.0, 2.0)
    return logits + level


def _log_evidence(labels: FloatArray, logits: FloatArray) -> FloatArray:
    """Log of the mean likelihood of each set of labels (n_sets, n_rows) over markets' logits (n_markets, n_rows)."""
    log_likelihoods = labels @ logits.T - np.logaddexp(0.0, logits).sum(axis=1)
    found: FloatArray = logsumexp(log_likelihoods, axis=1) - np.log(len(logits))
    return found


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
    pd = expit(_levelled(posted.logits[None, :], posted.n_defaults)[0])
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
