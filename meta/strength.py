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
    no move at all by more than HARM (``harmless``). Shares never fall as defaults grow: more evidence cannot deserve
    less trust.
    """
    counts = sorted(losses)
    gains = [np.stack(losses[n])[:, :1] - np.stack(losses[n]) for n in counts]
    chosen: list[float] = []
    for own, able in zip(gains, harmless(gains), strict=True):
        best = int(np.where(able, own.mean(axis=0), -np.inf).argmax())
        chosen.append(max(SHARES[best], chosen[-1] if chosen else 0.0))
    return Strength(tuple(float(n) for n in counts), tuple(chosen))


def harmless(gains: Sequence[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
    """Which candidates harm at most MAX_HARMED of the markets, at each amount of evidence, the least first.

    Shapes:  gains, each (n_markets, n_candidates); answers (n_candidates,) each. Fewer than ENOUGH markets cannot show
             that so few are harmed: those with the next less evidence are then counted with them.

    >>> harmless([np.array([[0.0, -0.001, -0.01]])])
    [array([ True,  True, False])]
    """
    found = []
    for place, own in enumerate(gains):
        counted = own
        for less in reversed(gains[:place]):
            if len(counted) < ENOUGH:
                counted = np.concatenate([counted, less])
        found.append((counted < -HARM).mean(axis=0) <= MAX_HARMED)
    return found
