"""The tables and the plot of docs/results/papers.md, and for each published figure whether it was reached."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from scipy.stats import spearmanr

from benchmarks.papers.problem import Contestant, Figure, Problem

Row = dict[str, Any]
WIDEST = (0.05, 20.0)  # squared errors that the plot shows
INTRODUCTION = """\
# The papers' own tables

Written by `python -m benchmarks.papers{arguments}`; do not edit. Each learner is the class that credit uses, set up as
its paper says, trained from its own start by Adam (its rate falls by half a cosine to zero, where the authors keep it
constant) on seeded meta-batches, and tested on 600 new tasks, the same for every learner. ± is a 95 % interval
over tasks. *Reached*: our interval meets the paper's, or lies on its better side. Figures of other networks, or on
other images, stand beside ours and are not judged. Seconds are of one core, compiling included.
"""


@dataclass(frozen=True)
class Table:
    """What was measured on one problem: rows by contestant, in the order of the contestants."""

    problem: Problem
    contestants: Sequence[Contestant]
    rows: Sequence[Row]

    def of(self, contestant: Contestant) -> list[Row]:
        return [row for row in self.rows if row["learner"] == contestant.name]

    def beside(self) -> Iterator[tuple[Contestant, Row, Figure | None]]:
        """Pair every row with the published figure, where there is one."""
        for contestant in self.contestants:
            for row in self.of(contestant):
                yield contestant, row, contestant.published.get((row["n_shots"], row["steps"]))


def write_report(tables: Sequence[Table], arguments: str, output: Path) -> str:
    """Write papers.md and papers.png; answer what was reached and what was not."""
    output.mkdir(parents=True, exist_ok=True)
    claims = [claim for table in tables for claim in claims_of(table)]
    parts = [INTRODUCTION.format(arguments=arguments), "\n".join(f"- {claim}" for claim in claims) + "\n"]
    parts.append("![Ours and the papers'](papers.png)\n")
    for table in tables:
        parts += [f"## {table.problem.title}\n", table.problem.note + "\n", _table(table)]
    _plot(tables, output / "papers.png")
    (output / "papers.md").write_text("\n".join(parts))
    return "\n".join(claims)


def claims_of(table: Table) -> list[str]:
    """One line for every figure that can be judged, and for classification how learners stand and are ordered."""
    problem, said = table.problem, []
    for contestant, row, figure in table.beside():
        if figure is not None and figure.same_network and problem.is_the_papers:
            verdict = "reached" if reached(row, figure, larger_is_better=problem.larger_is_better) else "not reached"
            where = f"{problem.name}, {contestant.name}, {_at(row)}"
            said.append(f"{where}: {_ours(problem, row)}, paper {_theirs(problem, figure)}: {verdict}")
    if problem.larger_is_better and table.rows:
        said += _standing(table)
    return said


def reached(row: Row, figure: Figure, *, larger_is_better: bool) -> bool:
    """Say whether our interval meets the paper's or lies on its better side."""
    slack = row["half_width"] + (figure.half_width or 0.0)
    gain = row["mean"] - figure.value if larger_is_better else figure.value - row["mean"]
    return bool(gain >= -slack)


def best_rows(table: Table) -> dict[str, Row]:
    """Give each learner's row at the number of steps that its paper tests with (the last of them).

    Whoever had other outer steps than the first is left out.
    """
    budget = table.contestants[0].n_steps
    return {c.name: rows[-1] for c in table.contestants if c.n_steps == budget and (rows := table.of(c))}


def order_agreement(table: Table) -> tuple[float, int] | None:
    """Rank correlation of ours with the papers' figures, and over how many learners; None for fewer than three."""
    compared = best_rows(table)
    pairs = [(row["mean"], f.value) for c, row, f in table.beside() if f is not None and c.name in compared]
    if len(pairs) < 3:
        return None
    ours, theirs = zip(*pairs, strict=True)
    return float(spearmanr(ours, theirs).statistic), len(pairs)


