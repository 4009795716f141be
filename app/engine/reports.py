"""What the API says of an adaptation, in plain values."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.stats import beta

from app.domain.theta_primes import MEASURED_ON
from app.engine.contract import BaseRateBelief
from meta.adaptation import AdaptedMarket, MarketRows
from meta.expectation import ExpectedGain
from meta.guard import Judgement
from meta.intervals import share_interval
from meta.posterior import REACH, Posterior
from meta.strength import HARM

EVIDENCE_LEVELS = ((100, "substantial"), (25, "moderate"), (5, "thin"), (0, "level only"))


def report_of(
    rows: MarketRows,
    n_completed: int,
    adapted: AdaptedMarket,
    posterior: Posterior,
    judgement: Judgement,
    base_rate: BaseRateBelief | None,
    expected: ExpectedGain | None,
    n_filled: Mapping[str, int],
) -> dict[str, Any]:
    """Counts, base rate, what moved and how surely, the ladder of cross-fitted losses, and the guard's findings.

    expected: what such an adaptation was worth to source markets that theta had not seen; n_filled: by feature, rows
    in which it was not given and theta's imputer filled it.
    """
    n_defaults = int(rows.y.sum())
    return {
        "n_support": len(rows.y) - n_completed,
        "n_defaults": n_defaults,
        "n_reference_goods": n_completed,
        "n_filled": dict(n_filled),
        "design": rows.design,
        "evidence": next(level for least, level in EVIDENCE_LEVELS if n_defaults >= least),
        "base_rate": {
            "declared": vars(base_rate) if base_rate else None,
            "observed": _observed(rows) if rows.design == "random" and len(rows.y) else None,
        },
        "level": {
            "shift": adapted.level,
            "sd": posterior.level_sd,
            "low": adapted.level - REACH * posterior.level_sd,
            "high": adapted.level + REACH * posterior.level_sd,
            "unit": "logit",
            "interval": 0.9,
        },
        "ranking_share_kept": adapted.share,
        "expected": _expected(expected) if expected else None,
        "cross_fitted": judgement.cross_fitted.report() if judgement.cross_fitted else None,
        "findings": [asdict(finding) for finding in judgement.findings],
    }


def _expected(row: ExpectedGain) -> dict[str, Any]:
    """Gain on theta at about as many defaults, and the share of markets that lost more than ``harm``."""
    found = row.report()
    at = {name: found.pop(name) for name in ("design", "size", "n_defaults")}
    return found | {"harm": HARM, "unit": "log loss an account, in nats", "at": at, "measured_on": MEASURED_ON}


def _observed(rows: MarketRows) -> dict[str, Any]:
    """The default rate of rows drawn at random, with Jeffreys' 90 % interval and the 90 % upper bound.

    Source: the bound is the most prudent rate of Pluto & Tasche 2005, arXiv:cond-mat/0411699, for one grade and
    independent defaults: no higher rate would show so few defaults in one case of ten.
    """
    n, k = len(rows.y), int(rows.y.sum())
    low, high = share_interval(k, n, 0.9)
    bound = float(beta.ppf(0.9, k + 1, n - k)) if k < n else 1.0
    return {"value": float(np.mean(rows.y)), "low": low, "high": high, "interval": 0.9, "upper_bound": bound}
