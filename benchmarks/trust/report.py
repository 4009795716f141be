"""The tables and the plot of docs/results/trust.md, and the claims in words."""

from pathlib import Path

import numpy as np
import pandas
from matplotlib.figure import Figure
from scipy.stats import beta

from benchmarks.trust.measure import CORRUPTED_AT, HARM

HONEST = "honest"
INTRODUCTION = """\
# Trust, measured where the truth is known

Written by `python -m benchmarks.trust{arguments}`; do not edit. A fixed world (`benchmarks/trust/world.py`): ten
features, logistic, base rate 7 %, 30 source markets of 1,000 accounts; coefficients differ between markets by the
spread. theta is trained by the default recipe; then {n_markets} new markets post supports, {n_draws} draws a size:
n_defaults defaulters with four goods each and the market's true rate declared, or n accounts at random and no rate.
Losses are expected log losses under the true PDs of 2,000 other accounts, so that no noise of labels is in them. The
recipe's defaults were chosen with an eye on this world (seed 0) at spreads of 0.25 and, for intervals, 0.4, and on real
portfolios; the spread of 0.1 had no part. Shares above 100 % are no magic: theta starts further from the truth than the
prior's mean, from which the best possible method starts, and a part of its gain is catching up.
"""


def write_report(
    tables: dict[float, tuple[pandas.DataFrame, pandas.DataFrame, pandas.DataFrame]], arguments: str, output: Path
) -> str:
    """Write trust.md and trust.png; answer the claims."""
    output.mkdir(parents=True, exist_ok=True)
    first = next(iter(tables.values()))[0]
    counts = {"n_markets": first["market"].nunique(), "n_draws": int(first["draw"].max()) + 1}
    parts, claims = [INTRODUCTION.format(arguments=arguments, **counts), "![Gain and coverage](trust.png)\n"], []
    for spread, (supports, verdicts, accounts) in tables.items():
        claims += [f"spread {spread}: {claim}" for claim in _claims(supports, verdicts, accounts)]
        parts += [f"## Spread of coefficients {spread}\n", _gains(supports), _intervals(supports), _guard(verdicts)]
        parts.append(_reasons(accounts))
    parts.insert(1, "\n".join(f"- {claim}" for claim in claims) + "\n")
    _plot({spread: table[0] for spread, table in tables.items()}, output / "trust.png")
    (output / "trust.md").write_text("\n".join(parts) + "\n")
    return "\n".join(claims)


def _claims(supports: pandas.DataFrame, verdicts: pandas.DataFrame, accounts: pandas.DataFrame) -> list[str]:
    gains = _by_size(supports, "case_control")
    ratios = {size: row["ratio"] for size, row in gains.iterrows()}
    covered = supports.groupby(["design", "size"])["covered"].mean()
    said = [
        "share of the best possible gain, unguarded: " + ", ".join(f"{r:.0%} at {n}" for n, r in ratios.items()),
        f"account-level coverage of nominal 90 % intervals: {covered.min():.1%} to {covered.max():.1%} over all cells",
    ]
    honest = verdicts[verdicts["support"] == HONEST]
    said.append(f"guard: {_share_text(honest['verdict'] != 'activate')} of honest supports held or refused")
    for name, group in verdicts[verdicts["support"] != HONEST].groupby("support", sort=False):
        said.append(f"guard: {name}: {_share_text(group['verdict'] != 'activate')} held or refused")
    reasoned = accounts[accounts["n_reasons"] > 0]
    said.append(
        f"reasons: the top one's replacement lowers the PD in {reasoned['top_lowers'].mean():.1%} of accounts;"
        f" all reasons' beats a random set as large in {accounts['beats_random'].mean():.1%} of trials,"
        f" all 20 trials in {(accounts['beats_random'] == 1).mean():.1%} of accounts"
    )
    return said


def _by_size(supports: pandas.DataFrame, design: str) -> pandas.DataFrame:
    """Means within markets, then over them; harmed: share of markets worse off than under theta by more than HARM."""
    rows = supports[(supports["design"] == design) & supports["draw"].notna()]
    means = rows.groupby(["size", "market"]).mean(numeric_only=True)
    found = means.groupby("size").mean()
    found["gain"] = found["level"] - found["theta_prime"]
    if design == "case_control":
        found["best_gain"] = found["best_start"] - found["best"]
        found["ratio"] = found["gain"] / found["best_gain"]
    found["harmed"] = ((means["theta_prime"] - means["theta"]) > HARM).groupby("size").mean()
    return found


