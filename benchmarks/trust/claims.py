"""What the project set out to show where the truth is known, computed from the tables: reached or not."""

import pandas
from scipy.stats import beta

from benchmarks.trust.corruption import FLIPPED, SHUFFLED
from benchmarks.trust.guarded import HONEST
from benchmarks.trust.measure import HARM

LEAST_SHARE_OF_BEST, FROM_DEFAULTS = 0.80, 12
COVERAGE = (0.85, 0.95)
GUARD_LIMITS = {HONEST: 0.05, FLIPPED: 0.80, SHUFFLED: 0.75, "a unit": 0.90}  # by how a support's name begins
LEAST_BEATEN, MOST_GAP = 0.95, 1e-6


def claims_of(supports: pandas.DataFrame, verdicts: pandas.DataFrame, accounts: pandas.DataFrame) -> list[str]:
    """What was to be shown, with what was found, and whether that is enough."""
    ratios = {int(size): row["ratio"] for size, row in by_size(supports, "case_control").iterrows()}
    enough = all(ratio >= LEAST_SHARE_OF_BEST for size, ratio in ratios.items() if size >= FROM_DEFAULTS)
    told = ", ".join(f"{ratio:.0%} at {size}" for size, ratio in ratios.items())
    covered = supports.groupby(["design", "size"])["covered"].mean()
    inside = bool(covered.between(*COVERAGE).all())
    low, high = (f"{end:.0%}" for end in COVERAGE)
    return [
        f"{_word(enough)}: at least {LEAST_SHARE_OF_BEST:.0%} of the best possible gain at {FROM_DEFAULTS} defaults and"
        f" more, unguarded: {told}",
        f"{_word(inside)}: account-level coverage of nominal 90 % intervals between {low} and {high} in every cell:"
        f" {covered.min():.1%} to {covered.max():.1%}",
        *guard_claims(verdicts),
        *_reason_claims(accounts),
    ]


def guard_claims(verdicts: pandas.DataFrame) -> list[str]:
    """One line for each kind of support."""
    said = []
    for name, group in verdicts.groupby("support", sort=False):
        share = float((group["verdict"] != "activate").mean())
        asked = next(limit for start, limit in GUARD_LIMITS.items() if str(name).startswith(start))
        if str(name).startswith(HONEST):
            words = f"{_word(share <= asked)}: guard: at most {asked:.0%} of"
        else:
            words = f"{_word(share >= asked)}: guard: at least {asked:.0%} of"
        said.append(f"{words} '{name}' held or refused: {share_text(group['verdict'] != 'activate')}")
    return said


def _reason_claims(accounts: pandas.DataFrame) -> list[str]:
    reasoned = accounts[accounts["n_reasons"] > 0]
    beaten, every = reasoned["beaten"].mean(), (reasoned["beaten"] == 1).mean()
    exact = bool(accounts["gap"].max() <= MOST_GAP and accounts["same_again"].all())
    return [
        f"{_word(bool(reasoned['top_lowers'].all()))}: reasons: replacing the top one's value lowers the PD:"
        f" {reasoned['top_lowers'].mean():.1%} of accounts",
        f"{_word(beaten >= LEAST_BEATEN)}: reasons: replacing them lowers the PD more than replacing as many features"
        f" at random, at least {LEAST_BEATEN:.0%}: {beaten:.2%} (more than any such set does: {every:.1%} of accounts)",
        f"{_word(exact)}: reasons: base and contributions add up to the score's logit to {MOST_GAP:g}, asked twice the"
        f" same: largest gap {accounts['gap'].max():.0e}, {accounts['same_again'].mean():.0%} the same",
    ]


def _word(reached: bool) -> str:
    return "REACHED" if reached else "NOT REACHED"


def by_size(supports: pandas.DataFrame, design: str) -> pandas.DataFrame:
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


def share_text(flags: pandas.Series) -> str:
    n, k = len(flags), int(flags.sum())
    low = beta.ppf(0.025, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return f"{k / n:.1%} [{low:.1%}, {high:.1%}]"
