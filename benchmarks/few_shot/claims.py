"""What the project set out to show, computed from the cells: reached or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas

from benchmarks.few_shot.design import CASE_CONTROL, RANDOM
from benchmarks.few_shot.rivals import MAIN_RIVAL
from benchmarks.few_shot.statistics import HARM, SETTING, Difference, difference, market_gaps, resampled, worst_decile
from benchmarks.few_shot.thetaprime import GUARDED, THETA, THETA_PRIME

BEST = "best rival on source markets"
NON_INFERIOR = 0.001  # log loss
AUC_MARGIN = 0.002
FEW_DEFAULTS = 25
HARM_LIMITS = (0.10, 0.05)  # share of markets harmed, at FEW_DEFAULTS and fewer and above
SETS_BETTER = 2


@dataclass(frozen=True)
class Claim:
    """A claim in words with its numbers; ``reached`` None: the methods it is about were not run."""

    name: str
    words: str
    reached: bool | None

    def __str__(self) -> str:
        verdict = {True: "REACHED", False: "NOT REACHED", None: "not run"}[self.reached]
        return f"{verdict}: {self.words}"


@dataclass(frozen=True)
class Harm:
    """Guarded (or not) theta_prime against theta in one setting; gain above zero is better."""

    design: str
    size: int
    rate_factor: float
    n_defaults: float
    gain: Difference
    harmed: float
    worst_decile: float

    @property
    def limit(self) -> float:
        return HARM_LIMITS[0] if self.n_defaults <= FEW_DEFAULTS else HARM_LIMITS[1]

    @property
    def reached(self) -> bool:
        return self.gain.mean >= 0 and self.harmed < self.limit


def world_claims(cells: pandas.DataFrame) -> list[Claim]:
    """Claims about one world, whose cells hold BEST as a method of its own."""
    drawn = cells[cells["design"] == RANDOM]
    return [_not_inferior(drawn), _ranks_as_well(drawn), _better_than_trees(drawn), _no_harm(cells)]


def overall_claims(of_world: Mapping[str, Sequence[Claim]]) -> list[Claim]:
    """Claims about all worlds together."""
    by_name = {name: [c.reached for claims in of_world.values() for c in claims if c.name == name] for name in NAMES}
    n = len(of_world)
    needed = {"not inferior": n, "ranks as well": n, "better than trees": min(SETS_BETTER, n), "no harm": n}
    words = {
        "not inferior": "log loss non-inferior to the best rival on source markets",
        "ranks as well": "AUC within the margin of that rival, or above",
        "better than trees": f"log loss below {MAIN_RIVAL}, interval below zero",
        "no harm": "no harm against theta, guard on",
    }
    claims = []
    for name, reached in by_name.items():
        count = sum(r is True for r in reached)
        known = None if any(r is None for r in reached) else count >= needed[name]
        claims.append(Claim(name, f"{words[name]}: on {count} of {n} sets ({needed[name]} wanted)", known))
    return claims


def harms(cells: pandas.DataFrame, method: str = GUARDED) -> list[Harm]:
    """``method`` against theta in every setting."""
    found = []
    for (design, size, factor), at in cells[cells["method"].isin([method, THETA])].groupby(SETTING, sort=True):
        gaps = market_gaps(at, method, THETA, "log_loss").to_numpy()
        n_defaults = float(at["n_defaults"].mean())
        share = float((gaps > HARM).mean())
        found.append(Harm(design, size, factor, n_defaults, resampled(-gaps), share, worst_decile(gaps)))
    return sorted(found, key=lambda h: (h.design == CASE_CONTROL, abs(h.rate_factor - 1), h.rate_factor, h.size))


def told(gap: Difference) -> str:
    return f"{gap.mean:+.5f} [{gap.low:+.5f}, {gap.high:+.5f}] over {gap.n_markets} markets"


def _draws(cells: pandas.DataFrame) -> str:
    """How many draws the comparison with BEST rests on: fewer where that rival is a slow one in some split."""
    n_draws = cells[cells["method"] == BEST].groupby("split")["draw"].nunique()
    return f"{n_draws.min()} to {n_draws.max()} draws" if n_draws.nunique() > 1 else f"{n_draws.max()} draws"


def _both(cells: pandas.DataFrame, *methods: str) -> bool:
    return set(methods) <= set(cells["method"])


def _not_inferior(cells: pandas.DataFrame) -> Claim:
    name = NAMES[0]
    if not _both(cells, THETA_PRIME, BEST):
        return Claim(name, f"{THETA_PRIME} and rivals were not both run", None)
    gap = difference(cells, THETA_PRIME, BEST, "log_loss")
    words = f"log loss of {THETA_PRIME} minus that of the {BEST}, upper end at most {NON_INFERIOR:+.3f}: "
    words += f"{told(gap)}, {_draws(cells)}"
    return Claim(name, words, gap.high <= NON_INFERIOR)


def _ranks_as_well(cells: pandas.DataFrame) -> Claim:
    name = NAMES[1]
    if not _both(cells, THETA_PRIME, BEST):
        return Claim(name, f"{THETA_PRIME} and rivals were not both run", None)
    gap = difference(cells, THETA_PRIME, BEST, "auc")
    words = f"AUC of {THETA_PRIME} minus that of the {BEST}, at least {-AUC_MARGIN:+.3f}: {told(gap)}, {_draws(cells)}"
    return Claim(name, words, gap.mean >= -AUC_MARGIN)


def _better_than_trees(cells: pandas.DataFrame) -> Claim:
    name = NAMES[2]
    if not _both(cells, THETA_PRIME, MAIN_RIVAL):
        return Claim(name, f"{THETA_PRIME} and {MAIN_RIVAL} were not both run", None)
    gap = difference(cells, THETA_PRIME, MAIN_RIVAL, "log_loss")
    return Claim(name, f"log loss of {THETA_PRIME} minus that of {MAIN_RIVAL}, below zero: {told(gap)}", gap.high < 0)


def _no_harm(cells: pandas.DataFrame) -> Claim:
    name = NAMES[3]
    if not _both(cells, GUARDED, THETA):
        return Claim(name, f"{GUARDED} and {THETA} were not both run", None)
    found = [h for h in harms(cells) if h.rate_factor in (0.0, 1.0)]  # a wrong rate is the market's, not the guard's
    failed = ", ".join(f"{h.design} {h.size}" for h in found if not h.reached) or "none"
    low, high = (f"{limit:.0%}" for limit in HARM_LIMITS)
    words = (
        f"{GUARDED}, against {THETA}: mean gain at least 0 in every setting with the true base rate or none,"
        f" under {low} of markets harmed at {FEW_DEFAULTS} defaults and fewer, under {high} above;"
        f" settings that fail: {failed}"
    )
    return Claim(name, words, all(h.reached for h in found))


NAMES = ("not inferior", "ranks as well", "better than trees", "no harm")
