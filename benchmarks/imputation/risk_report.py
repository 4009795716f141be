"""Where does an imputer help the default score, where is the missing state as good, and what is the usual recipe then?

Read off the risk results by one rule: log loss against the missing state, averaged within a market, its 95 % interval
by bootstrap over markets. Below zero it helps, above zero it harms, and across zero the missing state is as good.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas

from app.domain.recipes import ThetaRecipe
from app.engine.training import MANY_GAPS
from benchmarks.imputation.risk import N_DRAWS, N_MARKETS, N_QUERY, SIZES, WAYS, RiskJob

TITLES = {
    "none": "theta, missing as a state",
    "mean": "theta, means",
    "gain": "theta, GAIN",
    "conditional": "theta, conditional",
    "trees": "LightGBM + level, own gaps",
    "logistic": "Logistic + level, medians and indicators",
}
SAME, ABSENT = "the gaps of the source markets (n = 0)", "a strong column wholly absent (n = 20 to 200)"
IMPUTERS = ("conditional", "gain", "mean")
N_BOOTSTRAPS = 2000
Difference = tuple[float, float, float]  # mean, and the ends of its interval


def write_risk_report(claims: Sequence[str], sections: Sequence[str], output: Path) -> str:
    """Write docs/results/imputation_risk.md: what was to be shown, then the sections. Returns what was to be shown."""
    told = "\n".join(f"- {claim}" for claim in claims)
    parts = [_PAGE, f"## What was to be shown\n\n{told}\n", *(section for section in sections if section)]
    output.mkdir(parents=True, exist_ok=True)
    (output / "imputation_risk.md").write_text("\n".join(parts))
    return "\n".join(claims)


def risk_section(jobs: Sequence[RiskJob]) -> str:
    """The part of the page on default risk; empty where nothing was run."""
    cells = _cells(jobs)
    if cells.empty:
        return ""
    parts = [_HEAD, *(f"- {sentence}" for sentence in verdict(cells)), "", _summary(cells)]
    for condition in dict.fromkeys(cells["condition"]):
        own = cells[cells["condition"] == condition]
        parts += [
            f"\n**{condition}**\n",
            "| | " + " | ".join(f"n = {n}" for n in SIZES) + " | slope |",
        ]
        parts.append("|" + "---|" * (len(SIZES) + 2))
        for way in (way for way in WAYS if way in set(own["way"])):
            rows = own[own["way"] == way]
            by_n = [rows[rows["n"] == n] for n in SIZES]
            numbers = " | ".join(f"{part['log_loss'].mean():.4f} ({part['auc'].mean():.3f})" for part in by_n)
            parts.append(f"| {TITLES[way]} | {numbers} | {rows['slope'].median():.2f} |")
    return "\n".join(parts) + "\n"


def _summary(cells: pandas.DataFrame) -> str:
    """Mean difference to the missing state, with a paired bootstrap over markets."""
    if "none" not in set(cells["way"]):
        return ""
    rows = ["| against missing as a state | n = 0 | n = 20 to 200, a column absent | all |", "|---|---|---|---|"]
    for way in (way for way in WAYS if way != "none" and way in set(cells["way"])):
        parts = [cells[cells["n"] == 0], cells[cells["n"] > 0], cells]
        rows.append(f"| {TITLES[way]} | " + " | ".join(told(difference(part, way)) for part in parts) + " |")
    return "\n".join(rows) + "\n"


def risk_claims(jobs: Sequence[RiskJob]) -> list[str]:
    """What the recipe's default is because of it, for the page's first lines."""
    cells = _cells(jobs)
    return [] if cells.empty else verdict(cells)[-1:]


def _cells(jobs: Sequence[RiskJob]) -> pandas.DataFrame:
    """A row each market, draw and n of what has been run."""
    frames = [
        pandas.DataFrame(json.loads(job.file.read_text())["rows"]).assign(
            condition=f"{job.world}, {job.mechanism} {job.rate:.0%}", way=job.way
        )
        for job in jobs
        if job.file.exists()
    ]
    return pandas.concat(frames) if frames else pandas.DataFrame()


def difference(cells: pandas.DataFrame, way: str) -> Difference:
    """Mean, and the ends of its 95 % interval; paired, and every market of a condition has one vote."""
    means = cells.groupby(["way", "condition", "market"])["log_loss"].mean()
    both = (means[way] - means["none"]).dropna().to_numpy()
    drawn = np.random.default_rng(0).choice(both, (N_BOOTSTRAPS, len(both))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(both.mean()), float(low), float(high)


def told(found: Difference) -> str:
    return f"{found[0]:+.4f} [{found[1]:+.4f}, {found[2]:+.4f}]"


def verdict(cells: pandas.DataFrame) -> list[str]:
    """Plain sentences, an imputer each, and the last on the recipe; none without the missing state to compare with."""
    ways = set(cells["way"])
    imputers = [way for way in IMPUTERS if way in ways]
    if "none" not in ways or not imputers:
        return []
    situations = {SAME: cells[cells["n"] == 0], ABSENT: cells[cells["n"] > 0]}
    situations = {name: part for name, part in situations.items() if not part.empty}
    found = {way: {name: difference(part, way) for name, part in situations.items()} for way in imputers}
    sentences = [_sentence(TITLES[way], found[way]) for way in imputers]
    sentences += [
        _by_condition(cells, way, TITLES[way])
        for way in imputers
        if any(high < 0.0 for _, _, high in found[way].values())
    ]
    return [*sentences, _recipe(found)]


def _sentence(title: str, found: Mapping[str, Difference]) -> str:
    parts = [f"with {name} {_word(numbers)} ({told(numbers)})" for name, numbers in found.items()]
    return f"**{title}**: {'; '.join(parts)}."


def _word(numbers: Difference) -> str:
    if numbers[2] < 0.0:
        return "filling helps"
    return "filling harms" if numbers[1] > 0.0 else "the missing state is as good"


def _by_condition(cells: pandas.DataFrame, way: str, title: str) -> str:
    """With a column absent or not, portfolio by portfolio: the means over all may be one portfolio's."""
    helped, others = [], []
    for condition in dict.fromkeys(cells["condition"]):
        own = cells[cells["condition"] == condition]
        if {way, "none"} <= set(own["way"]):
            (helped if difference(own, way)[2] < 0.0 else others).append(condition)
    as_good = f"; not clearly in {_listed(others)}" if others else ""
    return f"Portfolio by portfolio, all n together, **{title}** helps in {_listed(helped)}{as_good}."


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) if names else "none taken alone"


