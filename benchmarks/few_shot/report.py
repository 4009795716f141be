"""Tables, plots and the raw market means of a run, as docs/results/few_shot.*."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas

from benchmarks.few_shot.best import names_of_best, rehearsal_table, with_best
from benchmarks.few_shot.claims import BEST, Claim, overall_claims, world_claims
from benchmarks.few_shot.data import DATASETS
from benchmarks.few_shot.design import CASE_CONTROL, RANDOM, Design
from benchmarks.few_shot.plots import plot_world
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.run import Job, facts_of
from benchmarks.few_shot.statistics import HARM, SETTING, market_means
from benchmarks.few_shot.tables import harm_table, summary_table, table_by_size
from benchmarks.few_shot.thetaprime import THETA

INTRODUCTION = """\
# Few-shot quality

Written by `python -m benchmarks.few_shot{arguments}`; do not edit. Source markets teach; a held-out market posts
n = {n_supports} accounts drawn at random, no base rate declared, or {n_defaults} defaulters with four goods each and a
declared base rate: its own, and that times {factors}. Every rival is given the same. {n_draws} draws a market; in a
draw the judged accounts (the query: up to {max_query}, with the market's own default rate, other ones in each draw) are
the same in every cell, and larger supports hold the smaller. Held out: every market with at least {min_rows} accounts,
dealt into {n_splits} splits by seed {seed}; all else is source; a state's eras are held out together. Every market held
out is in every random cell, so means over n are of the same markets; a market is in a label-selected cell if it has the
rows, each cell has its count, and cells of fewer than {min_markets} markets are left out. Numbers are means over draws
within a market, then over markets; intervals are 95 %, by bootstrap over markets, paired. A method marked * is slow and
had fewer draws (and the true declared rate alone): its differences and harmed share compare on common draws, its other
numbers are of its draws.

Each method is tuned on source markets only. theta's recipe is the default one, and that default was chosen with an eye
on these portfolios: architecture, learning rate, dropout and averaging in trials that held out markets of Lending Club
states and SBA states; the learner, the teacher and the rule of harm by leave-markets-out results on the source markets
of split 1 of Lending Club states and purposes and SBA states, and on all markets of SBA by state and era. Part of
theta's lead may be that choice.

- **Best**: the rival that was best in rehearsal: {n_rehearsed} source markets taken for new by models that have not
  seen them, n = {rehearsed}; chosen in each split, so it may be another in another split. **Delta best**, **Delta
  trees**: log loss minus that of *best* and of *{rival}*, below zero is better; rows are in the order of the latter.
- **Harmed**: share of markets whose mean log loss is more than {harm} above that under {theta}; in brackets: above it
  at all. **Worst decile**: by how much log loss is above {theta}'s in the tenth of markets that is worst off.
- **Slope**: of the outcome on the logit of PD, 1 is right. **Level known**: log loss once each market's best intercept
  is given away: what is left is ranking and shape. **ECE**: ten bins of equally many accounts; noise alone keeps it
  well above zero in markets of a few hundred accounts.
- **Coverage**: share of draws in which the 90 % range of a market's mean PD holds the default rate of the judged
  accounts, with its standard error over markets, and the mean width of the range.
- *{theta}* is served before anything is posted, *theta + level* moves the intercept alone, *guarded* means theta_prime
  where the verdict is `activate` and theta elsewhere. *+ level*: the market's intercept under a normal prior learned on
  the source markets from leave-markets-out predictions (posterior mode); with a declared rate, under a prior centred
  where the accounts' mean PD is that rate, logits corrected for the selection of the support (King & Zeng).
"""


def write_report(cells: pandas.DataFrame, design: Design, jobs: Sequence[Job], output: Path) -> str:
    """Write few_shot.md, few_shot.csv and a plot a world to ``output``; answer the claims in words."""
    output.mkdir(parents=True, exist_ok=True)
    cells = compared(cells, design.min_markets)
    parts: list[str] = []
    claims: dict[str, list[Claim]] = {}
    for world in cells["world"].unique():
        of_world = [job for job in jobs if job.world == world]
        known = with_best(cells[cells["world"] == world], of_world)
        picture = plot_world(known[known["design"] == RANDOM], DATASETS[world].title, output / f"few_shot_{world}.png")
        claims[world] = world_claims(known)
        parts += _world_section(known, claims[world], picture.name, of_world)
    summary = _claims_section(claims)
    (output / "few_shot.md").write_text("\n".join([_introduction(design), summary, *parts]) + "\n")
    raw = pandas.concat([_raw_means(of_world) for _, of_world in cells.groupby("world", sort=False)])
    raw.to_csv(output / "few_shot.csv", index=False, float_format="%.5g")
    return summary


def compared(cells: pandas.DataFrame, min_markets: int) -> pandas.DataFrame:
    """Leave out settings of fewer markets than a fair mean needs (where the whole run has as many: a look has not)."""
    wanted = np.minimum(min_markets, cells.groupby("world")["market"].transform("nunique"))
    return cells[cells.groupby(["world", *SETTING])["market"].transform("nunique") >= wanted]


def _introduction(design: Design) -> str:
    arguments = "" if design == Design() else f" --seed {design.seed} --draws {design.n_draws}"
    return INTRODUCTION.format(
        arguments=arguments,
        n_supports=_listed(design.n_supports),
        n_defaults=_listed(design.n_defaults),
        factors=" and ".join(f"{factor:g}" for factor in design.rate_factors if factor != 1),
        n_draws=design.n_draws,
        max_query=design.max_query,
        n_splits=design.n_splits,
        min_rows=design.min_rows,
        min_markets=design.min_markets,
        seed=design.seed,
        n_rehearsed=design.n_rehearsed,
        rehearsed=_listed(design.rehearsed_supports),
        rival=MAIN_RIVAL,
        harm=HARM,
        theta=THETA,
    )


def _claims_section(claims: dict[str, list[Claim]]) -> str:
    lines = ["\n## What was to be shown\n", *(f"- **{claim}**" for claim in overall_claims(claims))]
    for world, of_world in claims.items():
        lines += [f"\n{DATASETS[world].title}:\n", *(f"- {claim}" for claim in of_world)]
    return "\n".join(lines)


def _world_section(
    cells: pandas.DataFrame, claims: Sequence[Claim], picture: str, jobs: Sequence[Job]
) -> Iterator[str]:
    world = DATASETS[cells["world"].iloc[0]]
    drawn, selected = cells[cells["design"] == RANDOM], cells[cells["design"] == CASE_CONTROL]
    yield f"\n## {world.title}\n\n{_counts(cells, jobs)}\n"
    yield from (f"- {claim}" for claim in claims)
    yield f"\n![{world.title}]({picture})\n\nAccounts drawn at random, means over n:\n"
    yield summary_table(drawn, _skipped(jobs))
    yield "\nLog loss by n:\n\n" + table_by_size(drawn, "log_loss", "n", (MAIN_RIVAL, BEST))
    yield "\nAUC by n:\n\n" + table_by_size(drawn, "auc", "n", (MAIN_RIVAL, BEST))
    for factor in sorted(selected["rate_factor"].unique().tolist(), key=lambda f: (f != 1, f)):
        rate = "its own default rate" if factor == 1 else f"{factor:g} times its own default rate"
        yield f"\nLog loss by the number of defaulters, four goods each, declared: {rate}:\n"
        yield table_by_size(selected[selected["rate_factor"] == factor], "log_loss", "d", (MAIN_RIVAL, BEST))
    if THETA in set(cells["method"]):
        yield f"\nAgainst {THETA}, guard on and off; log loss, a gain above zero is better:\n\n{harm_table(cells)}"
    yield "\nRehearsed on source markets, log loss minus that of the main rival; the best of each split in bold:\n"
    yield rehearsal_table(jobs)
    yield from _chosen(jobs)


def _chosen(jobs: Sequence[Job]) -> Iterator[str]:
    yield "\n<details><summary>What each method chose on the source markets</summary>\n\n```json"
    for job in jobs:
        for method in job.methods:
            known = {key: value for key, value in job.chosen(method).items() if key != "rehearsed"}
            yield f"split {job.split + 1}, {method}: {json.dumps(known)}"
    yield "```\n</details>"


def _counts(cells: pandas.DataFrame, jobs: Sequence[Job]) -> str:
    facts = facts_of(jobs[0].world, jobs[0].data)
    parts = []
    for split in sorted(cells["split"].unique().tolist()):
        markets = sorted(cells.loc[cells["split"] == split, "market"].unique())
        parts.append(f"split {split + 1}: {len(markets)} ({', '.join(markets)})")
    dropped = f" {facts['n_dropped']} rows of no era were left out." if facts["n_dropped"] else ""
    best = ", ".join(dict.fromkeys(names_of_best(jobs))) or "not rehearsed"
    return (
        f"{facts['n_rows']} accounts in {facts['n_markets']} markets.{dropped} Held-out markets in each random cell:"
        f" {cells['market'].nunique()}. {'; '.join(parts)}. {BEST.capitalize()}: {best}."
    )


def _skipped(jobs: Sequence[Job]) -> dict[str, str]:
    """Reasons by the names of methods that were not run."""
    found = [job.chosen(method) for job in jobs for method in job.methods if not job.file(method).exists()]
    return {name: known["skipped"] for known in found if "skipped" in known for name in known["names"]}


def _raw_means(cells: pandas.DataFrame) -> pandas.DataFrame:
    """One row a (method, market, setting): means over draws of what the claims rest on."""
    means = market_means(cells, by_setting=True)
    means.insert(0, "world", cells["world"].iloc[0])
    return means[["world", "method", "market", *SETTING, "log_loss", "auc", "brier"]]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
