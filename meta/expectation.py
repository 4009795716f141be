"""What an adaptation of some size is worth: measured on held-out source markets when theta was trained."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from meta.episodes import Design
from meta.intervals import reach_of, share_interval

INTERVAL = 0.95


@dataclass(frozen=True)
class ExpectedGain:
    """Gains of theta_prime on theta over markets that theta had not seen, at one design and size of the support.

    size: accounts, or defaulters where they were drawn by label; n_defaults: mean number of defaulters; mean_gain,
    standard_error: log loss an account, in nats, over n_markets; harmed_share: of markets left worse off by more than
    ``meta.strength.HARM``.
    """

    design: Design
    size: int
    n_defaults: float
    n_markets: int
    mean_gain: float
    standard_error: float
    harmed_share: float

    def report(self) -> dict[str, Any]:
        """Its fields, with intervals over markets: ``low`` to ``high`` of the gain, by Student's t, and
        ``harmed_low`` to ``harmed_high`` of the share harmed, Jeffreys'; needs two markets."""
        reach = reach_of(self.standard_error, self.n_markets, INTERVAL)
        n_harmed = round(self.harmed_share * self.n_markets)
        harmed_low, harmed_high = share_interval(n_harmed, self.n_markets, INTERVAL)
        return asdict(self) | {
            "low": self.mean_gain - reach,
            "high": self.mean_gain + reach,
            "harmed_low": harmed_low,
            "harmed_high": harmed_high,
            "interval": INTERVAL,
        }


def nearest(expected: Sequence[ExpectedGain], design: Design, n_defaults: int) -> ExpectedGain | None:
    """Find what was measured at the nearest number of defaults (by ratio) in the same design; None: nothing was.

    >>> rows = [ExpectedGain("random", n, n / 10, 40, 0.001, 0.0005, 0.02) for n in (20, 50, 200)]
    >>> nearest(rows, "random", 9).size
    50
    >>> nearest(rows, "case_control", 9) is None
    True
    """
    able = [row for row in expected if row.design == design]
    # half a default more: a support may have none
    return min(able, key=lambda row: abs(math.log((row.n_defaults + 0.5) / (n_defaults + 0.5))), default=None)
