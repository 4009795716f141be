"""The answer in words, computed from the cells, with the tables and figures behind it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas

from benchmarks.open_question.contestants import META, METHODS, POOLED, SCRATCH, THETA_PRIME, TREES, TREES_WITH_SOURCE
from benchmarks.open_question.design import ALL, Design
from benchmarks.open_question.plots import plot_world
from benchmarks.open_question.summary import (
    Estimate,
    complete,
    compute,
    differences,
    ends_at,
    levels,
    markets_of,
    mean_n,
    pooled_of,
)
from benchmarks.open_question.worlds import WORLDS

MARGIN = 0.001  # log loss: less is called no matter, even where it is shown
UNIT = 1e4  # differences are told in 1/10,000 nats an account
NETWORKS = (SCRATCH, POOLED, META)
PARTS = {"single markets": markets_of, "their rows together": pooled_of}
PAIRS = ((SCRATCH, POOLED), (META, POOLED), (TREES, POOLED), (TREES_WITH_SOURCE, POOLED), (THETA_PRIME, POOLED))
INTRODUCTION = """\
# The open question: is a model for plentiful labelled data better built from a learned start?

Written by `python -m benchmarks.open_question`; do not edit. Models are built for the largest markets of a world, each
alone ("single markets") and all their rows as one ("their rows together": the pooled data). n rows are drawn at random
({sizes} and all), {n_seeds} samples of each size; the larger contain the smaller. A third of a market
(4,000 rows at most) is judged and never learned from. Every start is learned on the *other* markets of the world, so
that "pooled" here asks whether what other books teach still helps once a book has rows of its own in plenty.

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
expected loss above theirs. Intervals are 95 %, by paired bootstrap over targets and, within them, seeds; of rows
together, over seeds alone: they do not say what other rows to be judged would have given. With all rows, seeds differ
only in the order of rows and in what a fit draws.
"""


def write_report(cells: pandas.DataFrame, design: Design, output: Path) -> str:
    """Write open_question.md, .csv and a figure a world; answer what it says."""
    output.mkdir(parents=True, exist_ok=True)
    cells.to_csv(output / "open_question.csv", index=False, float_format="%.6g")
    worlds = {str(name): group for name, group in cells.groupby("world", sort=False)}
    said = {name: "\n".join(f"- {line}" for line in _answers(group)) for name, group in worlds.items()}
    words = "\n\n".join(f"**{WORLDS[name].title}**\n\n{lines}" for name, lines in said.items())
    parts = [_introduction(cells, design), "## What it says\n", words]
    for name, group in worlds.items():
        figure = plot_world(group, WORLDS[name].title, *_metric(group), output / f"open_question_{name}.png")
        parts += [f"\n## {WORLDS[name].title}\n", f"![Learning curves]({figure.name})", *_tables(group)]
    (output / "open_question.md").write_text("\n".join(parts) + "\n")
    return words


def _introduction(cells: pandas.DataFrame, design: Design) -> str:
    sizes = sorted({int(size) for size in cells["size"] if size != ALL})
    steps = cells.groupby("world", sort=False)["outer_steps"].max()
    episodes = ", ".join(f"{WORLDS[str(world)].title}: {int(n)}" for world, n in steps.items())
    names = {"scratch": SCRATCH, "pooled": POOLED, "meta": META, "theta_prime": THETA_PRIME}
    names |= {"trees": TREES, "with_source": TREES_WITH_SOURCE}
    n_seeds = int(cells["seed"].nunique())
    return INTRODUCTION.format(sizes=", ".join(map(str, sizes)), n_seeds=n_seeds, episodes=episodes, **names)


def _metric(cells: pandas.DataFrame) -> tuple[str, str]:
    """What losses are told in: excess over the truth where that is known."""
    if "excess" in cells and cells["excess"].notna().all():
        return "excess", "expected loss above the truth's"
    return "log_loss", "log loss"


def _answers(cells: pandas.DataFrame) -> Iterator[str]:
    metric, _ = _metric(cells)
    for name, of in PARTS.items():
        part = of(cells)
        if len(part):
            n = mean_n(part)
            there = set(part["method"])
            pairs = [pair for pair in PAIRS if set(pair) <= there]
            yield from (f"{name}: {_words(part, *pair, metric, n)}" for pair in pairs)
            yield f"{name}: {_winner(part, metric, n)}"


def _words(cells: pandas.DataFrame, method: str, other: str, metric: str, n: Mapping[str, float]) -> str:
    """One comparison over all sizes."""
    gaps = differences(cells, method, other, metric)
    better = [size for size, gap in gaps.items() if gap.high < 0]
    worse = [size for size, gap in gaps.items() if gap.low > 0]
    verdict = "; ".join(
        [f"better at {_sizes(better, n)}"] * bool(better) + [f"worse at {_sizes(worse, n)}"] * bool(worse)
    )
    shown, matters = ends_at(gaps), ends_at(gaps, MARGIN)
    last = _told(gaps[next(reversed(gaps))])
    ends = f"no difference shown from {_size(shown, n)} on" if shown else "a difference is shown to the last"
    ends += f", none above {MARGIN} shown from {_size(matters, n)} on" if matters and matters != shown else ""
    return f"*{method}* against *{other}*: {verdict or 'no difference shown at any n'}; {ends}; at all rows {last}."


def _winner(cells: pandas.DataFrame, metric: str, n: Mapping[str, float]) -> str:
    """Who has the lowest mean loss with all rows, beside whom it is not shown to be better, and at what cost."""
    at_all = cells[cells["size"] == ALL]
    means = at_all.groupby("method")[metric].mean().sort_values()
    best = str(means.index[0])
    gaps = {str(m): differences(at_all, str(m), best, metric)[ALL] for m in means.index[1:]}
    even = [name for name, gap in gaps.items() if not gap.shown]
    seconds = compute(at_all).xs(ALL, level="size")
    costs = "; ".join(
        f"{m} {seconds.loc[m, 'seconds']:.1f} (+ {seconds.loc[m, 'tuning_seconds']:.1f} to tune,"
        f" + {seconds.loc[m, 'shared_seconds']:.0f} shared)"
        for m in map(str, means.index)
    )
    beside = f"not shown to be better than {', '.join(even)}" if even else "shown to be better than every other"
    return f"with {_size(ALL, n)} the lowest mean loss is *{best}*'s, {beside}. Processor seconds: {costs}."


def _tables(cells: pandas.DataFrame) -> Iterator[str]:
    metric, name_of_metric = _metric(cells)
    for name, of in PARTS.items():
        part = of(cells)
        if not len(part):
            continue
        targets = ", ".join(sorted(part["target"].unique()))
        yield f"\n### {name.capitalize()} ({targets})\n"
        yield f"{name_of_metric.capitalize()}, and AUC; sizes that every target has.\n"
        yield _level_table(complete(part), metric)
        yield "\nDifferences in 1/10,000 nats; below zero, the first is better; bold: zero is outside the interval.\n"
        yield _gap_table(part, metric)
        yield "\nProcessor seconds of a fit + of choosing its settings, a target; last: shared by all targets.\n"
        yield _compute_table(part)


def _level_table(cells: pandas.DataFrame, metric: str) -> str:
    n = mean_n(cells)
    lines = _head(["method", *(_size(size, n) for size in n)])
    for method in _present(cells):
        losses, aucs = (levels(cells, method, of) for of in (metric, "auc"))
        lines.append(_row(method, *(f"{losses[size].mean:.4f}, {aucs[size].mean:.3f}" for size in n)))
    return "\n".join(lines)


def _gap_table(cells: pandas.DataFrame, metric: str) -> str:
    n = mean_n(cells)
    lines = _head(["difference", *(_size(size, n) for size in n)])
    lines.append(_row("targets", *(str(cells.loc[cells["size"] == size, "target"].nunique()) for size in n)))
    for method, other in (*PAIRS, (TREES, SCRATCH), (TREES_WITH_SOURCE, TREES)):
        if {method, other} <= set(cells["method"]):
            gaps = differences(cells, method, other, metric)
            lines.append(_row(f"{method} minus {other}", *(_told(gaps[size]) for size in n)))
    return "\n".join(lines)


def _compute_table(cells: pandas.DataFrame) -> str:
    n, seconds = mean_n(cells), compute(cells)
    lines = _head(["method", *(_size(size, n) for size in n), "shared", "cut short"])
    for method in _present(cells):
        of = seconds.loc[method]
        each = [f"{of.loc[size, 'seconds']:.2f} + {of.loc[size, 'tuning_seconds']:.1f}" for size in n]
        lines.append(_row(method, *each, f"{of['shared_seconds'].max():.0f}", f"{of['capped'].mean():.0%}"))
    return "\n".join(lines)


def _present(cells: pandas.DataFrame) -> list[str]:
    there = set(cells["method"])
    return [method for method in METHODS if method in there]


def _told(gap: Estimate) -> str:
    text = f"{UNIT * gap.mean:+.0f} [{UNIT * gap.low:+.0f}, {UNIT * gap.high:+.0f}]"
    return f"**{text}**" if gap.shown else text


def _size(size: str, n: Mapping[str, float]) -> str:
    return f"all ({n[size]:,.0f})" if size == ALL else f"n = {int(size):,}"


def _sizes(sizes: list[str], n: Mapping[str, float]) -> str:
    return ", ".join(_size(size, n) for size in sizes)


def _head(cells: list[str]) -> list[str]:
    return [_row(*cells), "|---" * len(cells) + "|"]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