def _recipe(found: Mapping[str, Mapping[str, Difference]]) -> str:
    """The usual recipe serves markets that lack nothing more than the source's, too: there an imputer has to pay."""
    usual = ThetaRecipe().imputer
    taken = "conditional" if usual == "auto" else usual
    paying = {way: numbers[SAME][0] for way, numbers in found.items() if SAME in numbers and numbers[SAME][2] < 0.0}
    due = min(paying, key=lambda way: paying[way]) if paying else "none"
    why = (
        f"`{due}` helps where a market has but the gaps of the source"
        if paying
        else "no imputer helps where a market has but the gaps of the source, and a fit takes its time"
    )
    named = [way for way, numbers in found.items() if ABSENT in numbers and numbers[ABSENT][2] < 0.0 and way != due]
    more = f" Name {' or '.join(f'`{way}`' for way in named)} where a new market will lack a column." if named else ""
    if due == taken:
        said = (
            f", which is `{taken}` where {MANY_GAPS:.0%} of the source's values are missing" if usual == "auto" else ""
        )
        return f"**The recipe's default is therefore `{usual}`**{said}: {why}.{more}"
    return (
        f"**The recipe's default is `{usual}`, which does not follow from this: it would be `{due}`**, for {why}.{more}"
    )


_PAGE = """# Default risk with gaps

Written by `python -m benchmarks.imputation`; do not edit. What filling gaps, and accounts that never were, do for the
scores of a new market. How well gaps are filled: [imputation.md](imputation.md).
"""
_HEAD = f"""## What it does for default risk

Source markets and new ones have the gaps told; in a new market that posts n accounts the strongest numeric column is
absent besides. {N_MARKETS} held-out markets, {N_DRAWS} draws, {N_QUERY} judged accounts each; log loss, and AUC in
brackets. Taiwan has no markets: its rows are dealt into 24 at random. Differences are in log loss, below zero is better
than the missing state; intervals are 95 %, by bootstrap over markets. Filling is said to help where the interval lies
below zero; where it holds zero, the missing state is as good as far as these markets can tell.
"""
