"""How much of an adaptation to keep: learned on held-out source markets, by the number of defaults in the support.

A step that suits 100 defaults harms at 5. The learner's move from theta is therefore multiplied by a share between
0 and 1 that was best for other markets at the same number of defaults; 0, no move at all, is among the candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from meta.learners.protocol import SEEN
from meta.types import Params

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
HARM = 0.002  # log loss a row
MAX_HARMED = 0.05  # share of held-out markets
ENOUGH = 20  # markets of which one may be harmed


@dataclass(frozen=True)
class Strength:
    """Shares by number of defaults: ``share[i]`` from ``n_defaults[i]`` on, linear between, the first below it."""

    n_defaults: tuple[float, ...]
    share: tuple[float, ...]

    def at(self, n_defaults: float, minimum: int = 5) -> float:
        """Share of the move to keep; under ``minimum`` defaults the ranking stays theta's."""
        if n_defaults < minimum or not self.n_defaults:
            return 0.0
        return float(np.interp(n_defaults, self.n_defaults, self.share))


def shrink(at_rest: Params, adapted: Params, shares: Tensor) -> Params:
    """Keep ``shares`` (n_tasks,) of each task's move: adapted has a leading n_tasks, at_rest has none.

    A share of 0 gives theta's own bits back. What the support left behind is kept whole: there the learner's own
    ``share`` is shrunken, which multiplies what it adds (see ``meta.learners.protocol``).
    """

    def kept(name: str, rest: Tensor) -> Tensor:
        if name.startswith(SEEN):
            return adapted[name]
        return rest + shares.reshape(-1, *[1] * rest.dim()) * (adapted[name] - rest)

    return {name: kept(name, rest) for name, rest in at_rest.items()}


def learn_strength(losses: Mapping[int, Sequence[NDArray[np.float64]]]) -> Strength:
    """Choose the shares: ``losses[n_defaults]`` lists, per held-out market, its mean loss at each of SHARES.

    The best mean wins among the shares that harm few markets: at most MAX_HARMED of them are left worse off than with
    no move at all by more than HARM. Fewer than ENOUGH markets cannot show that so few are harmed: those with the next
    fewer defaults are then counted with them. Shares never fall as defaults grow: more evidence cannot deserve less
    trust.
    """
    counts = sorted(losses)
    gains = [np.stack(losses[n])[:, :1] - np.stack(losses[n]) for n in counts]
    chosen: list[float] = []
    for place, own in enumerate(gains):
        judged_by, fewer = own, place
        while len(judged_by) < ENOUGH and fewer > 0:
            fewer -= 1
            judged_by = np.concatenate([judged_by, gains[fewer]])
        best = best_harmless(own, judged_by)
        chosen.append(max(SHARES[best], chosen[-1] if chosen else 0.0))
    return Strength(tuple(float(n) for n in counts), tuple(chosen))


def best_harmless(gains: NDArray[np.float64], judged_by: NDArray[np.float64] | None = None) -> int:
    """Which candidate has the best mean gain among those that harm few markets; gains (n_markets, n_candidates).

    judged_by (n_others, n_candidates): the gains that harm is counted on, where not on the same.
    At least one candidate must harm no one: no move at all, its gains all 0.

    >>> best_harmless(np.array([[0.0, 0.01, 0.03], [0.0, -0.001, -0.01]]))
    1
    """
    harmless = ((gains if judged_by is None else judged_by) < -HARM).mean(axis=0) <= MAX_HARMED
    return int(np.where(harmless, gains.mean(axis=0), -np.inf).argmax())
