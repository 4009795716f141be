"""The synthetic portfolio keeps what it promises."""

import numpy as np
import pandas
import pytest

from meta.errors import InvalidRecipe
from meta.synthetic import NUMERIC, PortfolioSettings, make_portfolio


def test_equal_seeds_give_equal_portfolios() -> None:
    settings = PortfolioSettings(n_markets=3, rows_per_market=50)
    pandas.testing.assert_frame_equal(make_portfolio(settings, 1), make_portfolio(settings, 1))
    assert not make_portfolio(settings, 1)["income"].equals(make_portfolio(settings, 2)["income"])


def test_labels_follow_the_true_pd() -> None:
    frame = make_portfolio(PortfolioSettings(n_markets=20, rows_per_market=2000), 3)
    bins = frame.groupby(pandas.qcut(frame["true_pd"], 10), observed=True)
    gap = bins["defaulted"].mean() - bins["true_pd"].mean()
    assert gap.abs().max() < 0.02
    assert frame["defaulted"].mean() == pytest.approx(0.07, abs=0.02)


def test_spreads_are_spreads_over_markets() -> None:
    same = make_portfolio(PortfolioSettings(20, 1000, level_spread=0.0, missing_spread=0.0), 4)
    far = make_portfolio(PortfolioSettings(20, 1000, level_spread=0.8, missing_spread=0.05), 4)
    rate_spread = [f.groupby("market")["true_pd"].mean().std() for f in (same, far)]
    assert rate_spread[0] < 1e-6 < 0.02 < rate_spread[1]
    missing = [f[list(NUMERIC)].isna().groupby(f["market"]).mean().mean(axis=1).std() for f in (same, far)]
    assert missing[0] < 0.005 < 0.01 < missing[1]


def test_units_are_those_of_real_files() -> None:
    frame = make_portfolio(PortfolioSettings(5, 500), 5)
    assert frame["utilisation"].dropna().between(0, 1).all()
    assert frame["age"].dropna().between(18, 95).all()
    assert (frame["income"].dropna() > 1000).all()
    assert np.all(
        np.diff(frame[frame["market"] == "M00"]["issued"].to_numpy(dtype="datetime64[D]")) >= np.timedelta64(0)
    )


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match="base_rate"):
        PortfolioSettings(base_rate=1.0)
    with pytest.raises(InvalidRecipe, match="missing_share"):
        PortfolioSettings(missing_share=0.02, missing_spread=0.04)
