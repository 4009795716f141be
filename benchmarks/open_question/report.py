"""The answer in words, computed from the cells, with the tables and figures behind it."""

from collections.abc import Iterator
from pathlib import Path

import pandas

from benchmarks.open_question.answers import PAIRS, PARTS, answers, gap_told, in_short, metric_of, size_told
from benchmarks.open_question.contestants import META, METHODS, POOLED, SCRATCH, THETA_PRIME, TREES, TREES_WITH_SOURCE
from benchmarks.open_question.design import ALL
from benchmarks.open_question.plots import plot_world
from benchmarks.open_question.summary import complete, compute, differences, levels, mean_n
from benchmarks.open_question.worlds import WORLDS

TITLE = """\
# The open question: is a model for plentiful labelled data better built from a learned start?

Written by `python -m benchmarks.open_question`; do not edit. What was run is told below. Differences are in 1/10,000
nats an account, below zero where the first is better, with 95 % intervals, bold where zero is outside: luck alone would
give one in twenty.
"""
INTRODUCTION = """
## What was run

Models are built for the largest markets of a world, each alone ("single markets") and for all their rows as one ("their
rows together": the pooled data). n rows are drawn at random ({sizes} and all), {n_seeds} samples of each size; the
larger contain the smaller. A third of a market (4,000 rows at most) is judged and never learned from. Every start is
learned on the *other* markets of the world: the question asked is whether what other books teach, by ordinary training
or by meta-learning, still helps once a book has rows of its own in plenty. (A start learned by episodes on the very
rows that are then fitted is another question, and not asked here.)

- **{scratch}**: the product's network (8 members, two layers of 64) and an encoding, both from the n rows alone.
- **{pooled}**: the same network, fine-tuned from weights that ordinary training on all other markets' rows left (the
  house recipe's pooled stage).
- **{meta}**: fine-tuned from theta: the same pooled stage, then episodes of second-order MAML (three steps), as many
  meta-batches of eight tasks as the folds asked for ({episodes}). The usual learner, map_bayes, has no weights made for
  gradient steps; it is the reference line **{theta_prime}**: the service's own adaptation, nothing fine-tuned.
- **{trees}**: LightGBM on the n rows. **{with_source}**: the same with all other markets' rows, the n rows flagged.

Networks move all weights by AdamW until eight checks of rows kept aside for watching (a quarter, by turns where n is
small) bring nothing new, and are then fitted to all n rows for as long; a started network first gets the sample's
level. The watching rows of the first sample choose each network's step size (of three), the shape of trees (of five;
rounds by early stopping) and the weight of the n rows beside the others' (of three): once a size for all targets of a
world, and for each target with all its rows. Log loss in nats; in the synthetic world, where true PDs are known,
expected loss above theirs; a model of rows together is judged market by market, too, and means are over markets.
Intervals are 95 %, by paired bootstrap over markets and, within them, seeds: with so few markets they are too short
rather than too long. With all rows, seeds differ only in the order of rows and in what a fit draws.
"""


def write_report(cells: pandas.DataFrame, output: Path) -> str:
    """Write open_question.md, .csv and a figure a world; answer what it says."""
    output.mkdir(parents=True, exist_ok=True)
    cells.to_csv(output / "open_question.csv", index=False, float_format="%.6g")
    worlds = {str(name): group for name, group in cells.groupby("world", sort=False)}
    short = "\n".join(f"- {line}" for line in in_short(worlds))
    parts = [TITLE, "## In short\n", short, "\n## The questions\n", *answers(worlds), _introduction(cells)]
    for name, group in worlds.items():
        figure = plot_world(group, WORLDS[name].title, *metric_of(group), output / f"open_question_{name}.png")
        parts += [f"\n## {WORLDS[name].title}\n", f"![Learning curves]({figure.name})", *_tables(group)]
    (output / "open_question.md").write_text("\n".join(parts) + "\n")
    return short


def _introduction(cells: pandas.DataFrame) -> str:
    sizes = sorted({int(size) for size in cells["size"] if size != ALL})
    steps = cells.groupby("world", sort=False)["outer_steps"].max()
    episodes = ", ".join(f"{WORLDS[str(world)].title}: {int(n)}" for world, n in steps.items())
    names = {"scratch": SCRATCH, "pooled": POOLED, "meta": META, "theta_prime": THETA_PRIME}
    names |= {"trees": TREES, "with_source": TREES_WITH_SOURCE}
    seeds = cells.groupby("world", sort=False)["seed"].nunique()
    n_seeds = " or ".join(str(n) for n in sorted(set(seeds)))
    return INTRODUCTION.format(sizes=", ".join(map(str, sizes)), n_seeds=n_seeds, episodes=episodes, **names)


def _tables(cells: pandas.DataFrame) -> Iterator[str]:
    metric, name_of_metric = metric_of(cells)
    for name, of in PARTS.items():
        part = of(cells)
        if not len(part):
            continue
        markets = ", ".join(sorted(part["market"].unique()))
        yield f"\n### {name.capitalize()} ({markets})\n"
        yield f"{name_of_metric.capitalize()}, and AUC; sizes that every market has.\n"
        yield _level_table(complete(part), metric)
        yield "\nDifferences in 1/10,000 nats; below zero, the first is better; bold: zero is outside the interval.\n"
        yield _gap_table(part, metric)
        yield "\nThe same of AUC, in 1/10,000: above zero, the first is better.\n"
        yield _gap_table(part, "auc")
        yield "\nProcessor seconds of a fit + of choosing its settings, a target; last: shared by all targets.\n"
        yield _compute_table(part)


def _level_table(cells: pandas.DataFrame, metric: str) -> str:
    n = mean_n(cells)
    lines = _head(["method", *(size_told(size, n) for size in n)])
    for method in _present(cells):
        losses, aucs = (levels(cells, method, of) for of in (metric, "auc"))
        lines.append(_row(method, *(f"{losses[size].mean:.4f}, {aucs[size].mean:.3f}" for size in n)))
    return "\n".join(lines)


def _gap_table(cells: pandas.DataFrame, metric: str) -> str:
    n = mean_n(cells)
    lines = _head(["difference", *(size_told(size, n) for size in n)])
    lines.append(_row("markets", *(str(cells.loc[cells["size"] == size, "market"].nunique()) for size in n)))
    for method, other in (*PAIRS, (TREES, SCRATCH), (TREES_WITH_SOURCE, TREES)):
        if {method, other} <= set(cells["method"]):
            gaps = differences(cells, method, other, metric)
            lines.append(_row(f"{method} minus {other}", *(gap_told(gaps[size]) for size in n)))
    return "\n".join(lines)


def _compute_table(cells: pandas.DataFrame) -> str:
    n, seconds = mean_n(cells), compute(cells)
    lines = _head(["method", *(size_told(size, n) for size in n), "shared", "cut short"])
    for method in _present(cells):
        of = seconds.loc[method]
        each = [f"{of.loc[size, 'seconds']:.2f} + {of.loc[size, 'tuning_seconds']:.1f}" for size in n]
        lines.append(_row(method, *each, f"{of['shared_seconds'].max():.0f}", f"{of['capped'].mean():.0%}"))
    return "\n".join(lines)


def _present(cells: pandas.DataFrame) -> list[str]:
    there = set(cells["method"])
    return [method for method in METHODS if method in there]


def _head(cells: list[str]) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
