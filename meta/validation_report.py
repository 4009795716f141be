"""What theta's report says of held-out markets: each by itself, all together, and how far they are apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from meta.effects import EffectsPrior
from meta.episodes import Market
from meta.evidence import MIN_DEFAULTS_FOR_AUC
from meta.expectation import INTERVAL
from meta.features import Encoder
from meta.intervals import mean_and_reach
from meta.metrics import auc, log_loss


def effects_report(effects: EffectsPrior, encoder: Encoder) -> dict[str, Any]:
    """How far markets differ, in logits: numeric slopes per robust standard deviation, categories per membership."""
    names = encoder.column_names
    owners = [names[j] for j in encoder.column_of_slot[effects.slots]]
    slopes: dict[str, float] = {}
    for name, sd in zip(owners, effects.slope_sd, strict=True):
        slopes[name] = max(slopes.get(name, 0.0), float(sd))
    return {"scale_sd": effects.scale_sd, "slope_sd": slopes, "theta_sd": effects.theta_sd}


def market_row(market: Market) -> dict[str, Any]:
    """One held-out market under a theta that has not seen it, at rest; AUC only where there are defaults enough."""
    both = 0 < market.y.sum() < len(market.y)
    return {
        "market": market.name,
        "n_rows": len(market.y),
        "default_rate": float(market.y.mean()),
        "log_loss": log_loss(market.y, 1.0 / (1.0 + np.exp(-market.logits))),
        "auc": auc(market.y, market.logits) if both and market.y.sum() >= MIN_DEFAULTS_FOR_AUC else None,
    }


def over_markets(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean of theta's log loss and of its AUC over markets left out, a market counting once whatever its size.

    The interval is over markets, by Student's t, within what the measure can be; None below two markets that have it.
    """
    found: dict[str, Any] = {"interval": INTERVAL}
    for measure, most in (("log_loss", np.inf), ("auc", 1.0)):
        values = np.array([row[measure] for row in rows if row[measure] is not None])
        found[measure] = None
        if len(values) >= 2:
            mean, reach = mean_and_reach(values, INTERVAL)
            low, high = max(mean - reach, 0.0), min(mean + reach, most)
            found[measure] = {"mean": mean, "low": low, "high": high, "n_markets": len(values)}
    return found
