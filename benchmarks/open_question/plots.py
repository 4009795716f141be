"""One figure a world: loss and AUC by labels, difference to the pooled start by labels, loss by processor seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from benchmarks.open_question.contestants import META, METHODS, POOLED, SCRATCH, THETA_PRIME, TREES, TREES_WITH_SOURCE
from benchmarks.open_question.summary import (
    Estimate,
    complete,
    compute,
    differences,
    levels,
    markets_of,
    mean_n,
    pooled_of,
)

matplotlib.use("Agg")
from matplotlib import pyplot  # the backend without a screen must be chosen first

STYLES: dict[str, dict[str, Any]] = {
    SCRATCH: {"color": "#777777", "marker": "o"},
    POOLED: {"color": "#0b5fa5", "marker": "o"},
    META: {"color": "#a21caf", "marker": "^"},
    TREES: {"color": "#c2410c", "marker": "s"},
    TREES_WITH_SOURCE: {"color": "#c2410c", "marker": "s", "linestyle": "--"},
    THETA_PRIME: {"color": "#15803d", "linestyle": ":"},
}


def plot_world(cells: pandas.DataFrame, title: str, metric: str, name_of_metric: str, file: Path) -> Path:
    """A row of panels for single markets and, where there are any, one for their rows together."""
    parts = {"single markets": markets_of(cells), "their rows together": pooled_of(cells)}
    parts = {name: part for name, part in parts.items() if len(part)}
    figure, axes = pyplot.subplots(len(parts), 4, figsize=(19, 4.4 * len(parts)), layout="constrained", squeeze=False)
    for row, (name, part) in zip(axes, parts.items(), strict=True):
        whole = complete(part)
        _by_labels(row[0], whole, metric, f"{name}: {name_of_metric}")
        _by_labels(row[1], whole, "auc", f"{name}: AUC")
        _by_gap(row[2], part, metric, f"{name_of_metric}, minus {POOLED}")
        _by_compute(row[3], whole, metric, f"{name_of_metric} by compute")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title)
    figure.savefig(file, dpi=80)
    pyplot.close(figure)
    return file


def _by_labels(ax: Axes, cells: pandas.DataFrame, metric: str, title: str) -> None:
    """Shaded: 95 % over seeds, the markets as they are."""
    for method in _present(cells):
        _shaded(ax, method, mean_n(cells), levels(cells, method, metric, same_markets=True))
    _dress_labels(ax, cells, title)


def _by_gap(ax: Axes, cells: pandas.DataFrame, metric: str, title: str) -> None:
    """Shaded: 95 % over markets and seeds."""
    for method in _present(cells):
        if method != POOLED:
            _shaded(ax, method, mean_n(cells), differences(cells, method, POOLED, metric))
    ax.axhline(0.0, color=STYLES[POOLED]["color"])
    ax.set_ylim(_focus([differences(cells, m, POOLED, metric) for m in _present(cells) if m not in (POOLED, SCRATCH)]))
    _dress_labels(ax, cells, title)


def _focus(gaps: list[dict[str, Estimate]]) -> tuple[float, float]:
    """Limits that hold what is close to the pooled start; what is further off leaves the panel."""
    ends = [end for by_size in gaps for gap in by_size.values() for end in (gap.low, gap.high)]
    ends = sorted(abs(end) for end in ends) or [0.01]
    reach = 1.5 * ends[int(0.7 * (len(ends) - 1))]
    return -max(reach, 0.002), max(reach, 0.002)


def _by_compute(ax: Axes, cells: pandas.DataFrame, metric: str, title: str) -> None:
    """From a fit alone (full marker) to the same with its tuning and what the world shares (hollow)."""
    seconds = compute(cells)
    for method in _present(cells):
        at, by_size = seconds.loc[method], levels(cells, method, metric)
        losses = [by_size[size].mean for size in by_size]
        own = [at.loc[size, "seconds"] for size in by_size]
        total = [at.loc[size, ["seconds", "tuning_seconds", "shared_seconds"]].sum() for size in by_size]
        style = STYLES[method] | {"linewidth": 1.2}
        ax.plot(own, losses, label=method, **style)
        ax.plot(total, losses, **style | {"linewidth": 0.6, "marker": "o", "markerfacecolor": "white"})
    _dress(ax, title, "processor seconds: a fit; hollow: all costs")


def _shaded(ax: Axes, method: str, n: Mapping[str, float], by_size: Mapping[str, Estimate]) -> None:
    at = [n[size] for size in by_size]
    style = STYLES[method]
    ax.plot(at, [e.mean for e in by_size.values()], label=method, markersize=4, **style)
    low, high = ([getattr(e, end) for e in by_size.values()] for end in ("low", "high"))
    ax.fill_between(at, low, high, color=style["color"], alpha=0.13, linewidth=0)


def _dress_labels(ax: Axes, cells: pandas.DataFrame, title: str) -> None:
    _dress(ax, title, "rows learned from")
    n = [round(rows) for rows in mean_n(cells).values()]
    ax.set_xticks(n, [f"{rows:,}" for rows in n])
    ax.xaxis.set_minor_locator(NullLocator())


def _present(cells: pandas.DataFrame) -> list[str]:
    there = set(cells["method"])
    return [method for method in METHODS if method in there]


def _dress(ax: Axes, title: str, below: str) -> None:
    ax.set_xscale("log")
    ax.set_xlabel(below)
    ax.set_title(title, fontsize=10)
    ax.grid(alpha=0.25)
