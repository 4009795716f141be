"""The tables of a world's section in the report; each answers markdown."""

import math
from collections.abc import Mapping, Sequence

import pandas

from benchmarks.few_shot.claims import BEST, Harm, harms
from benchmarks.few_shot.design import RANDOM
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.statistics import (
    coverage,
    difference,
    harmed_share,
    market_gaps,
    market_means,
    worst_decile,
)
from benchmarks.few_shot.thetaprime import GUARDED, THETA, THETA_PRIME

COLUMNS = {
    "log_loss": "log loss",
    "auc": "AUC",
    "gini": "Gini",
    "brier": "Brier",
    "ece": "ECE",
    "ks": "KS",
    "slope": "slope",
    "log_loss_at_own_level": "level known",
}
OF_EACH = ("coverage", "Delta best", "Delta trees", "harmed", "worst decile")
NOTHING = "–"  # noqa: RUF001 - an en dash, as tables have it where there is no number


def summary_table(cells: pandas.DataFrame, skipped: Mapping[str, str]) -> str:
    """Means over settings of the random design, one row a method; methods that could not be run say why."""
    means = market_means(cells, by_setting=False).groupby("method")[list(COLUMNS)].mean()
    lines = [_row("method", *COLUMNS.values(), *OF_EACH), "|---" * (1 + len(COLUMNS) + len(OF_EACH)) + "|"]
    for method in in_order(cells):
        values = [f"{value:.4f}" for value in means.loc[method].to_numpy()]
        of_each = (_covered(cells, method), _delta(cells, method, BEST), _delta(cells, method, MAIN_RIVAL))
        lines.append(_row(marked(cells, method), *values, *of_each, *_harm(cells, method)))
    for name, reason in skipped.items():
        lines.append(_row(name, f"not run: {reason}", *[""] * (len(COLUMNS) + len(OF_EACH) - 1)))
    return "\n".join(lines)


def table_by_size(cells: pandas.DataFrame, metric: str, letter: str, lead_over: Sequence[str]) -> str:
    """Means of ``metric`` over the markets of each size, one row a method; under the sizes, the number of markets."""
    means = market_means(cells, by_setting=True).groupby(["method", "size"])[metric].mean().unstack()
    counts = cells.groupby("size")["market"].nunique()
    lines = [_row("method", *(f"{letter} = {n}" for n in means.columns)), "|---" * (len(means.columns) + 1) + "|"]
    lines.append(_row("markets", *(str(counts[n]) for n in means.columns)))
    for method in in_order(cells):
        lines.append(_row(marked(cells, method), *(_number(value) for value in means.loc[method])))
    for other in lead_over:
        if {THETA_PRIME, other} <= set(means.index):
            gaps = [_delta(cells[cells["size"] == n], THETA_PRIME, other, metric) for n in means.columns]
            lines.append(_row(f"{THETA_PRIME} minus {other}", *gaps))
    return "\n".join(lines)


def harm_table(cells: pandas.DataFrame) -> str:
    """Guard on beside guard off, against theta, in every setting."""
    guarded, bare = harms(cells, GUARDED), harms(cells, THETA_PRIME)
    head = ("setting", "markets", "defaults", "gain, guard on", "harmed", "limit", "worst decile", "reached")
    lines = [_row(*head, "gain, guard off", "harmed, guard off"), "|---" * (len(head) + 2) + "|"]
    for on, off in zip(guarded, bare, strict=True):
        verdict = "yes" if on.reached else "**no**"
        numbers = (f"{on.harmed:.0%}", f"{on.limit:.0%}", f"{on.worst_decile:+.4f}", verdict)
        counts = (str(on.gain.n_markets), f"{on.n_defaults:.1f}")
        lines.append(_row(_name(on), *counts, _gain(on), *numbers, _gain(off), f"{off.harmed:.0%}"))
    return "\n".join(lines)


def in_order(cells: pandas.DataFrame) -> list[str]:
    """Methods by their difference to the main rival on common draws, the best first."""
    methods: list[str] = cells["method"].unique().tolist()
    anchor = MAIN_RIVAL if MAIN_RIVAL in methods else methods[0]
    return sorted(methods, key=lambda method: difference(cells, method, anchor, "log_loss").mean)


def marked(cells: pandas.DataFrame, method: str) -> str:
    """Star the methods with fewer draws."""
    n_draws = cells.groupby("method")["draw"].nunique()
    return f"{method}*" if n_draws[method] < n_draws.max() else method


def _name(harm: Harm) -> str:
    if harm.design == RANDOM:
        return f"n = {harm.size}"
    rate = "true rate" if harm.rate_factor == 1 else f"rate x {harm.rate_factor:g}"
    return f"{harm.size} defaulters, {rate}"


def _gain(harm: Harm) -> str:
    return f"{harm.gain.mean:+.4f} [{harm.gain.low:+.4f}, {harm.gain.high:+.4f}]"


def _covered(cells: pandas.DataFrame, method: str) -> str:
    share, error = coverage(cells, method)
    if math.isnan(share):
        return ""
    width = cells.loc[cells["method"] == method, "range_width"].mean()
    return f"{share:.0%} ± {error:.0%} (width {width:.3f})"


def _delta(cells: pandas.DataFrame, method: str, other: str, metric: str = "log_loss") -> str:
    if other not in set(cells["method"]) or method == other:
        return ""
    gap = difference(cells, method, other, metric)
    return f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]" if gap.n_markets else NOTHING


def _harm(cells: pandas.DataFrame, method: str) -> tuple[str, str]:
    if THETA not in set(cells["method"]) or method == THETA:
        return "", ""
    shares = f"{harmed_share(cells, method, THETA):.0%} ({harmed_share(cells, method, THETA, 0.0):.0%})"
    return shares, f"{worst_decile(market_gaps(cells, method, THETA, 'log_loss').to_numpy()):+.4f}"


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.4f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
