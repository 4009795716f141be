"""The words of model cards: what a version is for, and what it is not."""

from typing import Any

from app.domain.markets import BaseRate
from app.domain.samples import Design

AUC_NEEDS_DEFAULTS = 50

THETA_PURPOSE = "The starting point for new markets of this product, learned from its mature markets."
THETA_USE = [
    "Scoring accounts of a market that has no version of its own yet.",
    "Being adapted to a market's first labelled accounts.",
]
THETA_PRIME_PURPOSE = "Default risk in one market: theta, adapted to the market's first labelled accounts."
THETA_PRIME_USE = ["Ranking and pricing applicants of this market, while it is young, beside the bank's own rules."]

_NO_PARAMETER = (
    "Not a capital (IRB) and not an IFRS 9 parameter: it has no margin of conservatism, no downturn adjustment and no "
    "lifetime horizon."
)
_ALIKE = (
    "It speaks of accounts like those it was made from, by the product's outcome definition and features; accounts "
    "that were declined are in no data it has seen."
)
_INTERVALS = (
    "pd_low and pd_high are a 90 % interval of the PD as the model sees it; they leave no room for a market, a policy "
    "or a feature's meaning that changes."
)
_REASONS = "Reasons and contributions say what the model did, not what causes default."
_FAR_MARKETS = (
    "Results are of mature markets left out in turn; a market unlike all of them can do worse, and only its own "
    "accounts will show it."
)
_CAN_LOSE = "It can lose to theta: the guard makes that rarer, not impossible. Rolling back is one call."
_HAVE_LOST = (
    "With about {n_defaults:.0f} defaults, {harmed_share:.0%} of {n_markets} mature markets that were left out lost "
    "more than {harm} log loss an account to theta, before any guard. That was counted in the trials that chose "
    "how much of a move to keep, with true default rates declared where accounts were drawn by label: expect somewhat "
    "worse."
)


_FILLED = (
    "A feature that an account does not give is filled by what mature markets suggest; the score names it and its "
    "interval allows for it. In a market where the feature means something else it is filled wrongly all the same."
)


def limits_of_theta(*, has_imputer: bool) -> list[str]:
    """Say what a theta is not."""
    return [_NO_PARAMETER, _ALIKE, *([_FILLED] if has_imputer else []), _FAR_MARKETS, _INTERVALS, _REASONS]


def limits_of_theta_prime(
    *, design: Design, n_samples: int, n_defaults: int, base_rate: BaseRate | None, expected: dict[str, Any] | None
) -> list[str]:
    """Say what a theta_prime is not, made from so many samples drawn by a design; expected: as in its report."""
    few = [_few_defaults(n_defaults)] if n_defaults < AUC_NEEDS_DEFAULTS else []
    level = _level(design, n_samples, base_rate)
    lost = [_HAVE_LOST.format(**expected, n_defaults=expected["at"]["n_defaults"])] if expected else []
    return [_NO_PARAMETER, level, *few, _CAN_LOSE, *lost, _ALIKE, _INTERVALS, _REASONS]


def _few_defaults(n_defaults: int) -> str:
    return (
        f"It was made from {n_defaults} defaulted accounts. Below {AUC_NEEDS_DEFAULTS} an AUC says more about chance "
        "than about the model: none is to be read without its interval."
    )


def _level(design: Design, n_samples: int, rate: BaseRate | None) -> str:
    if rate is None:
        return f"No base rate was declared: its level rests on {n_samples} accounts and the levels of mature markets."
    declared = f"{rate.value:.2%} ({rate.low:.2%} to {rate.high:.2%}), {rate.source}, {rate.as_of}"
    if design == "case_control":
        return f"Its level comes from the declared base rate alone and is only as good as that: {declared}."
    return f"Its level starts from the declared base rate; it is as good as that and {n_samples} accounts: {declared}."
