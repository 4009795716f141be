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
    return points_from_logit(-math.log((1 - bounded) / bounded), scale)


def points_from_logit(logit: float, scale: PointsScale) -> float:
    """Write a logit of default as points; points are linear in it.

    >>> points_from_logit(-math.log(50), PointsScale())
    600.0
    """
    return scale.base_points + _points_a_logit(scale) * (-logit - math.log(scale.base_odds))


def points_of_contribution(logit: float, scale: PointsScale) -> float:
    """Write a part of a logit of default as the points it adds; a risky one takes points away, so is below 0.

    >>> points_of_contribution(math.log(2), PointsScale())  # twice the odds of default
    -20.0
    """
    return 0.0 - _points_a_logit(scale) * logit  # 0.0 minus: nothing is 0.0, not -0.0


def pd_from_points(points: float, scale: PointsScale) -> float:
    """Read points as a PD, a share from 0 to 1; the inverse of ``points_from_pd``.

    >>> round(pd_from_points(620.0, PointsScale()), 6)  # odds of 100 to 1
    0.009901
    """
    log_odds = (points - scale.base_points) / _points_a_logit(scale) + math.log(scale.base_odds)
    return 1 / (1 + math.exp(log_odds)) if log_odds < 0 else math.exp(-log_odds) / (1 + math.exp(-log_odds))


def _points_a_logit(scale: PointsScale) -> float:
    return scale.pdo / math.log(2)
