"""Tables, plots and the raw market means of a run, as docs/results/few_shot.*."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas

from benchmarks.few_shot.data import DATASETS
from benchmarks.few_shot.design import Design
from benchmarks.few_shot.plots import plot_world
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.run import METRICS, Job
from benchmarks.few_shot.statistics import HARM, difference, harmed_share, market_means
from benchmarks.few_shot.thetaprime import THETA, THETA_PRIME

COLUMNS = {
    "log_loss": "log loss",
    "auc": "AUC",
    "brier": "Brier",
    "ece": "ECE",
    "ks": "KS",
    "log_loss_at_own_level": "log loss, level known",
}
INTRODUCTION = """\
# Few-shot quality

Written by `python -m benchmarks.few_shot{arguments}`; do not edit. Source markets teach; a held-out market posts
n = {n_supports} accounts drawn at random ({n_draws} draws, the same for every method, larger supports containing the
smaller); metrics are of the market's other accounts. Held out: every market with at least {min_rows} accounts, dealt
into {n_splits} splits by seed {seed}; all else is source. A method marked * is slow and had fewer draws: its Delta and
harmed share compare on those draws alone, its other numbers are of them and not comparable to the last digit.
Each method is tuned on source markets only; theta's recipe is the default one. What that default fixes (architecture,
learning rate, dropout, averaging) was chosen in trials that held out markets of Lending Club states and SBA states,
these same splits among them: on those two, part of theta's lead may be choice. No choice was made on purposes. Numbers
are means over draws and n within a market, then over markets; intervals are 95 %, by bootstrap over markets, paired.

- **Delta**: log loss minus that of *{rival}*, below zero is better; rows are in its order. **Harmed**: share of markets
  whose mean log loss is more than {harm} above that under {theta}; in brackets: above it at all.
- **Level known**: log loss once each market's best intercept is given away: what is left is ranking and shape.
- **ECE**: ten bins of equally many accounts. Noise alone keeps it well above zero in markets of a few hundred accounts.
- *{theta}* is served before anything is posted, *theta + level* moves the intercept alone, *guarded* means theta_prime
  where the verdict is `activate` and theta elsewhere. *+ level*: the market's intercept under a normal prior learned on
  the source markets from leave-markets-out predictions (empirical Bayes, posterior mode).
