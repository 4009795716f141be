"""The guard: rules by number of defaults, the gravest finding decides, and every reason names what it is about."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import t as student_t

from meta.adaptation import AdaptedMarket, MarketRows, adapt_markets
from meta.conflict import N_DRAWS, Conflict
from meta.evidence import LADDER, CrossFitted
from meta.guard import WRONG_WAY, Case, GuardRule, _rise, judge
from meta.thetas import Theta
from tests.meta.toy import WEIGHTS, Posted, honest_support, slot_of, toy_theta

RULES = (GuardRule(0, 0.01, 0.0), GuardRule(5, 0.01, 0.002), GuardRule(100, 0.005, 0.001))


@pytest.fixture(scope="module")
def theta() -> Theta:
    return toy_theta()


@pytest.fixture(scope="module")
def posted(theta: Theta) -> Posted:
    return honest_support(theta, 120, np.random.default_rng(3), level=0.0)


def case_of(theta: Theta, posted: Posted, adapted: AdaptedMarket | None = None, rules=RULES) -> Case:
    if adapted is None:
        (adapted,) = adapt_markets(theta, [posted.rows])
    return Case(theta, posted.rows, posted.columns, adapted, 0, None, 5, rules)


def gaining(y: np.ndarray, gains: np.ndarray, diverged: bool = False) -> CrossFitted:
    """A ladder where theta_prime gains so much on each row: theta says nothing, so that its loss is ln 2."""
    loss = np.log(2.0) - gains
    odds = np.log(np.expm1(loss))  # loss = log(1 + exp(odds)), odds against the label
    logits = {rung: np.zeros(len(y)) for rung in LADDER} | {"theta_prime": np.where(y == 1, -odds, odds)}
    return CrossFitted(y, logits, diverged)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch):
    """Let every check find nothing, but for what a test puts in its place."""

    def put(gains=None, conflicts=(), diverged: bool = False) -> None:
        def crossed(theta, rows, seed, inner_steps, minimum_defaults):
            values = np.resize([0.01, -0.01], len(rows.y)) if gains is None else np.resize(gains, len(rows.y))
            return gaining(rows.y, values, diverged)

        monkeypatch.setattr("meta.guard.cross_fit", crossed)
        monkeypatch.setattr("meta.guard.find_conflicts", lambda *arguments: list(conflicts))

    put()
    return put


@pytest.mark.parametrize(
    ("n_defaults", "hold_below"), [(0, 0.0), (2, 0.0), (3, 0.1), (9, 0.1), (10, 0.2), (24, 0.2), (25, 0.3), (60, 0.3)]
)
def test_the_last_rule_that_starts_at_or_below_the_number_holds(
    n_defaults: int, hold_below: float, theta: Theta, posted: Posted
) -> None:
    rules = (GuardRule(25, 0.3, 0.0), GuardRule(3, 0.1, 0.0), GuardRule(10, 0.2, 0.0))  # in any order
    y = np.r_[np.ones(n_defaults), np.zeros(120 - n_defaults)]
    case = case_of(theta, Posted(posted.columns, MarketRows(posted.rows.x, y, "random")), rules=rules)
    assert case.n_defaults == n_defaults
    assert case.rule.hold_below == hold_below


def test_where_nothing_is_found_it_activates(theta: Theta, posted: Posted, quiet) -> None:
    found = judge(case_of(theta, posted))
    assert found.verdict == "activate"
    assert [finding.severity for finding in found.findings] == ["note"]
    assert found.reasons[0].startswith("nothing says that theta_prime is worse than theta: cross-fitted gain 0.0000")


@pytest.mark.parametrize(
    ("p_value", "verdict"),
    [(0.0019, "refuse"), (0.002, "hold"), (0.0099, "hold"), (0.01, "activate"), (0.9, "activate")],
)
def test_a_conflict_counts_as_the_rule_says(p_value: float, verdict: str, theta: Theta, posted: Posted, quiet) -> None:
    quiet(conflicts=[Conflict("column", p_value, "debt", "column 'debt': its effect looks reversed here")])
    found = judge(case_of(theta, posted))
    assert found.verdict == verdict
    about = [finding for finding in found.findings if finding.check == "column"]
    assert len(about) == (verdict != "activate")
    for finding in about:
        assert (finding.column, finding.p_value) == ("debt", p_value)
        assert finding.text == f"column 'debt': its effect looks reversed here (p = {p_value:.3f} in an honest market)"


@pytest.mark.parametrize(("check", "share"), [("column", 1.0), ("ranking", 0.6), ("move", 0.25)])
def test_each_test_holds_below_its_share_of_the_rule_and_refuses_as_all_do(
    check: str, share: float, theta: Theta, posted: Posted, quiet
) -> None:
    rules = (GuardRule(0, 0.1, 0.01),)
    told = {
        0.0099: "refuse",
        0.0101: "hold",
        0.1 * share - 0.0001: "hold",
        0.1 * share + 0.0001: "activate",
    }
    for p_value, verdict in told.items():
        quiet(conflicts=[Conflict(check, p_value, None, "said")])
        assert judge(case_of(theta, posted, rules=rules)).verdict == verdict, p_value


def test_a_loss_on_unseen_rows_holds_below_a_third_of_the_rule(theta: Theta, posted: Posted, quiet) -> None:
    quiet(gains=[-0.05, 0.025])  # p = 0.0084, see below
    for hold_below, verdict in ((0.0249, "activate"), (0.0259, "hold")):
        assert judge(case_of(theta, posted, rules=(GuardRule(0, hold_below, 0.002),))).verdict == verdict


def test_the_gravest_finding_decides_and_comes_first(theta: Theta, posted: Posted, quiet) -> None:
    conflicts = [
        Conflict("ranking", 0.005, None, "held"),
        Conflict("column", 0.0005, "debt", "refused"),
        Conflict("move", 0.5, None, "not told"),
    ]
    quiet(conflicts=conflicts)
    found = judge(case_of(theta, posted))
    assert found.verdict == "refuse"
    assert [finding.severity for finding in found.findings] == ["refuse", "hold", "note"]
    assert [finding.check for finding in found.findings] == ["column", "ranking", "gain"]
    assert not any("not told" in reason for reason in found.reasons)


def test_the_strictest_usual_rule_can_be_met_by_a_conflict() -> None:
    assert min(rule.refuse_below for rule in RULES if rule.refuse_below > 0) > 1 / (N_DRAWS + 1)


def test_worse_than_theta_on_unseen_rows_is_a_one_sided_test_by_students_t(theta: Theta, posted: Posted, quiet) -> None:
    # gains -0.05 and 0.025 in turn: mean -0.0125, standard deviation 0.0375 * sqrt(120 / 119); five folds: 1 + 5 / 4
    quiet(gains=[-0.05, 0.025])
    (finding,) = judge(case_of(theta, posted, rules=(GuardRule(0, 0.03, 0.002),))).findings
    t = -0.0125 / (1.5 * 0.0375 * np.sqrt(120 / 119) / np.sqrt(120))
    assert finding.p_value == pytest.approx(student_t.cdf(t, 119), rel=1e-6)
    assert finding.severity == "hold"  # t = -2.42: 0.0084
    assert finding.text.startswith("theta_prime is worse than theta on rows it has not seen: cross-fitted gain -0.0125")
    reach = 0.0125 / -t * student_t.ppf(0.95, 119)
    assert finding.text.endswith(f"90 % interval {-0.0125 - reach:.4f} to {-0.0125 + reach:.4f}")


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [([-0.05, 0.01], "refuse"), ([-0.05, 0.045], "activate"), ([0.05, -0.01], "activate"), ([0.0], "activate")],
)
def test_only_a_clear_loss_counts(gains: list[float], verdict: str, theta: Theta, posted: Posted, quiet) -> None:
    quiet(gains=gains)
    assert judge(case_of(theta, posted)).verdict == verdict


def test_a_gain_is_no_fault_however_strict_the_rule(theta: Theta, posted: Posted, quiet) -> None:
    quiet(gains=[0.05, -0.04])
    (finding,) = judge(case_of(theta, posted, rules=(GuardRule(0, 1.0, 1.0),))).findings
    assert finding.severity == "note"
    assert 0.5 < finding.p_value < 1.0


def test_an_inner_loop_that_diverged_is_refused(theta: Theta, posted: Posted, quiet) -> None:
    quiet(diverged=True)
    found = judge(case_of(theta, posted))
    assert found.verdict == "refuse"
    assert "diverged" in found.reasons[0]


def test_below_five_rows_nothing_can_be_judged(theta: Theta, posted: Posted) -> None:
    few = Posted(
        {name: values[:4] for name, values in posted.columns.items()},
        MarketRows(posted.rows.x[:4], posted.rows.y[:4], "random"),
    )
    found = judge(case_of(theta, few))
    assert (found.verdict, found.cross_fitted) == ("hold", None)
    assert found.reasons[0] == "only 4 usable rows: nothing can be judged"
    none = Posted({name: [] for name in posted.columns}, MarketRows(posted.rows.x[:0], np.zeros(0), "random"))
    assert judge(case_of(theta, none)).verdict == "hold"


def test_few_defaults_are_noted(theta: Theta, posted: Posted, quiet) -> None:
    y = np.r_[np.ones(4), np.zeros(116)]
    found = judge(case_of(theta, Posted(posted.columns, MarketRows(posted.rows.x, y, "random"))))
    assert found.verdict == "activate"
    assert found.reasons[0] == "4 defaults, fewer than 5: the ranking stays theta's, only the level moved"


def test_a_wrong_unit_is_held_and_its_column_named(theta: Theta, posted: Posted, quiet) -> None:
    columns = {**posted.columns, "income": [12 * value for value in posted.columns["income"]]}
    wrong = Posted(columns, MarketRows(theta.encoder.encode(columns), posted.rows.y, "random"))
    found = judge(case_of(theta, wrong))
    assert found.verdict == "hold"
    assert (found.findings[0].check, found.findings[0].column) == ("profile", "income")
    assert "column 'income'" in found.reasons[0]


def test_an_unseen_category_is_noted(theta: Theta, posted: Posted, quiet) -> None:
    columns = {**posted.columns, "job": ["astronaut", *posted.columns["job"][1:]]}
    strange = Posted(columns, MarketRows(theta.encoder.encode(columns), posted.rows.y, "random"))
    found = judge(case_of(theta, strange))
    assert found.verdict == "activate"
    (about,) = [finding for finding in found.findings if finding.column == "job"]
    assert (about.check, about.severity) == ("profile", "note")


def tilted(theta: Theta, posted: Posted, name: str, by: float) -> AdaptedMarket:
    """theta_prime with ``by`` more slope on one column."""
    (adapted,) = adapt_markets(theta, [posted.rows], inner_steps=0)
    slope = adapted.theta_prime["slope"].clone()
    slope[slot_of(theta.encoder, name)] += by
    return replace(adapted, theta_prime=adapted.theta_prime | {"slope": slope})


@pytest.mark.parametrize(("name", "by", "declared"), [("debt", -2.0, "increases"), ("income", 1.5, "decreases")])
def test_a_declared_direction_that_is_contradicted_is_held(
    name: str, by: float, declared: str, theta: Theta, posted: Posted, quiet
) -> None:
    found = judge(case_of(theta, posted, tilted(theta, posted, name, by)))
    assert found.verdict == "hold"
    (about,) = [finding for finding in found.findings if finding.check == "direction"]
    assert (about.column, about.severity) == (name, "hold")
    assert about.text == f"column '{name}': risk {declared} with it by the schema, theta_prime has it the other way"


def test_a_direction_that_theta_itself_contradicts_is_only_noted(posted: Posted, quiet) -> None:
    theta = toy_theta()
    theta = replace(theta, params={n: -v if n == "net.head_w" else v for n, v in theta.params.items()})
    found = judge(case_of(theta, posted, tilted(theta, posted, "debt", 0.0)))
    assert found.verdict == "activate"
    about = [finding for finding in found.findings if finding.check == "direction"]
    assert [finding.column for finding in about] == ["debt", "income"]
    assert {finding.severity for finding in about} == {"note"}
    assert all("theta itself has it the other way" in finding.text for finding in about)


def test_a_column_that_hardly_matters_contradicts_nothing(theta: Theta, posted: Posted, quiet) -> None:
    name, weight = "debt", WEIGHTS["debt"]
    for slope, n_found in ((-0.9 * WRONG_WAY, 0), (-1.1 * WRONG_WAY, 1)):
        # from a robust standard deviation below the median to one above it: two units of the scaled value
        found = judge(case_of(theta, posted, tilted(theta, posted, name, slope / 2 - weight)))
        assert len([f for f in found.findings if f.check == "direction"]) == n_found


def test_the_rise_along_a_column_by_hand(theta: Theta, posted: Posted) -> None:
    case = case_of(theta, posted)
    low, high = theta.profiles.typical_range(theta.encoder, "debt")
    column = theta.encoder.column_names.index("debt")
    expected = WEIGHTS["debt"] * (high - low) / theta.encoder.scale[column]
    assert _rise(case, theta.at_rest(), "debt") == pytest.approx(expected, rel=1e-4)
    assert _rise(case, theta.at_rest() | {"level": torch.tensor([9.0])}, "debt") == pytest.approx(expected, rel=1e-4)


def test_honest_markets_are_activated(theta: Theta) -> None:
    rng = np.random.default_rng(4)
    verdicts = [judge(case_of(theta, honest_support(theta, 100, rng))).verdict for _ in range(40)]
    assert verdicts.count("activate") >= 35  # four tests at one in a hundred each


def test_shuffled_labels_and_turned_columns_are_not_activated(theta: Theta) -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        posted = honest_support(theta, 150, rng)
        shuffled = Posted(posted.columns, MarketRows(posted.rows.x, rng.permutation(posted.rows.y), "random"))
        assert judge(case_of(theta, shuffled)).verdict != "activate"
        columns = {**posted.columns, "debt": [1.0 - value for value in posted.columns["debt"]]}
        turned = judge(
            case_of(theta, Posted(columns, MarketRows(theta.encoder.encode(columns), posted.rows.y, "random")))
        )
        assert turned.verdict != "activate"
        assert "debt" in [finding.column for finding in turned.findings if finding.severity != "note"]


def test_the_same_case_is_judged_the_same(theta: Theta, posted: Posted) -> None:
    first, second = judge(case_of(theta, posted)), judge(case_of(theta, posted))
    assert first.findings == second.findings
