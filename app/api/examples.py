"""Examples of bodies and places, of the demo's kind: they run against `make demo` by the docs page's "Execute"."""

from typing import Any

PRODUCT, MARKET, ACCOUNT = "demo-card", "market-30", "A-1051"

_UNITS = {
    "utilisation": "share",
    "income": "EUR a year",
    "months_at_address": "months",
    "inquiries_6m": None,
    "open_accounts": None,
    "limit": "EUR",
    "age": "years",
    "dti": "share",
}
_CATEGORIES = {"employment": ["employed", "self_employed", "student", "retired"], "channel": ["branch", "web", "app"]}

DECLARATION: dict[str, Any] = {
    "slug": "my-card",
    "title": "A credit card for new markets",
    "feature_schema": {
        "features": [
            *({"name": name, "kind": "numeric", "unit": unit, "minimum": 0} for name, unit in _UNITS.items()),
            *({"name": name, "kind": "categorical", "categories": known} for name, known in _CATEGORIES.items()),
        ]
    },
    "outcome": {"definition": "90 or more days past due within 12 months", "performance_window_days": 365},
    "points_scale": {"base_points": 600, "base_odds": 50, "pdo": 20},
}
MARKET_DECLARATION: dict[str, Any] = {
    "title": "A market that has barely begun",
    "currency": "EUR",
    "base_rate": {"value": 0.12, "low": 0.08, "high": 0.17, "source": "credit bureau", "as_of": "2025-06-30"},
    "activation": "automatic",
}


def _features(utilisation: float, income: float | None, employment: str) -> dict[str, Any]:
    usual = {"months_at_address": 26, "inquiries_6m": 1, "open_accounts": 4, "limit": 3500, "age": 37, "dti": 0.24}
    return {"utilisation": utilisation, "income": income, **usual, "employment": employment, "channel": "web"}


def _sample(account: str, defaulted: bool, features: dict[str, Any]) -> dict[str, Any]:
    dates = {"opened_on": "2023-03-01", "observed_on": "2024-06-30"}
    return {"account": account, "features": features, "defaulted": defaulted, **dates}


CAREFUL, STRETCHED = _features(0.31, 38_000, "employed"), _features(0.92, 21_500, "student")
SAMPLES: dict[str, Any] = {
    "design": "random",
    "rows": [
        _sample("N-1001", False, CAREFUL),
        _sample("N-1002", True, STRETCHED),
        _sample("N-1003", False, _features(0.55, None, "retired")),
    ],
}
OUTCOMES: dict[str, Any] = {
    "rows": [
        {"account": ACCOUNT, "defaulted": False, "opened_on": "2023-03-01", "observed_on": "2024-06-30"},
        {"account": "A-1052", "defaulted": True, "opened_on": "2023-03-04", "observed_on": "2024-06-30"},
    ],
}
ACCOUNT_FEATURES: dict[str, Any] = {"features": CAREFUL}
SCORE_ROWS: dict[str, Any] = {"rows": [{"account": "N-1001", "features": CAREFUL}, {"features": STRETCHED}]}
SCORE_COLUMNS: dict[str, Any] = {
    "columns": {name: [CAREFUL[name], STRETCHED[name]] for name in CAREFUL},
    "accounts": ["N-1001", "N-1002"],
}
SCORE_CSV = """account,utilisation,income,employment,channel
N-1001,0.31,38000,employed,web
N-1002,0.92,,student,app
"""
SOURCE_CSV = """market,defaulted,utilisation,income,age,employment,channel
market-01,0,0.31,38000,37,employed,web
market-01,1,0.92,21500,24,student,app
market-02,0,0.55,,61,retired,branch
"""
WHO: dict[str, Any] = {"activated_by": "M. Moreau", "note": "approved by the launch risk committee"}
