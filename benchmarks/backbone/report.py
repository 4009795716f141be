"""The tables and the plot of docs/results/backbone.md, and what they say in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.backbone.candidates import CANDIDATES, CHOSEN
from benchmarks.backbone.measure import MIN_ROWS, Score, differences, verdict
from benchmarks.backbone.run import Setting
from benchmarks.backbone.training import SCHEDULE
from benchmarks.backbone.worlds import WORLDS
from benchmarks.few_shot.statistics import Difference

Scores = Mapping[str, Mapping[str, Score]]  # by world, then by candidate
Gaps = Mapping[str, Mapping[str, Difference]]
TICKS = (-100, -20, -5, 0, 5, 20, 100, 400)  # of the plot, in UNIT
UNIT = 1e-4  # of differences in the tables, nats an account
PARTS = {
    "without linear part": "the linear part",
    "without teacher": "the teacher",
    "teacher alone (share 1)": "the labels beside the teacher",
    "no dropout": "dropout",
    "head on last layer alone": "the head's sight of every layer",
}
COLOURS = {"better": "#15803d", "worse": "#c2410c", "even": "#777777"}
INTRODUCTION = """\
# Backbones

Written by `python -m benchmarks.backbone{arguments}`; do not edit. Which network (or which trees) theta should be,
before any adaptation. Source markets only: those of the few-shot benchmark's first split (what that split holds out
was not looked at; its other splits hold out some of these) and of the synthetic world of `benchmarks/trust`.

Markets are dealt into three folds, and each is predicted by what was learned on the other two. Of these, a few markets
with about 15 % of the rows are learned from by nobody: they choose a network's step (of {n_steps}, every {every}), the
rounds of trees and the strength of the ridge, by log loss once each market's level is fitted. So every candidate has
had the same rows and none has looked at the fold that is reported. A candidate is *{chosen}* (8 members,
two layers of 64, dropout 0.2, teacher's share 0.5, linear part) with one thing changed, or another model; none was
tuned further. Losses are means over {n_starts} fits of each, from starting weights and batches of their own (of trees:
seeds). What is chosen came of earlier trials on these portfolios: part of its lead may be choice.

- **Log loss**: mean over held-out markets of at least {min_rows} accounts, each once its level is fitted under a
  Normal(0, 0.3) prior. **Delta**: the same minus that of *{chosen}*, in 1/10,000 nats an account, below
  zero is better; intervals are 95 %, by paired bootstrap over markets, widened for the luck of the starts. Bold: zero
  is outside.
- **Delta, stretched**: once each candidate's logits are stretched by its own calibration slope (one number a world),
  as the product does to its network's. **AUC**: mean over markets, weighted by defaults. **Slope**: calibration slope,
  each market with its own level. **Seconds**: of one processor, a fold, the teacher's included; monotone trees are
  fitted twice over. **Steps**: of a network, rounds of trees; for the ridge 1000 C.
- Exact contributions: of the ridge and the additive network alone; the others are explained by `meta/explain.py`.
- Monotone: {monotone}.
"""


def write_report(scores: Scores, setting: Setting, output: Path) -> str:
    """Write backbone.md and backbone.png; answer what they say."""
    output.mkdir(parents=True, exist_ok=True)
    gaps = {world: differences(by_name, CHOSEN) for world, by_name in scores.items()}
    stretched = {world: differences(by_name, CHOSEN, "stretched") for world, by_name in scores.items()}
    said = "\n".join(f"- {line}" for line in claims(gaps, stretched))
    parts = [
        _introduction(setting),
        "## What it says\n",
        said + "\n",
        "![Difference to what is chosen](backbone.png)\n",
    ]
    parts += ["## Delta by world\n", _summary(gaps)]
    for world, by_name in scores.items():
        parts += [f"## {WORLDS[world].title}\n", _table(by_name, gaps[world], stretched[world])]
    _plot(gaps, output / "backbone.png")
    (output / "backbone.md").write_text("\n".join(parts))
    return said


def claims(gaps: Gaps, stretched: Gaps) -> list[str]:
    """What is best where, what the chosen one's parts are worth, and whether another one should be chosen."""
    said = [_best(WORLDS[world].title, by_name) for world, by_name in gaps.items()]
    tried = _by_candidate(gaps)
    said += [_worth(part, tried[name]) for name, part in PARTS.items() if name in tried]
    n_gaps = sum(len(by_world) for by_world in tried.values())
    n_outside = sum(_outside(gap) != "even" for by_world in tried.values() for gap in by_world.values())
    said.append(f"{n_outside} of {n_gaps} differences have zero outside their interval; luck alone would give 1 in 20.")
    return [*said, *_choice(tried, _by_candidate(stretched))]


def _choice(tried: Gaps, stretched: Gaps) -> list[str]:
    """Say whether another candidate should be chosen, and which parts of the chosen one are shown to be needed."""
    better = [
        [name for name, by_world in found.items() if verdict(by_world) == "better"] for found in (tried, stretched)
    ]
    said = [
        f"Better in {measure} beyond the interval in two worlds and worse in none: {_listed(names)}."
        for measure, names in zip(("log loss", "log loss once stretched"), better, strict=True)
    ]
    needed = [part for name, part in PARTS.items() if name in tried and verdict(tried[name]) == "worse"]
    open_ = [part for name, part in PARTS.items() if name in tried and verdict(tried[name]) == "even"]
    stands = "stands" if not any(better) else "is **not** borne out"
    said.append(
        f"The product's choice, the ensemble with its linear part and a teacher's share of 0.5, {stands}."
        f" Needed, by the same rule turned round: {_listed(needed)}. Not"
        f" shown either way: {_listed(open_)}."
    )
    return said


def _best(title: str, gaps: Mapping[str, Difference]) -> str:
    first = min(gaps, key=lambda name: gaps[name].mean)
    names = {side: [name for name, gap in gaps.items() if _outside(gap) == side] for side in ("better", "worse")}
    lead = f"{first}" if first == CHOSEN else f"{first}, {_interval(gaps[first])}"
    return (
        f"**{title}** ({gaps[CHOSEN].n_markets} markets): lowest loss: {lead}. Better than *{CHOSEN}* beyond the"
        f" interval: {_listed(names['better'])}. Worse: {_listed(names['worse'])}."
    )


def _worth(part: str, without: Mapping[str, Difference]) -> str:
    """Say what leaving a part out does; without: by world."""
    sides = [_outside(gap) for gap in without.values()]
    told = "; ".join(f"{WORLDS[world].title} {_interval(gap)}" for world, gap in without.items())
    return (
        f"Leaving out {part}: worse in {sides.count('worse')}, better in {sides.count('better')} of {len(sides)} worlds"
        f" ({told})."
    )


def _by_candidate(gaps: Gaps) -> dict[str, dict[str, Difference]]:
    """Differences by candidate, then by world; the chosen one has none to itself."""
    names = [name for name in CANDIDATES if name != CHOSEN and any(name in by_name for by_name in gaps.values())]
    return {name: {world: by_name[name] for world, by_name in gaps.items() if name in by_name} for name in names}


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) or "none"  # a name may hold a comma


