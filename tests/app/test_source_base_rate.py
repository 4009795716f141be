"""The base rate that a theta's card gives: counted in its source rows, its interval over markets."""

import numpy as np
import pytest

from app.domain.source_data import SourceMarket, SourceSummary
from app.services.source_base_rate import observed_base_rate


def source(*counts: tuple[int, int]) -> SourceSummary:
    """A summary of markets with so many (rows, defaults)."""
    markets = [SourceMarket(market=f"M{i}", n_rows=n, n_defaults=k) for i, (n, k) in enumerate(counts)]
    n_rows, n_defaults = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    return SourceSummary(
        n_rows=n_rows,
        n_defaults=n_defaults,
        n_markets=len(markets),
        first_vintage=None,
        last_vintage=None,
        n_undated=n_rows,
        markets=markets,
    )


def test_the_rate_and_its_interval_by_hand() -> None:
    found = observed_base_rate(source((100, 10), (200, 40), (300, 40)))
    assert found is not None
    assert (found.n_defaults, found.n_rows, found.n_markets, found.interval) == (90, 600, 3, 0.95)
    assert (found.value, found.source) == (0.15, "observed in the source markets")
    # defaults beyond 0.15 of the rows: -5, 10, -5; error sqrt(3 / 2 * 150) / 600 = 0.025, on the logit's scale
    # 0.025 / (0.15 * 0.85); t with 2 degrees of freedom: 4.302653
    reach = 4.302653 * 0.025 / (0.15 * 0.85)
    odds = 0.15 / 0.85 * np.exp(np.array([-reach, reach]))
    assert (found.low, found.high) == pytest.approx(tuple(odds / (1 + odds)), rel=1e-6)


def test_markets_that_agree_by_luck_are_no_surer_than_their_accounts() -> None:
    found = observed_base_rate(source((100, 10), (100, 10)))
    assert found is not None
    # binomial error sqrt(0.09 / 200), t with 1 degree of freedom: 12.706205
    reach = 12.706205 * np.sqrt(0.09 / 200) / 0.09
    assert found.low == pytest.approx(1 / (1 + 9 * np.exp(reach)), rel=1e-5)


@pytest.mark.parametrize("counts", [[(50, 5)], [(50, 0), (40, 0)], [(5, 5), (6, 6)]])
def test_one_market_or_one_class_has_a_rate_without_an_interval(counts: list[tuple[int, int]]) -> None:
    found = observed_base_rate(source(*counts))
    assert found is not None
    assert found.value == sum(k for _, k in counts) / sum(n for n, _ in counts)
    assert (found.low, found.high) == (None, None)


def test_nothing_recorded_has_no_rate() -> None:
    assert observed_base_rate(None) is None
    assert observed_base_rate(source()) is None
