"""Should this theta_prime serve? Judged by rows that did not make it, by what theta expects, and by its columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from meta.adaptation import AdaptedMarket, MarketRows, market_logits
from meta.conflict import Conflict, find_conflicts
from meta.evidence import CrossFitted, cross_fit
from meta.thetas import Theta

Verdict = Literal["activate", "hold", "refuse"]
Severity = Literal["note", "hold", "refuse"]
ORDER: tuple[Severity, ...] = ("note", "hold", "refuse")
# Each test is allowed a share of what a rule says. A turned column is the hardest to see and no other test sees it;
# `move` sees what the sharper two see. Chosen where the truth is known (benchmarks/trust, seeds 7 and 8), see 0008.
SHARES = {"column": 1.0, "ranking": 0.6, "gain": 1 / 3, "move": 0.25}
WRONG_WAY = 0.05  # logits between a column's typical low and high value from which on a direction is contradicted


@dataclass(frozen=True)
class GuardRule:
    """How strict the guard is from ``n_defaults`` on: a finding less probable than this in an honest market counts.

    hold_below: for a turned column; the other tests hold below a share of it (``SHARES``), so that all of them together
    accuse few honest markets. refuse_below: for every test alike.
    """

    n_defaults: int
    hold_below: float
    refuse_below: float


@dataclass(frozen=True)
class Finding:
    """One thing that the guard has to say; ``column`` where it is about one."""

    check: str
    severity: Severity
    text: str
    column: str | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class Judgement:
    """verdict: that of the gravest finding; findings, the gravest first; cross_fitted: None below five rows."""

    verdict: Verdict
    findings: Sequence[Finding]
    cross_fitted: CrossFitted | None

    @property
    def reasons(self) -> list[str]:
        """What the verdict rests on, in words."""
        return [finding.text for finding in self.findings]


@dataclass(frozen=True)
class Case:
    """What is judged: an adapted market, its rows as encoded and as posted, and how it was adapted.

    n_reference_goods: how many of the last rows are source markets' and stand for goods that were not posted.
    """

    theta: Theta
    rows: MarketRows
    columns: Mapping[str, Sequence[Any]]
    adapted: AdaptedMarket
    seed: int
    inner_steps: int | None
    minimum_defaults: int
    rules: Sequence[GuardRule]
    n_reference_goods: int = 0

    @property
    def posted(self) -> Mapping[str, Sequence[Any]]:
        """The market's own rows, as posted."""
        n_posted = len(self.rows.y) - self.n_reference_goods
        return {name: values[:n_posted] for name, values in self.columns.items()}

    @property
    def n_defaults(self) -> int:
        return int(self.rows.y.sum())

    @property
    def rule(self) -> GuardRule:
        """The rule that holds at this number of defaults: the last that starts at or below it."""
        able = [rule for rule in self.rules if rule.n_defaults <= self.n_defaults]
        return max(able, key=lambda rule: rule.n_defaults, default=GuardRule(0, 0.0, 0.0))


def judge(case: Case) -> Judgement:
    """Ask every check and let the gravest finding decide."""
    crossed = cross_fit(case.theta, case.rows, case.seed, case.inner_steps, case.minimum_defaults)
    findings = [
        *_number_of_rows(case, crossed),
        *_cross_fitted_gain(case, crossed),
        *_conflicts(case),
        *_columns(case),
        *_directions(case),
    ]
    told = [finding for finding in findings if finding is not None]
    told.sort(key=lambda finding: -ORDER.index(finding.severity))
    gravest = told[0].severity if told else "note"
    return Judgement("activate" if gravest == "note" else gravest, told, crossed)


def _number_of_rows(case: Case, crossed: CrossFitted | None) -> list[Finding]:
    if crossed is None:
        return [Finding("rows", "hold", f"only {len(case.rows.y)} usable rows: nothing can be judged")]
    found = []
    if case.n_defaults < case.minimum_defaults:
        few = f"{case.n_defaults} defaults, fewer than {case.minimum_defaults}"
        found.append(Finding("rows", "note", f"{few}: the ranking stays theta's, only the level moved"))
    if case.n_reference_goods:
        stand_in = f"{case.n_reference_goods} goods of source markets stand for this market's, which posted none"
        told = "cross-fitted losses are of both, and whether the labels contradict theta is not asked"
        found.append(Finding("rows", "note", f"{stand_in}: {told}"))
    return found


