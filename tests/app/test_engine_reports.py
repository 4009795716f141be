"""What the report says of a support: rates with bounds worked by hand, counts, and how much evidence there is."""

import json

import numpy as np
import pytest
from scipy.stats import beta, binom

from app.engine.contract import BaseRateBelief
from app.engine.reports import _observed, report_of
from meta.adaptation import AdaptedMarket, DeclaredRate, MarketRows, adapt_markets
from meta.effects import EffectsPrior
from meta.expectation import ExpectedGain
from meta.guard import Finding, Judgement
from meta.level import LevelPrior
from meta.posterior import REACH, Posterior
from tests.meta.toy import toy_theta

ALONE = EffectsPrior(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), 0.0, 0.0)


def rows(n_defaults: int, n_rows: int, declared: DeclaredRate | None = None) -> MarketRows:
    y = np.r_[np.ones(n_defaults), np.zeros(n_rows - n_defaults)]
    return MarketRows(np.zeros((n_rows, 1), np.float32), y, "random" if declared is None else "case_control", declared)


def test_no_default_among_a_hundred() -> None:
    found = _observed(rows(0, 100))
    assert (found["value"], found["low"], found["interval"]) == (0.0, 0.0, 0.9)
    # the most prudent rate: (1 - p)^100 = 0.1
    assert found["upper_bound"] == pytest.approx(1 - 0.1 ** (1 / 100)) == pytest.approx(0.0228, abs=5e-5)
    assert beta.cdf(found["high"], 0.5, 100.5) == pytest.approx(0.95)


def test_one_default_of_two() -> None:
    # Jeffreys: Beta(1.5, 1.5), a half circle over [0, 1]: F(u) = 1/2 + (u sqrt(1 - u^2) + asin u) / pi, u = 2p - 1
    found = _observed(rows(1, 2))
    assert found["value"] == 0.5
    assert found["low"] + found["high"] == pytest.approx(1.0)
    u = 2 * found["high"] - 1
    assert 0.5 + (u * np.sqrt(1 - u**2) + np.arcsin(u)) / np.pi == pytest.approx(0.95)
    # at most one default of two in one case of ten: 1 - p^2 = 0.1
    assert found["upper_bound"] == pytest.approx(np.sqrt(0.9))


@pytest.mark.parametrize(("n_defaults", "n_rows"), [(1, 20), (3, 50), (40, 400)])
def test_no_higher_rate_would_show_so_few_defaults_in_one_case_of_ten(n_defaults: int, n_rows: int) -> None:
    found = _observed(rows(n_defaults, n_rows))
    assert binom.cdf(n_defaults, n_rows, found["upper_bound"]) == pytest.approx(0.1)
    assert found["low"] < found["value"] < found["high"]
    assert found["value"] < found["upper_bound"]


def test_all_of_them_default() -> None:
    found = _observed(rows(5, 5))
    assert (found["value"], found["high"], found["upper_bound"]) == (1.0, 1.0, 1.0)
    assert 0.5 < found["low"] < 1.0


def report(
    market: MarketRows,
    n_completed: int = 0,
    belief: BaseRateBelief | None = None,
    expected: ExpectedGain | None = None,
) -> dict:
    adapted = AdaptedMarket({}, 0.75, -0.2, LevelPrior(), np.zeros(0))
    findings = [
        Finding("profile", "hold", "column 'income': odd", "income"),
        Finding("gain", "note", "fine", None, 0.4),
    ]
    posterior = Posterior.before_rows(ALONE, 0.5)
    return report_of(
        market, n_completed, adapted, posterior, Judgement("hold", findings, None), belief, expected, {"debt": 2}
    )


def test_counts_level_and_findings() -> None:
    found = report(rows(10, 50), n_completed=40)
    assert (found["n_support"], found["n_defaults"], found["n_reference_goods"]) == (10, 10, 40)
    assert found["ranking_share_kept"] == 0.75
    level = found["level"]
    assert (level["shift"], level["sd"], level["unit"], level["interval"]) == (-0.2, 0.5, "logit", 0.9)
    assert (level["low"], level["high"]) == pytest.approx((-0.2 - REACH * 0.5, -0.2 + REACH * 0.5))
    assert found["cross_fitted"] is None
    assert found["findings"][0] == {
        "check": "profile",
        "severity": "hold",
        "text": "column 'income': odd",
        "column": "income",
        "p_value": None,
    }
    assert json.loads(json.dumps(found)) == found


def test_what_to_expect_is_told_where_it_was_measured() -> None:
    assert report(rows(10, 50))["expected"] is None
    measured = ExpectedGain("random", 50, 9.6, 40, 0.0021, 0.0004, 0.05)
    told = report(rows(10, 50), expected=measured)["expected"]
    # t with 39 degrees of freedom: 2.022691; two of forty markets harmed: Beta(2.5, 38.5)
    assert (told.pop("low"), told.pop("high")) == pytest.approx((0.0021 - 0.00080908, 0.0021 + 0.00080908), abs=1e-8)
    assert beta.cdf([told.pop("harmed_low"), told.pop("harmed_high")], 2.5, 38.5) == pytest.approx([0.025, 0.975])
    said = told.pop("measured_on")
    assert all(words in said for words in ("same trials that chose", "true default rate declared", "no guard"))
    assert told == {
        "mean_gain": 0.0021,
        "standard_error": 0.0004,
        "interval": 0.95,
        "harmed_share": 0.05,
        "harm": 0.002,
        "n_markets": 40,
        "unit": "log loss an account, in nats",
        "at": {"design": "random", "size": 50, "n_defaults": 9.6},
    }


@pytest.mark.parametrize(
    ("n_defaults", "evidence"),
    [
        (0, "level only"),
        (4, "level only"),
        (5, "thin"),
        (24, "thin"),
        (25, "moderate"),
        (99, "moderate"),
        (100, "substantial"),
    ],
)
def test_evidence_grows_with_the_number_of_defaults(n_defaults: int, evidence: str) -> None:
    assert report(rows(n_defaults, 200))["evidence"] == evidence


def test_a_rate_is_observed_only_where_rows_came_at_random() -> None:
    belief = BaseRateBelief(0.1, 0.05, 0.2)
    drawn = report(rows(10, 50, DeclaredRate(0.1, 0.05, 0.2)), belief=belief)
    assert drawn["base_rate"] == {"declared": {"value": 0.1, "low": 0.05, "high": 0.2}, "observed": None}
    assert report(rows(10, 50))["base_rate"]["observed"]["value"] == 0.2
    assert report(rows(10, 50))["base_rate"]["declared"] is None
    assert report(rows(0, 0))["base_rate"]["observed"] is None


def test_no_rows_leave_the_level_as_vague_as_its_prior() -> None:
    theta = toy_theta()
    empty = MarketRows(np.zeros((0, theta.encoder.n_features), np.float32), np.zeros(0), "random")
    (adapted,) = adapt_markets(theta, [empty])
    found = report_of(empty, 0, adapted, theta.posterior_at_rest(), Judgement("hold", [], None), None, None, {})
    assert found["level"]["sd"] == pytest.approx(0.3)
    assert (found["n_support"], found["evidence"]) == (0, "level only")