def _outside(gap: Difference) -> str:
    """On which side of zero the whole interval is."""
    if gap.high < 0:
        return "better"
    return "worse" if gap.low > 0 else "even"


def _interval(gap: Difference) -> str:
    text = f"{gap.mean / UNIT:+.1f} [{gap.low / UNIT:+.1f}, {gap.high / UNIT:+.1f}]"
    return text if _outside(gap) == "even" else f"**{text}**"


def _summary(gaps: Gaps) -> str:
    worlds = list(gaps)
    lines = ["| backbone | " + " | ".join(WORLDS[world].title for world in worlds) + " | over worlds |"]
    lines.append("|---" * (len(worlds) + 2) + "|")
    for name, by_world in _by_candidate(gaps).items():
        cells = [_interval(by_world[world]) if world in by_world else "" for world in worlds]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {verdict(by_world)} |")
    note = "\nBetter: beyond its interval in two worlds or more and worse in none; worse: the reverse; even: neither.\n"
    return "\n".join(lines) + "\n" + note


def _table(scores: Mapping[str, Score], gaps: Mapping[str, Difference], stretched: Mapping[str, Difference]) -> str:
    lines = [
        "| backbone | log loss | Delta | Delta, stretched | AUC | slope | seconds | steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(scores, key=lambda name: gaps[name].mean):
        s, moved = scores[name], ["", ""] if name == CHOSEN else [_interval(g[name]) for g in (gaps, stretched)]
        numbers = f"{s.auc:.4f} | {s.slope:.2f} | {s.seconds:.1f} | {s.n_steps:.0f}"
        lines.append(f"| {name} | {s.losses.mean():.5f} | {moved[0]} | {moved[1]} | {numbers} |")
    return "\n".join(lines) + "\n"


def _introduction(setting: Setting) -> str:
    return INTRODUCTION.format(
        arguments="" if setting == Setting() else f" --seed {setting.seed} --starts {setting.n_starts}",
        n_steps=SCHEDULE.n_steps,
        every=SCHEDULE.validate_every,
        chosen=CHOSEN,
        n_starts=setting.n_starts,
        min_rows=MIN_ROWS,
        monotone=";\n  ".join(dict.fromkeys(_monotone(world.title, world.signs) for world in WORLDS.values())),
    )


def _monotone(title: str, signs: Mapping[str, int]) -> str:
    """Name a portfolio's columns of declared direction."""
    up, down = (", ".join(name for name, sign in signs.items() if sign == side) for side in (1, -1))
    told = [f"{way} with {names}" for way, names in (("rises", up), ("falls", down)) if names]
    return f"in {title.partition(',')[0]} risk {' and '.join(told)}"


def _plot(gaps: Gaps, file: Path) -> None:
    """One panel a world: differences with their intervals; linear within 5 of the chosen one, logarithmic beyond."""
    names = list(_by_candidate(gaps))[::-1]
    figure = Figure(figsize=(3.4 * len(gaps) + 2.2, 0.3 * len(names) + 1.4), layout="constrained")
    for ax, (world, by_name) in zip(
        figure.subplots(1, len(gaps), sharey=True, squeeze=False)[0], gaps.items(), strict=True
    ):
        for place, name in enumerate(names):
            if name in by_name:
                gap = by_name[name]
                reach = [[(gap.mean - gap.low) / UNIT], [(gap.high - gap.mean) / UNIT]]
                ax.errorbar(gap.mean / UNIT, place, xerr=reach, fmt="o", color=COLOURS[_outside(gap)], capsize=3)
        ax.axvline(0.0, color="#0b5fa5")
        ax.set_xscale("symlog", linthresh=5)
        low, high = ax.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=8)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_title(f"{WORLDS[world].title}\n{by_name[CHOSEN].n_markets} markets", fontsize=9)
        ax.set_yticks(range(len(names)), names, fontsize=8)
        ax.grid(alpha=0.25)
    figure.supxlabel(f"log loss minus that of {CHOSEN}, 1/10,000 nats an account; left is better", fontsize=9)
    figure.savefig(file, dpi=100)
