"""The tables and the plot of docs/results/families.md."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
from matplotlib.figure import Figure

from benchmarks.families.measure import NO_EPISODES, THETA_LEVEL
from benchmarks.few_shot.data import DATASETS
from benchmarks.few_shot.design import CASE_CONTROL, RANDOM, Design
from benchmarks.few_shot.statistics import difference, harmed_share, market_means

BASELINES = (NO_EPISODES, THETA_LEVEL)
INTRODUCTION = """\
# Few-shot learners compared on credit

Written by `python -m benchmarks.families`; do not edit. Every learner of the registry with its usual settings, on the
worlds, held-out markets and supports of the [few-shot benchmark](few_shot.md) ({n_splits}, {n_draws} draws a
market), unguarded. All start from one network, learned once a world on pooled source rows: what is compared is what
episodes and adapting add to it. `{theta}` is served before anything is posted, `{level}` moves the intercept alone;
both are of a theta without episodes. Numbers are means over draws within a market, then over markets; intervals are
95 %, by paired bootstrap over markets. A learner's strength (the share of its move that is kept at a number of
defaults) is learned on source markets as in the service: a learner that moves rankings the wrong way is held back, and
then equals its theta with the level moved. Recipes' defaults were chosen with an eye on these files (few_shot.md says
on which); learners' usual settings on a synthetic world and on source markets of SBA states, but that the outer steps
of LEO and MAML++ were cut to a third after they had left their thetas worse at rest on Lending Club.

- **against {level}**: log loss minus that of `{level}`, below zero is better, over random n = 20 to 200 and over 12 to
  50 defaults by label; smaller supports leave the ranking alone in nearly every draw.
- **harmed**: share of markets whose mean log loss is more than 0.002 above that under `{theta}`.
- **learning**: processor seconds of meta-training on top of the pooled stage ({pooled_s} s), trials on held-out markets
  included; **adapting**: one market of 50 accounts; **scoring**: one account alone, and a batch of 1,000; **stored**: a
  theta_prime as Postgres keeps it; **own numbers**: how many of them are not theta's.
