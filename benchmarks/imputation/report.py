"""Cells -> docs/results/imputation.md and its plot: what was to be shown first, then every number."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas

from benchmarks.imputation.claims import PAPER, REFERENCE, TITLES, claims_of, has_collapsed, speed_claims
from benchmarks.imputation.methods import ADVERSARY, METHODS
from benchmarks.imputation.run import DRAWN_ROWS, MAIN, N_DRAWS, OTHERS

matplotlib.use("Agg")
from matplotlib import pyplot

NAME = "imputation"
NUMBERS = ("rmse", "crps", "coverage", "told_apart", "fit_s", "fill_s_per_100k")

HEAD = """# Filling what is missing

Written by `python -m benchmarks.imputation`; do not edit. The GAIN paper's protocol: columns scaled to [0, 1],
{rate:.0%} of the values hidden, root mean squared error on them; a categorical column is hidden as a whole and judged
by its flags, against probabilities. Credit is the public Taiwan file: 23 columns, as numbers (codes as in the public
file) or with its nine coded columns one-hot: 87 columns, for the four codes that are missing here have none. Flags of
one field are missing together, and no method may learn one of them from another. Means over seeds, give or take the
standard deviation over seeds; slow methods had fewer seeds, and where their name says so fewer rows to learn from.

- **CRPS**: of {draws} draws of the first {rows:,} rows, over all hidden entries; below is better. **Coverage**: of
  the central 90 % of the draws, numeric entries alone, ties by lot. **Told apart**: AUC of boosted trees that tell rows
  filled by one draw from other, real rows; 0.5 would be not at all.
- **Collapsed**: of a GAN's seeds those in which a column's fills were all but one value, or lay away from what was
  observed (`meta/imputers/collapse.py`), and which columns; nothing is repaired here. **Median**: of RMSE over seeds.
- **Fit**: processor seconds of one core. **Fill**: of 100,000 rows, from the table's own. **Ratio**: of it to ours.
- *Conditional* is `meta/imputers/conditional.py`; *with adversary*: a discriminator's loss of weight {adversary}
  beside its own. Its width, steps, decay and dropout were chosen with an eye on these tables (20 %, seed 0); other
  seeds and gaps, default risk and intervals had no part in it.