"""


def write_report(cells: pandas.DataFrame, design: Design, jobs: Sequence[Job], output: Path) -> str:
    """Write few_shot.md, few_shot.csv and a plot a world to ``output``; answer the claims in words."""
    output.mkdir(parents=True, exist_ok=True)
    parts, claims = [_introduction(design)], []
    for world in cells["world"].unique():
        of_world = cells[cells["world"] == world]
        picture = plot_world(of_world, DATASETS[world].title, output / f"few_shot_{world}.png")
        claim = _claim(of_world)
        claims.append(f"{DATASETS[world].title}: {claim}")
        parts += _world_section(of_world, claim, picture.name, [job for job in jobs if job.world == world])
    (output / "few_shot.md").write_text("\n".join(parts) + "\n")
    raw = pandas.concat([_raw_means(of_world) for _, of_world in cells.groupby("world", sort=False)])
    raw.to_csv(output / "few_shot.csv", index=False, float_format="%.5f")
    return "\n".join(claims)


def _introduction(design: Design) -> str:
    arguments = "" if design == Design() else f" --seed {design.seed} --draws {design.n_draws}"
    return INTRODUCTION.format(
        arguments=arguments,
        n_supports=", ".join(map(str, design.n_supports)),
        n_draws=design.n_draws,
        n_splits=design.n_splits,
        min_rows=design.min_rows,
        seed=design.seed,
        rival=MAIN_RIVAL,
        harm=HARM,
        theta=THETA,
    )


def _claim(cells: pandas.DataFrame) -> str:
    if not {THETA_PRIME, MAIN_RIVAL} <= set(cells["method"]):
        return "theta_prime and the main rival were not both run"
    gap = difference(cells, THETA_PRIME, MAIN_RIVAL, "log_loss")
    word = "not above" if gap.mean <= 0 else "above"
    return (
        f"theta_prime's log loss is {word} that of {MAIN_RIVAL}: {gap.mean:+.5f}"
        f" [{gap.low:+.5f}, {gap.high:+.5f}] over {gap.n_markets} markets"
    )


def _world_section(cells: pandas.DataFrame, claim: str, picture: str, jobs: Sequence[Job]) -> Iterator[str]:
    world = DATASETS[cells["world"].iloc[0]]
    yield f"\n## {world.title}\n\n{_counts(cells)}\n\n**{claim}**\n\n![{world.title}]({picture})\n"
    yield _summary_table(cells)
    yield "\nLog loss by n:\n"
    yield _table_by_n(cells)
    yield "\n<details><summary>What each method chose on the source markets</summary>\n\n```json"
    for job in jobs:
        for method in job.methods:
            yield f"split {job.split + 1}, {method}: {_compact(job.file(method).with_suffix('.json'))}"
    yield "```\n</details>"


def _counts(cells: pandas.DataFrame) -> str:
    parts = []
    for split in sorted(cells["split"].unique().tolist()):
        markets = sorted(cells.loc[cells["split"] == split, "market"].unique())
        parts.append(f"split {split + 1}: {len(markets)} ({', '.join(markets)})")
    return f"Held-out markets in each cell: {cells['market'].nunique()}. {'; '.join(parts)}."


def _summary_table(cells: pandas.DataFrame) -> str:
    means = market_means(cells, by_n=False).groupby("method")[list(METRICS)].mean()
    lines = [
        "| method | " + " | ".join([*COLUMNS.values(), "Delta", "harmed"]) + " |",
        "|---" * (len(COLUMNS) + 3) + "|",
    ]
    for method in _in_order(cells):
        values = [f"{value:.4f}" for value in means.loc[[method], list(COLUMNS)].to_numpy()[0]]
        lines.append(
            f"| {_marked(cells, method)} | "
            + " | ".join([*values, _delta(cells, method), _harmed(cells, method)])
            + " |"
        )
    return "\n".join(lines)


def _in_order(cells: pandas.DataFrame) -> list[str]:
    """Methods by their difference to the main rival on common draws, the best first."""
    methods: list[str] = cells["method"].unique().tolist()
    anchor = MAIN_RIVAL if MAIN_RIVAL in methods else methods[0]
    return sorted(methods, key=lambda method: difference(cells, method, anchor, "log_loss").mean)


def _marked(cells: pandas.DataFrame, method: str) -> str:
    n_draws = cells.groupby("method")["draw"].nunique()
    return f"{method}*" if n_draws[method] < n_draws.max() else method


def _delta(cells: pandas.DataFrame, method: str) -> str:
    if MAIN_RIVAL not in set(cells["method"]) or method == MAIN_RIVAL:
        return ""
    gap = difference(cells, method, MAIN_RIVAL, "log_loss")
    return f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"


def _harmed(cells: pandas.DataFrame, method: str) -> str:
    if THETA not in set(cells["method"]) or method == THETA:
        return ""
    return f"{harmed_share(cells, method, THETA):.0%} ({harmed_share(cells, method, THETA, 0.0):.0%})"


def _table_by_n(cells: pandas.DataFrame) -> str:
    means = market_means(cells, by_n=True).groupby(["method", "n_support"])["log_loss"].mean().unstack()
    means = means.loc[_in_order(cells)]
    lines = [
        "| method | " + " | ".join(f"n = {n}" for n in means.columns) + " |",
        "|---" * (len(means.columns) + 1) + "|",
    ]
    for method, row in zip(means.index, means.to_numpy(), strict=True):
        lines.append(f"| {_marked(cells, method)} | " + " | ".join(f"{value:.4f}" for value in row) + " |")
    if {THETA_PRIME, MAIN_RIVAL} <= set(means.index):
        gaps = [_delta(cells[cells["n_support"] == n], THETA_PRIME) for n in means.columns]
        lines.append(f"| Delta of {THETA_PRIME} | " + " | ".join(gaps) + " |")
    return "\n".join(lines)


def _raw_means(cells: pandas.DataFrame) -> pandas.DataFrame:
    """One row a (method, market, n): means over draws."""
    means = market_means(cells, by_n=True)
    means.insert(0, "world", cells["world"].iloc[0])
    return means


def _compact(file: Path) -> str:
    return json.dumps(json.loads(file.read_text()))