def _gains(supports: pandas.DataFrame) -> str:
    lines = [
        "Expected log loss; *best*: the posterior mode under the true prior; *gain* is on the level alone.\n",
        "| support | theta | level | theta_prime | gain | best gain | share of it | truth | harmed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for design, unit in (("case_control", "defaults + goods x 4"), ("random", "accounts at random")):
        for size, row in _by_size(supports, design).iterrows():
            best = (f"{row['best_gain']:.4f}", f"{row['ratio']:.0%}") if "ratio" in row else ("", "")
            numbers = " | ".join(f"{row[name]:.4f}" for name in ("theta", "level", "theta_prime", "gain"))
            lines.append(
                f"| {size} {unit} | {numbers} | {best[0]} | {best[1]} | {row['truth']:.4f} | {row['harmed']:.0%} |"
            )
    return "\n".join(lines) + "\n"


def _intervals(supports: pandas.DataFrame) -> str:
    lines = [
        "Nominal 90 % intervals: share of accounts whose true PD lies inside, with its standard error over markets.\n",
        "| support | coverage | mean width, logits |",
        "|---|---|---|",
    ]
    for (design, size), rows in supports.groupby(["design", "size"]):
        by_market = rows.groupby("market")["covered"].mean()
        error = by_market.std(ddof=1) / np.sqrt(len(by_market))
        name = "theta at rest" if size == 0 else f"{design}, {size}"
        lines.append(f"| {name} | {by_market.mean():.1%} ± {error:.1%} | {rows['width'].mean():.2f} |")
    return "\n".join(lines) + "\n"


def _guard(verdicts: pandas.DataFrame) -> str:
    lines = [
        f"The guard; corrupted supports: {CORRUPTED_AT} defaults, {4 * CORRUPTED_AT} goods; exact 95 % intervals.\n",
        "| support | n | held or refused | refused | which checks spoke |",
        "|---|---|---|---|---|",
    ]
    honest = verdicts[verdicts["support"] == HONEST]
    groups = [(f"honest, {n} defaults", rows) for n, rows in honest.groupby("n_defaults")]
    groups += list(verdicts[verdicts["support"] != HONEST].groupby("support", sort=False))
    for name, rows in groups:
        spoke = rows["checks"].str.split().explode().value_counts()
        which = ", ".join(f"{check} {count / len(rows):.0%}" for check, count in spoke.items())
        refused = (rows["verdict"] == "refuse").mean()
        lines.append(
            f"| {name} | {len(rows)} | {_share_text(rows['verdict'] != 'activate')} | {refused:.0%} | {which} |"
        )
    return "\n".join(lines) + "\n"


def _reasons(accounts: pandas.DataFrame) -> str:
    return (
        f"Reasons, {len(accounts)} accounts under theta_primes of 25 defaults: base and contributions add up to the"
        f" score's logit to {accounts['gap'].max():.0e}; asked twice, {accounts['same_again'].mean():.0%} same.\n"
    )


def _share_text(flags: pandas.Series) -> str:
    n, k = len(flags), int(flags.sum())
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return f"{k / n:.1%} [{low:.1%}, {high:.1%}]"


def _plot(supports: dict[float, pandas.DataFrame], file: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for spread, rows in supports.items():
        gains = _by_size(rows, "case_control")
        (line,) = left.plot(gains.index, gains["gain"], "o-", label=f"theta_prime, spread {spread}")
        left.plot(gains.index, gains["best_gain"], "--", color=line.get_color(), label="best possible")
        covered = rows[rows["design"] == "case_control"].groupby("size")["covered"].mean()
        right.plot(covered.index, covered, "o-", color=line.get_color(), label=f"spread {spread}")
    left.set(xlabel="defaults (four goods each)", ylabel="gain on the level alone, nats an account")
    right.axhspan(0.85, 0.95, color="0.92")
    right.set(xlabel="defaults (four goods each)", ylabel="share of true PDs inside 90 % intervals", ylim=(0.5, 1.0))
    left.legend(fontsize=7)
    right.legend(fontsize=7)
    figure.savefig(file, dpi=110)