"""


def write_report(cells: pandas.DataFrame, costs: pandas.DataFrame, design: Design, output: Path) -> str:
    """Write families.md and families.png; returns the overall table."""
    output.mkdir(parents=True, exist_ok=True)
    _require_complete(cells, costs)
    pooled = costs[costs["method"] == NO_EPISODES]["pooled_s"]
    splits = sorted(int(split) + 1 for split in costs["split"].unique())
    told = f"split{'s' if len(splits) > 1 else ''} {', '.join(map(str, splits))}"
    introduction = INTRODUCTION.format(
        n_splits=told, n_draws=design.n_draws, theta=NO_EPISODES, level=THETA_LEVEL, pooled_s=_range(pooled)
    )
    overall = _overall(cells)
    parts = [introduction, "![Gain by learner](families.png)\n", "## Over all worlds\n", overall, _costs(costs)]
    for world in cells["world"].unique():
        parts += _of_world(cells[cells["world"] == world], DATASETS[world].title)
    parts += ["## Settings used\n", _settings(costs)]
    _plot(cells, output / "families.png")
    (output / "families.md").write_text("\n".join(parts) + "\n")
    return overall


def _require_complete(cells: pandas.DataFrame, costs: pandas.DataFrame) -> None:
    """Every learner in every world, with every number: a hole in the comparison is a fault of the run."""
    counts = cells.groupby(["world", "split", "design", "size"])["method"].nunique()
    if counts.min() != counts.max():
        raise ValueError(f"some learners lack cells: {counts[counts < counts.max()].to_dict()}")
    if cells["log_loss"].isna().any() or costs[costs["method"] != NO_EPISODES]["adapt_ms"].isna().any():
        raise ValueError("some cells or costs have no number")


def learners_of(cells: pandas.DataFrame) -> list[str]:
    """Learners, the best on average first."""
    means = _judged(cells).groupby(["method", "world"])["log_loss"].mean().groupby("method").mean()
    return [str(name) for name in means.sort_values().index if name not in BASELINES]


def _judged(cells: pandas.DataFrame) -> pandas.DataFrame:
    """Cells in which there is something to learn a ranking from."""
    return cells[
        ((cells["design"] == RANDOM) & (cells["size"] >= 20))
        | (cells["size"].ge(12) & (cells["design"] == CASE_CONTROL))
    ]


def _overall(cells: pandas.DataFrame) -> str:
    worlds = list(cells["world"].unique())
    head = "| learner | " + " | ".join(DATASETS[w].title for w in worlds) + " | mean | mean rank | harmed |"
    lines = [f"Log loss minus that of `{THETA_LEVEL}`:\n", head, "|---" * (len(worlds) + 4) + "|"]
    judged = _judged(cells)
    names = learners_of(cells)
    table = pandas.DataFrame(
        {
            w: {n: difference(judged[judged["world"] == w], n, THETA_LEVEL, "log_loss").mean for n in names}
            for w in worlds
        }
    )
    ranks = table.rank().mean(axis=1)
    for name in names:
        gaps = [difference(judged[judged["world"] == w], name, THETA_LEVEL, "log_loss") for w in worlds]
        harmed = float(np.mean([_harmed(judged[judged["world"] == w], name) for w in worlds]))
        told = " | ".join(f"{g.mean:+.4f} [{g.low:+.4f}, {g.high:+.4f}]" for g in gaps)
        lines.append(f"| {name} | {told} | {table.loc[name].mean():+.4f} | {ranks[name]:.1f} | {harmed:.0%} |")
    return "\n".join(lines) + "\n"


def _harmed(cells: pandas.DataFrame, name: str) -> float:
    return harmed_share(cells, name, NO_EPISODES)


def _of_world(cells: pandas.DataFrame, title: str) -> list[str]:
    n_markets = cells["market"].nunique()
    parts = [f"## {title}\n", f"{n_markets} held-out markets.\n"]
    for design, words in (
        (RANDOM, "n accounts at random, no rate declared"),
        (CASE_CONTROL, "n defaults, four goods each"),
    ):
        for metric, name in (("log_loss", "Log loss"), ("auc", "AUC")):
            parts += [f"{name}, {words}:\n", _by_size(cells[cells["design"] == design], metric)]
    return parts


def _by_size(cells: pandas.DataFrame, metric: str) -> str:
    means = market_means(cells, by_setting=True).groupby(["method", "size"])[metric].mean().unstack("size")
    counts = cells.groupby("size")["market"].nunique()
    sizes: Sequence[int] = list(means.columns)
    lines = ["| learner | " + " | ".join(f"n = {n}" for n in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    lines.append("| markets | " + " | ".join(str(counts[n]) for n in sizes) + " |")
    for name in (*BASELINES, *learners_of(cells)):
        lines.append(f"| {name} | " + " | ".join(f"{means.loc[name, n]:.4f}" for n in sizes) + " |")
    return "\n".join(lines) + "\n"


def _costs(costs: pandas.DataFrame) -> str:
    head = (
        "| learner | learning, s | adapting, ms | scoring one, µs | scoring 1,000, rows/s | stored, KiB | own numbers |"
    )
    lines = ["Costs, median over worlds (processor time of one core):\n", head, "|---" * 7 + "|"]
    of_learners = costs[costs["method"] != NO_EPISODES]
    for name, found in of_learners.groupby("method"):
        at = found[["learnt_s", "adapt_ms", "score_us", "scores_a_second", "n_bytes", "n_moved"]].median()
        times = f"{at['learnt_s']:.0f} | {at['adapt_ms']:.1f} | {at['score_us']:.0f} | {at['scores_a_second']:,.0f}"
        lines.append(f"| {name} | {times} | {at['n_bytes'] / 1024:.0f} | {at['n_moved']:,.0f} |")
    return "\n".join(lines) + "\n"


def _settings(costs: pandas.DataFrame) -> str:
    head = "| learner | inner step | inner steps | outer step | outer steps made | share kept at 12, 25, 50 defaults |"
    lines = ["Outer steps made and shares: one number for each world.\n", head, "|---" * 6 + "|"]
    for name, found in costs[costs["method"] != NO_EPISODES].groupby("method"):
        used = list(found["used"])
        made = ", ".join(str(u["outer_steps"]) for u in used)
        shares = "; ".join(_shares(u["strength"]) for u in used)
        first = used[0]
        lines.append(
            f"| {name} | {first['inner_lr']:g} | {first['inner_steps']} | {first['outer_lr']:g} | {made} | {shares} |"
        )
    return "\n".join(lines) + "\n"


def _shares(strength: dict[str, list[float]]) -> str:
    if not strength["n_defaults"]:
        return "none learned"
    return ", ".join(f"{np.interp(n, strength['n_defaults'], strength['share']):.2f}" for n in (12, 25, 50))


def _range(values: pandas.Series) -> str:
    low, high = round(values.min()), round(values.max())
    return str(low) if low == high else f"{low} to {high}"


def _plot(cells: pandas.DataFrame, file: Path) -> None:
    """A row a world: log loss minus that under theta, by what is posted; a line a learner."""
    worlds = list(cells["world"].unique())
    figure = Figure(figsize=(13, 3.6 * len(worlds)), layout="constrained")
    axes = figure.subplots(len(worlds), 2, squeeze=False)
    names = [THETA_LEVEL, *learners_of(cells)]
    for row, world in enumerate(worlds):
        for column, (design, words) in enumerate(
            ((RANDOM, "accounts at random"), (CASE_CONTROL, "defaults, by label"))
        ):
            at, ax = cells[(cells["world"] == world) & (cells["design"] == design)], axes[row][column]
            means = market_means(at, by_setting=True).groupby(["method", "size"])["log_loss"].mean().unstack("method")
            for place, name in enumerate(names):
                style = {"color": "black", "linestyle": "--"} if name == THETA_LEVEL else {"color": f"C{place % 10}"}
                marker = "o" if place <= 10 else "^"
                ax.plot(means.index, means[name] - means[NO_EPISODES], label=name, marker=marker, markersize=4, **style)
            ax.axhline(0.0, color="grey", linewidth=0.8)
            ax.set_xscale("log")
            ax.set_xticks(means.index, [str(n) for n in means.index])
            ax.set_xticks([], minor=True)
            ax.set_title(f"{DATASETS[world].title}: log loss minus theta's")
            ax.set_xlabel(f"n {words}")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)
    figure.savefig(file, dpi=80)
