"""Runs the stages of a training one after the other, and picks up where a killed run left off."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from meta.checkpoint import pack, sha256, unpack
from meta.errors import CorruptArtifact
from meta.progress import Ledger
from meta.trainer import GradientAt, Schedule, StepReport, TrainerState, Validate, train
from meta.types import Params

SAVE_EVERY_S = 3.0
STATE_PARTS = ("theta", "average", "best", "first_moment", "second_moment")
DIGEST = 64  # bytes of a hexadecimal SHA-256 in front of a stored state


class StageStore(Protocol):
    """Keeps the latest state: a file or a database row. ``save`` must replace the old state at once or not at all."""

    def save(self, state: bytes) -> None: ...

    def load(self) -> bytes | None: ...


@dataclass
class Finished:
    """Result of a stage: its best theta, the step that it was reached at, and how many steps were made."""

    params: Params
    step: int
    n_made: int


@dataclass
class StageRunner:
    """Runs stages by name; finished ones and the state of the current one are saved to ``store``.

    ``fingerprint`` names the rows and settings; a stored state of other rows or settings is not taken up.
    """

    store: StageStore | None
    fingerprint: Mapping[str, Any]
    ledger: Ledger
    finished: dict[str, Finished] = field(default_factory=dict)
    current: tuple[str, TrainerState] | None = None
    _saved_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        content = self.store.load() if self.store else None
        if content is not None:
            self._restore(content)

    def run(
        self, name: str, start: Params, gradient_at: GradientAt, schedule: Schedule, validate: Validate | None
    ) -> tuple[Params, int]:
        """Run stage ``name`` (its kind is what follows ': '), or return what it gave before the restart."""
        kind = _kind_of(name)
        if name not in self.finished:
            state = self._state_of(name, start)
            self.ledger.begin()

            def on_step(report: StepReport, state: TrainerState) -> None:
                self.ledger.step(name, kind, report.loss, report.validation_loss)
                self.current = name, state
                if time.monotonic() - self._saved_at > SAVE_EVERY_S:
                    self.save()

            state = train(state, gradient_at, schedule, validate=validate, on_step=on_step)
            self.finished[name] = Finished(state.best, state.best_step, state.step)
            self.current = None
            self.ledger.skip(kind, schedule.n_steps - state.step)
            self.save()
        else:
            self.ledger.skip(kind, schedule.n_steps - self.finished[name].n_made)
        done = self.finished[name]
        return {n: v.to(start[n].device) for n, v in done.params.items()}, done.step

    def save(self) -> None:
        """Store everything that a resumed run needs."""
        if self.store is None:
            return
        tensors = {f"finished|{s}|{n}": v for s, done in self.finished.items() for n, v in done.params.items()}
        metadata: dict[str, Any] = {
            "fingerprint": self.fingerprint,
            "finished": {name: [done.step, done.n_made] for name, done in self.finished.items()},
        }
        if self.current is not None:
            name, state = self.current
            for part in STATE_PARTS:
                tensors |= {f"state|{part}|{n}": v for n, v in getattr(state, part).items()}
            metadata["state"] = {
                "name": name,
                "step": state.step,
                "best_loss": state.best_loss,
                "best_step": state.best_step,
                "waited": state.waited,
            }
        content = pack(tensors, metadata)
        self.store.save(sha256(content).encode() + content)
        self._saved_at = time.monotonic()

    def _restore(self, stored: bytes) -> None:
        try:
            tensors, metadata = unpack(stored[DIGEST:], stored[:DIGEST].decode("ascii", "replace"))
        except CorruptArtifact:
            return  # a broken checkpoint costs time, not correctness: the run starts afresh
        if metadata["fingerprint"] != json.loads(json.dumps(self.fingerprint)):  # tuples come back as lists
            return
        for name, (step, n_made) in metadata["finished"].items():
            self.finished[name] = Finished(_part(tensors, f"finished|{name}|"), step, n_made)
            self.ledger.resume(_kind_of(name), n_made)
        if "state" in metadata:
            scalars = metadata["state"]
            name = scalars.pop("name")
            parts: dict[str, Any] = {part: _part(tensors, f"state|{part}|") for part in STATE_PARTS}
            self.current = name, TrainerState(**parts, **scalars)
            self.ledger.resume(_kind_of(name), scalars["step"])

    def _state_of(self, name: str, start: Params) -> TrainerState:
        if self.current is None or self.current[0] != name:
            return TrainerState.at_start(start)
        state = self.current[1]
        for part in STATE_PARTS:
            setattr(state, part, {n: v.to(start[n].device) for n, v in getattr(state, part).items()})
        return state


def _kind_of(name: str) -> str:
    return name.rpartition(": ")[2]


def _part(tensors: Params, prefix: str) -> Params:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
