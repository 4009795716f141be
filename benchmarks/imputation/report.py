"""Cells -> docs/results/imputation.md and its plot: what was to be shown first, then every number."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas

from benchmarks.imputation.methods import ADVERSARY, METHODS
from benchmarks.imputation.run import DRAWN_ROWS, MAIN, N_DRAWS, OTHERS

matplotlib.use("Agg")
from matplotlib import pyplot

NAME = "imputation"
TITLES = {
    "credit": "Credit, 23 numbers",
    "credit_one_hot": "Credit, one-hot",
    "spam": "Spam",
    "letter": "Letter",
}
PAPER = {"credit": 0.1858, "spam": 0.0513, "letter": 0.1198}
REFERENCE = {"credit": 0.135, "credit_one_hot": 0.227, "spam": 0.053, "letter": 0.124}
SEED_NOISE = 2.0  # standard deviations over seeds
ROUNDING = 0.002  # of the reference's figures, one seed each
NUMBERS = ("rmse", "crps", "coverage", "told_apart", "fit_s", "fill_s_per_100k")

HEAD = """# Filling what is missing

Written by `python -m benchmarks.imputation`; do not edit. The GAIN paper's protocol: columns scaled to [0, 1],
{rate:.0%} of the values hidden, root mean squared error on them; a categorical column is hidden as a whole and judged
by its flags, against probabilities. Credit is the public Taiwan file: 23 columns, as numbers (codes as in the public
file) or with its nine coded columns one-hot: 87 columns, for the four codes that are missing here have none. Means over
seeds, give or take the standard deviation over seeds; slow methods had fewer seeds, and where their name says so fewer
rows to learn from.

- **CRPS**: of {draws} draws of the first {rows:,} rows, over all hidden entries; below is better. **Coverage**: of
  the central 90 % of the draws, numeric entries alone, ties by lot. **Told apart**: AUC of boosted trees that tell rows
  filled by one draw from other, real rows; 0.5 would be not at all.
- **Fit**: processor seconds of one core. **Fill**: of 100,000 rows, from the table's own.
- *Conditional* is `meta/imputers/conditional.py`; *with adversary*: a discriminator's loss of weight {adversary}
  beside its own.
"""


def write_report(
    cells: Sequence[Mapping[str, Any]],
    speed: Mapping[str, Any],
    more_claims: Sequence[str],
    more: Sequence[str],
    output: Path,
) -> str:
    """Write the page and the plot; ``more`` are sections of others. Returns what was to be shown."""
    frame = pandas.DataFrame(list(cells))
    failed = frame[frame["failed"].notna()] if "failed" in frame else frame.iloc[:0]
    main = frame[(frame["mechanism"] == MAIN[0]) & (frame["rate"] == MAIN[1])]
    claims = [*_claims(main), *_speed_claims(speed), *more_claims]
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


def _claims(main: pandas.DataFrame) -> list[str]:
    found = []
    for table, title in TITLES.items():
        own = main[main["table"] == table]
        if own.empty:
            continue
        means = own.groupby("method")["rmse"].mean()
        if "gain_reference" in means:
            found.append(_reference(own[own["method"] == "gain_reference"]["rmse"], table, title))
        if "conditional" in means:
            found += _ours(own, means, table, title)
    return found


def _reference(errors: pandas.Series, table: str, title: str) -> str:
    """Is the published method here what it is there? Within two standard deviations over seeds, or one's rounding."""
    spread = errors.std(ddof=1) if len(errors) > 1 else 0.0
    near = abs(errors.mean() - REFERENCE[table]) <= max(SEED_NOISE * spread, ROUNDING)
    seeds = f"± {spread:.4f} over {len(errors)} seeds" if len(errors) > 1 else "one seed"
    text = f"{title}: GAIN as the authors' program, {errors.mean():.4f} ({seeds}), is the reference's"
    return _said(near, f"{text} {REFERENCE[table]:.3f} within seed noise")


def _ours(own: pandas.DataFrame, means: pandas.Series, table: str, title: str) -> list[str]:
    ours = means["conditional"]
    groups = {name: METHODS[name].group for name in means.index}
    chained = min((means[name], name) for name in means.index if groups[name] == "chained")
    gans = [means[name] for name in means.index if groups[name] == "gan"]
    found = []
    if table.startswith("credit"):
        best = f"{METHODS[chained[1]].title}, {chained[0]:.4f}"
        text = f"{title}: conditional {ours:.4f}, within 5 % of the best chained ({best}): {ours / chained[0] - 1:+.1%}"
        found.append(_said(ours <= 1.05 * chained[0], text))
    if gans:
        found.append(_said(ours < min(gans), f"{title}: conditional {ours:.4f}, below every GAN's ({min(gans):.4f})"))
    rivals = own[~own["method"].str.startswith("conditional")].groupby("method")[["crps", "coverage"]].mean()
    crps = own[own["method"] == "conditional"]["crps"].mean()
    cover = own[own["method"] == "conditional"]["coverage"].mean()
    best = rivals["crps"].min()
    found.append(_said(crps < best, f"{title}: CRPS of its draws {crps:.4f}, best rival's {best:.4f}"))
    nearest = (rivals["coverage"] - 0.9).abs().min()
    found.append(
        _said(
            abs(cover - 0.9) <= nearest,
            f"{title}: coverage {cover:.1%}, {abs(cover - 0.9):.1%} from 90 %; nearest rival {nearest:.1%}",
        )
    )
    return found


def _speed_claims(speed: Mapping[str, Any]) -> list[str]:
    if not speed:
        return []
    ratio, one = speed["many"]["boosting"] / speed["many"]["conditional"], speed["one"]["conditional"]
    return [
        _said(one < 1e-3, f"one row filled in {1e3 * one:.2f} ms (under 1 asked)"),
        _said(ratio >= 50, f"100,000 rows {ratio:.0f} times faster than chained histogram boosting (50 asked)"),
    ]


def _said(reached: bool, text: str) -> str:
    return f"REACHED: {text}" if reached else f"**NOT REACHED: {text}**"


def _table(main: pandas.DataFrame, table: str) -> str:
    own = main[main["table"] == table]
    rows = [f"## {TITLES[table]}\n", _known_figures(table)]
    rows += [
        "| method | seeds | RMSE | CRPS | coverage | told apart | fit, s | fill, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    stats = own.groupby("method")[list(NUMBERS)].agg(["mean", "std"])
    for name in stats[("rmse", "mean")].sort_values().index:
        row = stats.loc[name]
        spread = f" ± {row[('rmse', 'std')]:.4f}" if np.isfinite(row[("rmse", "std")]) else ""
        rows.append(
            f"| {METHODS[name].title} | {int((own['method'] == name).sum())} | {row[('rmse', 'mean')]:.4f}{spread} "
            f"| {row[('crps', 'mean')]:.4f} | {row[('coverage', 'mean')]:.1%} | {row[('told_apart', 'mean')]:.3f} "
            f"| {row[('fit_s', 'mean')]:.0f} | {row[('fill_s_per_100k', 'mean')]:.2f} |"
        )
    return "\n".join(rows) + "\n"


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
    colours = {"simple": "#999999", "chained": "#3b6ea5", "gan": "#c0504d", "ours": "#2e8b57"}
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