What filling does for default risk and for intervals: [imputation_risk.md](imputation_risk.md). Every number here is of
a line of [imputation.jsonl](imputation.jsonl).
"""


def write_report(
    cells: Sequence[Mapping[str, Any]],
    speed: Mapping[str, Any],
    more: Sequence[str],
    output: Path,
) -> str:
    """Write the page and the plot; ``more`` are sections of others. Returns what was to be shown."""
    frame = pandas.DataFrame(list(cells))
    failed = frame[frame["failed"].notna()] if "failed" in frame else frame.iloc[:0]
    main = frame[(frame["mechanism"] == MAIN[0]) & (frame["rate"] == MAIN[1])]
    claims = [*claims_of(main), *speed_claims(speed)]
    head = HEAD.format(rate=MAIN[1], draws=N_DRAWS, rows=DRAWN_ROWS, adversary=ADVERSARY)
    parts = [head, "## What was to be shown\n", "\n".join(f"- {claim}" for claim in claims)]
    parts += [
        "\n![Error by table](imputation.png)\n",
        *(_table(main, table) for table in TITLES if table in set(main["table"])),
    ]
    parts += ["## Other gaps\n", _other_gaps(frame), "## Speed, side by side\n", _speed(speed)]
    parts += ["## Fits that failed\n", _failures(failed, len(frame))]
    parts += [section for section in more if section]
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{NAME}.md").write_text("\n".join(parts) + "\n")
    _plot(main, output / f"{NAME}.png")
    return "\n".join(claims)


def _table(main: pandas.DataFrame, table: str) -> str:
    own = main[main["table"] == table]
    rows = [f"## {TITLES[table]}\n", _known_figures(table)]
    rows += [
        "| method | seeds | RMSE | median | collapsed | CRPS | coverage | told apart | fit, s | fill, s | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    stats = own.groupby("method")[list(NUMBERS)].agg(["mean", "std"])
    ours = own.loc[own["method"] == "conditional", "fill_s_per_100k"].mean()  # NaN where ours was not run
    for name in stats[("rmse", "mean")].sort_values().index:
        row, runs = stats.loc[name], own[own["method"] == name]
        spread = f" ± {row[('rmse', 'std')]:.4f}" if np.isfinite(row[("rmse", "std")]) else ""
        rows.append(
            f"| {METHODS[name].title} | {len(runs)} | {row[('rmse', 'mean')]:.4f}{spread} "
            f"| {runs['rmse'].median():.4f} | {_collapsed(runs)} "
            f"| {row[('crps', 'mean')]:.4f} | {row[('coverage', 'mean')]:.1%} | {row[('told_apart', 'mean')]:.3f} "
            f"| {row[('fit_s', 'mean')]:.0f} | {row[('fill_s_per_100k', 'mean')]:.2f} "
            f"| {_ratio(row[('fill_s_per_100k', 'mean')] / ours)} |"
        )
    return "\n".join(rows) + "\n"


def _ratio(found: float) -> str:
    return f"{found:.1f}" if np.isfinite(found) else ""


def _collapsed(runs: pandas.DataFrame) -> str:
    """In how many seeds, and which columns; blank where nobody looked."""
    if "collapsed" not in runs or runs["collapsed"].isna().all():
        return ""
    names = sorted({name for told in runs["collapsed"].dropna() for name in told})
    return f"{int(has_collapsed(runs).sum())} of {len(runs)}" + (f" ({', '.join(names)})" if names else "")


def _known_figures(table: str) -> str:
    paper = f"the paper {PAPER[table]:.4f}" if table in PAPER else "the paper gives none for this coding"
    return f"GAIN elsewhere: {paper}; a trial of the authors' program on this file {REFERENCE[table]:.3f}.\n"


def _other_gaps(frame: pandas.DataFrame) -> str:
    rows = ["| table | gaps | " + " | ".join(METHODS[m].title for m in _others(frame)) + " |"]
    rows.append("|" + "---|" * (2 + len(_others(frame))))
    for table in TITLES:
        for mechanism, rate in OTHERS:
            own = frame[(frame["table"] == table) & (frame["mechanism"] == mechanism) & (frame["rate"] == rate)]
            if own.empty:
                continue
            by_method = own.set_index("method")
            cells = [
                f"{by_method.loc[m, 'rmse']:.4f} ({by_method.loc[m, 'crps']:.4f}, {by_method.loc[m, 'coverage']:.0%})"
                if m in by_method.index
                else "not run"
                for m in _others(frame)
            ]
            rows.append(f"| {TITLES[table]} | {mechanism}, {rate:.0%} | " + " | ".join(cells) + " |")
    said = (
        "RMSE, in brackets CRPS and coverage; one seed. MAR: by the first column; MNAR: large values are likelier gone."
    )
    return said + "\n\n" + "\n".join(rows) + "\n"


def _others(frame: pandas.DataFrame) -> list[str]:
    other = frame[(frame["mechanism"] != MAIN[0]) | (frame["rate"] != MAIN[1])]
    return [name for name in METHODS if name in set(other["method"])]


def _speed(speed: Mapping[str, Any]) -> str:
    if not speed:
        return "Not measured.\n"
    rows = ["| imputer | 100,000 rows, s | ratio | one row, ms |", "|---|---|---|---|"]
    ours = speed["many"]["conditional"]
    for name, seconds in speed["many"].items():
        one = f"{1e3 * speed['one'][name]:.2f}" if name in speed["one"] else ""
        title = METHODS[name if name in METHODS else "gain_paper"].title
        rows.append(f"| {title} | {seconds:.2f} | {seconds / ours:.1f} | {one} |")
    return (
        "Credit as 23 numbers, 20 % missing, fitted on 6,000 rows, one thread, wall clock, by turns in one process.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def _failures(failed: pandas.DataFrame, n_cells: int) -> str:
    if failed.empty:
        return f"None of {n_cells}.\n"
    return (
        "\n".join(
            f"- {row['table']}, {row['method']}, seed {row['seed']}: {row['failed']}" for _, row in failed.iterrows()
        )
        + "\n"
    )


def _plot(main: pandas.DataFrame, file: Path) -> None:
    tables = [table for table in TITLES if table in set(main["table"])]
    figure, axes = pyplot.subplots(1, len(tables), figsize=(4.0 * len(tables), 4.2), squeeze=False)
    colours = {"simple": "#999999", "chained": "#3b6ea5", "gan": "#c0504d", "ours": "#2e8b57", "latent": "#8064a2"}
    for axis, table in zip(axes[0], tables, strict=True):
        means = main[main["table"] == table].groupby("method")["rmse"].mean().sort_values(ascending=False)
        axis.barh(
            [METHODS[m].title for m in means.index],
            means.to_numpy(),
            color=[colours[METHODS[m].group] for m in means.index],
        )
        axis.set_title(TITLES[table])
        axis.set_xlabel("RMSE")
        axis.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
