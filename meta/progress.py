"""How far a training is: one event after every step, with the time it will still take."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One event. step, n_steps: over all stages (n_steps shrinks when a stage stops early); times in seconds."""

    phase: str
    step: int
    n_steps: int
    loss: float | None
    validation_loss: float | None
    elapsed_s: float
    eta_s: float | None


class Ledger:
    """Counts steps of different kinds, each with a pace of its own, and tells the listener."""

    def __init__(self, planned: Mapping[str, int], listener: Callable[[Progress], None]) -> None:
        self._left = dict(planned)
        self._done = 0
        self._seconds: dict[str, list[float]] = {kind: [0.0, 0.0] for kind in planned}
        self._listener = listener
        self._started = self._last = time.monotonic()

    def step(self, phase: str, kind: str, loss: float, validation_loss: float | None) -> None:
        """Record one step of ``kind`` and tell."""
        now = time.monotonic()
        self._seconds[kind][0] += now - self._last
        self._seconds[kind][1] += 1
        self._last = now
        self._done += 1
        self._left[kind] = max(self._left[kind] - 1, 0)
        self._tell(phase, loss, validation_loss)

    def begin(self) -> None:
        """Start the clock of a stage's first step: what was done before it is no step's time."""
        self._last = time.monotonic()

    def skip(self, kind: str, n_steps: int) -> None:
        """Take steps off the plan that nobody will make: their stage stopped early."""
        self._left[kind] = max(self._left[kind] - n_steps, 0)
        self._last = time.monotonic()

    def resume(self, kind: str, n_steps: int) -> None:
        """Count steps that were made before a restart, so that a resumed training does not seem to begin anew."""
        self._done += n_steps
        self.skip(kind, n_steps)

    def announce(self, phase: str) -> None:
        """Tell that a phase without steps begins."""
        self._tell(phase, None, None)
        self._last = time.monotonic()

    def _tell(self, phase: str, loss: float | None, validation_loss: float | None) -> None:
        left = sum(self._left.values())
        elapsed = time.monotonic() - self._started
        self._listener(Progress(phase, self._done, self._done + left, loss, validation_loss, elapsed, self._eta()))

    def _eta(self) -> float | None:
        """Steps left times the mean pace of their kind; a kind not yet seen is taken to be as slow as the slowest."""
        paces = {kind: total / n for kind, (total, n) in self._seconds.items() if n}
        if not paces:
            return None
        return sum(n * paces.get(kind, max(paces.values())) for kind, n in self._left.items())
