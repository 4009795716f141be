"""Do a support's labels contradict what theta knows? Tests against what honest markets would post.

Each test asks how far the labels lie from theta's PDs in one direction, and compares with labels drawn from theta's
own prior predictive at the same rows: effects drawn as source markets' are spread, labels drawn from the PDs that
follow. A market that merely differs as others do is not accused; one whose labels were shuffled, or whose column
has another sign, is.

Source: prior predictive checks, Box 1980, JRSS A 143(4); Evans & Moshonov 2006, Bayesian Analysis 1(4).
Deviations: the level is taken out of every direction to first order instead of being fitted to every draw anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta.adaptation import MarketRows, market_logits, market_prior, network_logits
from meta.level import fit_level
from meta.thetas import Theta

FloatArray = NDArray[np.float64]
N_DRAWS = 1999  # the least p-value, 1 in 2000, must lie below the strictest rule of a guard
MAX_ROWS = 2000  # more rows than these are not looked at: a contradiction shows in fewer
MAX_MIRRORED = 40_000  # rows times columns that are scored once more: of wide schemas fewer rows are looked at
MIN_ROWS = 10
LEAST_INFORMATION = 1e-6  # squared standard errors between theta's logits and the moved ones


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
    if len(rows.y) < MIN_ROWS or not 0 < rows.y.sum() < len(rows.y):
        return []
    chosen = np.arange(len(rows.y))
    at_most = min(MAX_ROWS, MAX_MIRRORED // max(len(theta.encoder.columns), 1))
    if len(chosen) > at_most:
        chosen = np.sort(rng.choice(chosen, at_most, replace=False))
    looked_at = MarketRows(rows.x[chosen], rows.y[chosen], rows.design, rows.declared)
    columns = {name: [values[int(i)] for i in chosen] for name, values in columns.items()}
    return _run_tests(theta, looked_at, columns, rng)


def _run_tests(
    theta: Theta, rows: MarketRows, columns: Mapping[str, Sequence[Any]], rng: np.random.Generator
) -> list[Conflict]:
    learner = theta.learner()
    at_rest = learner.at_rest(theta.params)
    logits = market_logits(learner, at_rest, rows.x) + rows.correction
    prior = market_prior(theta.level_prior, rows, logits - rows.correction)
    expected = logits + fit_level(logits, rows.y, prior.mean, prior.sd)
    white = _spread(theta, network_logits(theta, at_rest, rows.x), rows.x)
    residuals = _residuals(expected, white, rows.y, rng)  # first row: what was posted; others: honest draws
    pd = 1.0 / (1.0 + np.exp(-expected))
    weight = pd * (1.0 - pd)
    names, mirrored = _mirrored_logits(theta, columns, rows.x)
    away = -(logits - rows.correction)[:, None]
    ranking = _evidence_for(residuals, away, weight)[:, 0]
    by_column = _evidence_for(residuals, mirrored + away, weight)
    found = [
        Conflict("ranking", _p_value(ranking), None, "theta does not rank these accounts: defaulters are not the risky")
    ]
    if names:
        column = names[int(by_column[0].argmax())]
        text = f"column '{column}': its effect looks reversed here (sign or coding turned round?)"
        found.append(Conflict("column", _p_value(by_column.max(axis=1)), column, text))
    move = _squared_moves(residuals, white - _means(white, weight), weight)
    text = "the labels ask for a larger move than source markets' differences account for"
    return [*found, Conflict("move", _p_value(move), None, text)]


def _spread(theta: Theta, network: FloatArray, x: NDArray[np.float32]) -> FloatArray:
    """What one standard deviation of each effect adds to each row's logit, (n_rows, 1 + n_slopes).

    A market deviates from the true theta as others do, and theta itself is known to ``theta_sd`` logits: all effects
    are widened alike until both are in the rows' variance.
    """
    white = theta.effects.directions(network, x) * theta.effects.sds
    of_markets = float((white**2).sum(axis=1).mean())
    if of_markets > 0:
        white *= np.sqrt(1.0 + theta.effects.theta_sd**2 / of_markets)
    return white


def _residuals(expected: FloatArray, white: FloatArray, y: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Labels minus expected PDs, (1 + N_DRAWS, n_rows)."""
    pd = 1.0 / (1.0 + np.exp(-expected))
    effects = rng.normal(size=(N_DRAWS, white.shape[1]))
    drawn = 1.0 / (1.0 + np.exp(-(expected + effects @ white.T)))
    labels = rng.random(drawn.shape) < drawn
    return np.concatenate([y[None, :], labels]) - pd


def _evidence_for(residuals: FloatArray, along: FloatArray, weight: FloatArray) -> FloatArray:
    """Log likelihood ratios (1 + N_DRAWS, n_directions), logits moved ``along`` (n_rows, n_directions) against theta's.

    To second order, the level taken out, and against the spread that honest draws show: a column whose effect varies
    between markets must go further. A column that hardly matters is never much evidence.
    """
    centred = along - _means(along, weight)
    scores = residuals @ centred
    spread = scores[1:].var(axis=0)
    information = (centred**2 * weight[:, None]).sum(axis=0)
    usable = (spread > 0) & (information > LEAST_INFORMATION)
    ratio = np.divide(information, spread, out=np.zeros_like(spread), where=usable)
    found: FloatArray = np.where(usable, ratio * (scores - information / 2), -np.inf)
    return found


def _means(along: FloatArray, weight: FloatArray) -> FloatArray:
    found: FloatArray = (along * weight[:, None]).sum(axis=0) / weight.sum()
    return found


def _squared_moves(residuals: FloatArray, white: FloatArray, weight: FloatArray) -> FloatArray:
    """Squared length, against its prior predictive spread, of the pull on all effects together; (1 + N_DRAWS,)."""
    curvature = (white.T * weight) @ white
    values, vectors = np.linalg.eigh(curvature)
    kept = values > 1e-6 * max(float(values.max(initial=0.0)), 1e-12)
    pull = residuals @ white @ vectors[:, kept]
    found: FloatArray = (pull**2 / (values[kept] + values[kept] ** 2)).sum(axis=1)
    return found


def _mirrored_logits(
    theta: Theta, columns: Mapping[str, Sequence[Any]], x: NDArray[np.float32]
) -> tuple[list[str], FloatArray]:
    """theta's logits with one numeric column turned round its typical value: (n_rows, n_numeric)."""
    learner = theta.learner()
    at_rest, encoder = learner.at_rest(theta.params), theta.encoder
    names = [c.name for c in encoder.columns if c.kind == "numeric" and theta.profiles.typical[c.name] is not None]
    turned = [np.empty((0, x.shape[1]), np.float32)]
    for name in names:
        values = 2.0 * float(theta.profiles.typical[name] or 0.0) - np.asarray(columns[name], dtype=np.float64)
        turned.append(theta.reading.encode_altered(columns, name, values.tolist()))
    return names, market_logits(learner, at_rest, np.concatenate(turned)).reshape(len(names), len(x)).T


def _p_value(statistics: FloatArray) -> float:
    """Share of honest draws that are at least as far off as the first."""
    return float((statistics >= statistics[0]).mean())
