"""Six panels a world: metrics, harmed markets and the lead over the main rival, by the number of accounts posted."""

from pathlib import Path
from typing import Any

import matplotlib
import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from benchmarks.few_shot.claims import BEST
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.statistics import difference, harmed_share, market_means
from benchmarks.few_shot.thetaprime import GUARDED, THETA, THETA_LEVEL, THETA_PRIME

matplotlib.use("Agg")
from matplotlib import pyplot  # the backend without a screen must be chosen first

STYLES: dict[str, dict[str, Any]] = {
    THETA_PRIME: {"color": "#0b5fa5", "linewidth": 2.4, "marker": "o", "zorder": 5},
    GUARDED: {"color": "#0b5fa5", "linewidth": 1.2, "linestyle": ":", "marker": ".", "zorder": 4},
    THETA_LEVEL: {"color": "#5aa0d8", "linewidth": 1.2, "linestyle": "--"},
    THETA: {"color": "#777777", "linewidth": 1.6, "linestyle": "--"},
    MAIN_RIVAL: {"color": "#c2410c", "linewidth": 2.0, "marker": "s", "markersize": 5},
    "LightGBM": {"color": "#c2410c", "linewidth": 1.2, "linestyle": "--"},
    BEST: {"color": "#15803d", "linewidth": 1.4, "marker": "^", "markersize": 4},
}
PANELS = (("log_loss", "log loss"), ("auc", "AUC"), ("brier", "Brier score"), ("ece", "ECE"))


def plot_world(cells: pandas.DataFrame, title: str, file: Path) -> Path:
    """Draw the pooled and adapted methods; the others are in the tables only, for they would flatten these."""
    shown = cells[cells["method"].isin(STYLES)]
    means = market_means(shown, by_setting=True).groupby(["method", "size"]).mean(numeric_only=True)
    figure, axes = pyplot.subplots(2, 3, figsize=(14, 7.6), layout="constrained")
    for ax, (metric, name) in zip(axes.flat, PANELS, strict=False):
        _draw(ax, means[metric].unstack("method"), name)
    if THETA in set(shown["method"]):
        _draw(axes[1, 1], _harmed(shown), f"share of markets harmed against {THETA} (log loss)")
        axes[1, 1].set_ylim(-0.02, 1.0)
    if {THETA_PRIME, MAIN_RIVAL} <= set(shown["method"]):
        _draw_lead(axes[1, 2], shown)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"{title}: {cells['market'].nunique()} held-out markets")
    figure.savefig(file, dpi=90)
    pyplot.close(figure)
    return file


def _draw_lead(ax: Axes, cells: pandas.DataFrame) -> None:
    ns = sorted(cells["size"].unique().tolist())
    gaps = [difference(cells[cells["size"] == n], THETA_PRIME, MAIN_RIVAL, "log_loss") for n in ns]
    means = [gap.mean for gap in gaps]
    reach = [[gap.mean - gap.low for gap in gaps], [gap.high - gap.mean for gap in gaps]]
    ax.errorbar(ns, means, yerr=reach, capsize=4, **STYLES[THETA_PRIME])
    ax.axhline(0.0, color=STYLES[MAIN_RIVAL]["color"])
    _dress(ax, ns, f"log loss, {THETA_PRIME} minus {MAIN_RIVAL}")


def _harmed(cells: pandas.DataFrame) -> pandas.DataFrame:
    rows = {
        n: {m: harmed_share(at_n, m, THETA) for m in at_n["method"].unique() if m != THETA}
        for n, at_n in cells.groupby("size")
    }
    return pandas.DataFrame.from_dict(rows, orient="index")


def _draw(ax: Axes, by_n: pandas.DataFrame, name: str) -> None:
    for method, style in STYLES.items():
        if method in by_n:
            ax.plot(by_n.index, by_n[method], label=method, **style)
    _dress(ax, list(by_n.index), name)


def _dress(ax: Axes, ns: list[int], name: str) -> None:
    ax.set_xscale("log")
    ax.set_xticks(ns, [str(n) for n in ns])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("accounts posted")
    ax.set_title(name)
    ax.grid(alpha=0.25)
