"""The one rival that was best on the source markets: chosen in each split before any held-out market is looked at."""

import math
from collections.abc import Sequence

import pandas

from benchmarks.few_shot.claims import BEST
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.run import Job
from benchmarks.few_shot.statistics import rehearsed_gaps


def rehearsed(job: Job) -> dict[str, float]:
    """Rivals of one split with their rehearsed log loss minus that of MAIN_RIVAL (or of the first), the best first."""
    losses: dict[str, list[float]] = {}
    for method in job.methods:
        losses |= job.chosen(method).get("rehearsed", {})
    if not losses:
        return {}
    gaps = rehearsed_gaps(losses, MAIN_RIVAL if MAIN_RIVAL in losses else next(iter(losses)))
    return dict(sorted(gaps.items(), key=lambda item: item[1]))


def with_best(cells: pandas.DataFrame, jobs: Sequence[Job]) -> pandas.DataFrame:
    """Add the method BEST: in each split, the cells of the rival that was best in that split's rehearsal."""
    parts = [cells]
    for job in jobs:
        if ranking := rehearsed(job):
            chosen = (cells["split"] == job.split) & (cells["method"] == next(iter(ranking)))
            parts.append(cells[chosen].assign(method=BEST))
    return pandas.concat(parts, ignore_index=True)


def names_of_best(jobs: Sequence[Job]) -> list[str]:
    """The chosen rival of each split."""
    return [next(iter(ranking)) for job in jobs if (ranking := rehearsed(job))]


def rehearsal_table(jobs: Sequence[Job]) -> str:
    """One row a rival, one column a split, in the order of the mean."""
    columns = {f"split {job.split + 1}": rehearsed(job) for job in jobs}
    table = pandas.DataFrame(columns)
    if table.empty:
        return "No rival was rehearsed."
    table = table.loc[table.mean(axis=1).sort_values().index]
    lines = ["| rival | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in table.iterrows():
        marks = ["**" if next(iter(columns[split]), None) == name else "" for split in columns]
        cells = [
            "" if math.isnan(value) else f"{mark}{value:+.4f}{mark}" for mark, value in zip(marks, row, strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