def _standing(table: Table) -> list[str]:
    best, problem = best_rows(table), table.problem
    everyone = {c.name: rows[-1] for c in table.contestants if (rows := table.of(c))}
    order = sorted(best, key=lambda name: -best[name]["mean"])
    above = [name for name, row in everyone.items() if row["mean"] - row["half_width"] > 2 * problem.chance]
    guessing = [name for name in everyone if name not in above]
    but = f"; not {', '.join(guessing)}" if guessing else ""
    bar = f"twice as good as a guess ({_number(problem, problem.chance)}) or better"
    said = [
        f"{problem.name}: {bar}: {len(above)} of {len(everyone)}{but}",
        f"{problem.name}: order, at as many steps, {' > '.join(order)}",
    ]
    agreement = order_agreement(table)
    if agreement is not None:
        said.append(f"{problem.name}: rank correlation with the papers' figures {agreement[0]:.2f}, n = {agreement[1]}")
    return said


def _table(table: Table) -> str:
    problem = table.problem
    measure = "accuracy" if problem.larger_is_better else "squared error"
    lines = [
        f"| learner | shots | inner steps | {measure} | median | paper | where | outer steps | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for contestant, row, figure in table.beside():
        theirs = ("", "") if figure is None else (_theirs(problem, figure), figure.where)
        cells = [contestant.name, row["n_shots"], row["steps"] or "its own", _ours(problem, row)]
        lost = f" ({row['n_lost']} lost)" if row["n_lost"] and not problem.larger_is_better else ""
        cells += [_number(problem, row["median"]) + lost, *theirs, row["n_steps"], f"{row['cpu_s']:.0f}"]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _at(row: Row) -> str:
    steps = "" if row["steps"] is None else f", {row['steps']} inner step{'s' * (row['steps'] > 1)}"
    return f"{row['n_shots']} shot{'s' * (row['n_shots'] > 1)}{steps}"


def _ours(problem: Problem, row: Row) -> str:
    return f"{_number(problem, row['mean'])} ± {_number(problem, row['half_width'])}"


def _theirs(problem: Problem, figure: Figure) -> str:
    interval = "" if figure.half_width is None else f" ± {_number(problem, figure.half_width)}"
    return _number(problem, figure.value) + interval


def _number(problem: Problem, value: float) -> str:
    if problem.larger_is_better:
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if value < 10 else f"{value:.3g}"


def _plot(tables: Sequence[Table], file: Path) -> None:
    n_columns = min(len(tables), 2)
    n_rows = -(-len(tables) // n_columns)
    picture = Picture(figsize=(5.2 * n_columns, 4.8 * n_rows), layout="constrained")
    places = picture.subplots(n_rows, n_columns, squeeze=False).flatten()
    for axes, table in zip(places, tables, strict=False):
        _bars(axes, table)
    for axes in places[len(tables) :]:
        axes.set_axis_off()
    picture.savefig(file, dpi=110)


def _bars(axes: Axes, table: Table) -> None:
    """One bar a learner at the problem's first number of shots, the paper's figure as a diamond."""
    shots = table.problem.tested_shots[0]
    rows = [(c, row, figure) for c, row, figure in table.beside() if row["n_shots"] == shots]
    for place, (_, row, figure) in enumerate(rows):
        axes.barh(place, row["mean"], xerr=row["half_width"], color="0.75", error_kw={"lw": 1})
        if figure is not None:
            axes.plot(figure.value, place, "D" if figure.same_network else "d", color="C3", ms=5)
    names = [c.name if row["steps"] is None else f"{c.name}: {row['steps']}" for c, row, _ in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.invert_yaxis()
    axes.set_title(
        f"{table.problem.title}\n{shots} shot{'s' * (shots > 1)}; diamonds: papers; : inner steps", fontsize=7
    )
    axes.set_xlabel("accuracy" if table.problem.larger_is_better else "mean squared error", fontsize=8)
    if not table.problem.larger_is_better:  # what was lost to infinity runs out of the picture
        axes.set(xscale="log", xlim=WIDEST)
