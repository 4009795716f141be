"""The demo's own portfolio: made up, with known truth, so that nothing need be downloaded."""

from dataclasses import replace
from datetime import date

from app.demo.portfolio import N_FIRST, Portfolio, TableChoice, prepare_portfolio
from app.domain.schema import FeatureSchema
from meta.synthetic import PortfolioSettings, make_portfolio

SETTINGS = PortfolioSettings(n_markets=30, rows_per_market=1000, base_rate=0.12, level_spread=0.5)
SEED = 2017
HELD_OUT = "market-30"
CHOICE = TableChoice("market", "defaulted", date_column="issued", exclude=("true_pd",), holdout=HELD_OUT)
UNITS = {
    "utilisation": "share",
    "income": "EUR a year",
    "months_at_address": "months",
    "limit": "EUR",
    "age": "years",
    "dti": "share",
}


def synthetic_portfolio(today: date) -> Portfolio:
    """Make the portfolio: 29 mature markets and a new one, 1,000 accounts each; equal days give equal portfolios."""
    frame = make_portfolio(SETTINGS, SEED)
    names = {name: f"market-{number:02d}" for number, name in enumerate(sorted(frame["market"].unique()), start=1)}
    frame["market"] = frame["market"].map(names)
    portfolio = prepare_portfolio(frame, CHOICE, name="demo-card", today=today)
    held_out = frame[frame["market"] == HELD_OUT].sort_values("issued", kind="stable")
    return replace(
        portfolio,
        title="A credit card in thirty made-up markets",
        schema=_with_units(portfolio.schema),
        true_pds=held_out["true_pd"].to_numpy()[N_FIRST:],
    )


def _with_units(schema: FeatureSchema) -> FeatureSchema:
    features = [feature.model_copy(update={"unit": UNITS.get(feature.name)}) for feature in schema.features]
    return FeatureSchema(features=tuple(features))
