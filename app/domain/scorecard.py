"""Points: the scorecard's way to write a probability of default; more points are safer."""

import math

from app.domain.products import PointsScale

SMALLEST_PD = 1e-12  # a PD this near to 0 or 1 is written as the points of this one, so that points stay finite


def points_from_pd(pd: float, scale: PointsScale) -> float:
    """Write a PD, a share from 0 to 1, as points.

    >>> points_from_pd(1 / 51, PointsScale())  # odds of 50 to 1
    600.0
    """
    bounded = min(max(pd, SMALLEST_PD), 1 - SMALLEST_PD)
    log_odds = math.log((1 - bounded) / bounded)
    return scale.base_points + scale.pdo / math.log(2) * (log_odds - math.log(scale.base_odds))


def pd_from_points(points: float, scale: PointsScale) -> float:
    """Read points as a PD, a share from 0 to 1; the inverse of ``points_from_pd``.

    >>> round(pd_from_points(620.0, PointsScale()), 6)  # odds of 100 to 1
    0.009901
    """
    log_odds = (points - scale.base_points) * math.log(2) / scale.pdo + math.log(scale.base_odds)
    return 1 / (1 + math.exp(log_odds)) if log_odds < 0 else math.exp(-log_odds) / (1 + math.exp(-log_odds))
