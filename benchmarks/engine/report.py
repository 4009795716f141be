"""The table as Markdown, and its plot."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.engine.agreement import TOLERANCE, Agreement
from benchmarks.engine.race import Timings
from benchmarks.engine.rows import OURS_COMPILED, OURS_EAGER, REFERENCE, Row
from benchmarks.engine.task import INNER_LR, INNER_STEPS, N_QUERY, N_SUPPORT, N_TASKS, SIZES

TARGETS = {OURS_EAGER.name: 8.0, OURS_COMPILED.name: 13.0}

TITLE = "# Engine speed\n"
LEARNERS_TITLE = """\
# Meta-training speed of every learner

`python -m benchmarks.engine --learners`: a row a learner, its gradient alone, eagerly, on the meta-batch of
[the engine's table](engine.md) and an ensemble of one member (the same perceptron with a linear part and scalings).
Inner steps are as there where a learner takes any. The machine may be another than that table's: compare within one.
"""


@dataclass(frozen=True)
class Results:
    """What is known of each row beside its timings, by the row's name."""

    versions: dict[str, Mapping[str, str]]
    agreements: dict[str, Agreement]
    failures: dict[str, str]


def write_report(title: str, rows: Sequence[Row], timings: Timings, results: Results, file: Path) -> str:
    """Write ``file`` under ``title``, and its plot, an .svg beside it; returns the Markdown."""
    file.parent.mkdir(parents=True, exist_ok=True)
    drawing = file.with_suffix(".svg")
    plot(rows, timings, drawing)
    parts = [title, _method(timings), _table(rows, timings, results), _targets(timings), _notes(results, drawing.name)]
    text = "\n".join(parts)
    file.write_text(text)
    return text


def plot(rows: Sequence[Row], timings: Timings, file: Path) -> None:
    """Draw each row's ratio with its interval as a bar; ours in blue."""
    timed = [row for row in rows if row.name in timings.seconds][::-1]
    ratios = [timings.ratio(row.name) for row in timed]
    figure = Figure(figsize=(8, 0.4 * len(timed) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    reach = [[r.median - r.low for r in ratios], [r.high - r.median for r in ratios]]
    colours = ["tab:blue" if row.is_ours else "tab:gray" for row in timed]
    axes.barh([row.name for row in timed], [r.median for r in ratios], xerr=reach, color=colours)
    axes.set_xlabel(f"meta-batches a second, {REFERENCE.name} = 1 (one thread)")
    figure.savefig(file)


def _method(timings: Timings) -> str:
    network = "-".join(map(str, SIZES))
    return f"""\
Written by `python -m benchmarks.engine`; do not edit. Each row computes the meta-gradient of the same meta-batch:
{N_TASKS} tasks, {INNER_STEPS} inner steps of {INNER_LR}, {N_SUPPORT} support and {N_QUERY} query rows, a {network}
network with ReLU, binary cross-entropy; one thread of one {platform.machine()} core. Rows took turns for
{timings.n_rounds} rounds in an order drawn anew each time; a ratio is the median over rounds of processor time against
{REFERENCE.name} in the same round, with its 90 % bootstrap interval. *Thetaprime, trainer* is a whole outer step of the
project's own trainer and learner objects; peers are timed on the gradient alone. Our trainer lets oneDNN take the
products where it keeps to float32 (`meta/products.py`); peers run as they come, but for *torch.func, compiled, oneDNN*,
which has that setting too.
"""


def _table(rows: Sequence[Row], timings: Timings, results: Results) -> str:
    lines = ["| row | speed | median ms | difference, float32 / float64 | version |", "|---|---|---|---|---|"]
    for row in rows:
        if row.name in results.failures:
            lines.append(f"| {row.name} | failed: {results.failures[row.name]} | | | |")
            continue
        ratio, agreement = timings.ratio(row.name), results.agreements.get(row.name)
        gap = f"{agreement.float32:.1e} / {agreement.float64:.1e}" if agreement else "another method"
        version = results.versions[row.name]["version"]
        speed = f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        lines.append(f"| {row.name} | {speed} | {timings.median_ms(row.name):.1f} | {gap} | {row.package} {version} |")
    return "\n".join(lines) + "\n"


def _targets(timings: Timings) -> str:
    lines = []
    for name, target in TARGETS.items():
        if name in timings.seconds:
            speed = timings.ratio(name).median
            lines.append(
                f"- {name}: {speed:.1f}, {'reaches' if speed >= target else 'misses'} its target of {target:g}."
            )
    return "\n".join(lines) + "\n"


def _notes(results: Results, drawing: str) -> str:
    torch = next(iter(results.versions.values()))["torch"]
    return f"""
Difference: the largest of any entry of the meta-gradient against *{OURS_EAGER.name}*, as a share of the largest entry;
at most {TOLERANCE["float32"]:.0e} in float32 and {TOLERANCE["float64"]:.0e} in float64 counts as equal. All torch rows
run torch {torch}. No row of ours loops over tasks in Python.

![Speed of every row]({drawing})
"""