def _cross_fitted_gain(case: Case, crossed: CrossFitted | None) -> list[Finding]:
    """Is theta_prime worse than theta on rows that it has not seen? One-sided, by Student's t."""
    if crossed is None:
        return []
    if crossed.diverged:
        return [Finding("gain", "refuse", "the inner loop diverged on this support: its steps are too long")]
    mean, reach = crossed.gain()
    said = f"cross-fitted gain {mean:.4f} log loss an account, 90 % interval {mean - reach:.4f} to {mean + reach:.4f}"
    worse = crossed.worse()
    severity = _severity(case.rule, "gain", worse) if mean < 0 else "note"
    if severity != "note":
        text = f"theta_prime is worse than theta on rows it has not seen: {said}"
        return [Finding("gain", severity, text, None, worse)]
    return [Finding("gain", "note", f"nothing says that theta_prime is worse than theta: {said}", None, worse)]


def _conflicts(case: Case) -> list[Finding | None]:
    """Do the labels contradict theta? Not asked where goods are other markets': defaulters that merely differ from
    those markets' accounts, as every market's do, would look like another effect.
    """
    if case.n_reference_goods:
        return []
    found = find_conflicts(case.theta, case.rows, case.columns, case.seed)
    return [_of_conflict(case.rule, conflict) for conflict in found]


def _of_conflict(rule: GuardRule, conflict: Conflict) -> Finding | None:
    severity = _severity(rule, conflict.check, conflict.p_value)
    if severity == "note":
        return None
    text = f"{conflict.text} (p = {conflict.p_value:.3f} in an honest market)"
    return Finding(conflict.check, severity, text, conflict.column, conflict.p_value)


def _severity(rule: GuardRule, check: str, p_value: float) -> Severity:
    if p_value < rule.refuse_below:
        return "refuse"
    return "hold" if p_value < SHARES[check] * rule.hold_below else "note"


def _columns(case: Case) -> list[Finding]:
    """Does a column of the market's own rows look like source markets'? Goods of theirs would hide a wrong unit."""
    alone = len(case.rows.y) > 0 and bool(case.rows.y[: len(case.rows.y) - case.n_reference_goods].all())
    profiles, encoder = case.theta.profiles, case.theta.encoder
    strange = profiles.strange_columns(encoder, case.posted, defaulters_alone=alone)
    return [Finding("profile", "hold" if s.is_grave else "note", s.text, s.column) for s in strange]


def _directions(case: Case) -> list[Finding]:
    """Does theta_prime move risk the other way than the schema declares? theta's own contradiction is only noted."""
    found = []
    at_rest = case.theta.learner().at_rest(case.theta.params)
    for column in case.theta.encoder.columns:
        if column.direction is None or column.kind != "numeric" or not len(case.rows.y):
            continue
        sign = 1.0 if column.direction == "increases" else -1.0
        rest, moved = (sign * _rise(case, weights, column.name) for weights in (at_rest, case.adapted.theta_prime))
        if moved < -WRONG_WAY:
            severity: Severity = "hold" if rest >= -WRONG_WAY else "note"
            whose = "theta_prime" if rest >= -WRONG_WAY else "theta itself"
            declared = f"column '{column.name}': risk {column.direction} with it by the schema"
            text = f"{declared}, {whose} has it the other way"
            found.append(Finding("direction", severity, text, column.name))
    return found


def _rise(case: Case, weights: Mapping[str, Any], name: str) -> float:
    """Mean change of logit between a column's typical low and high value, over the support's rows."""
    theta, n_rows = case.theta, len(case.rows.y)
    low, high = theta.profiles.typical_range(theta.encoder, name)
    learner = theta.learner()
    ends = [theta.reading.encode_altered(case.columns, name, [end] * n_rows) for end in (low, high)]
    first, last = (market_logits(learner, dict(weights), x) for x in ends)
    return float((last - first).mean())
