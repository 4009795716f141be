"""Runs every candidate on every fold; what is done is kept in a folder, and a rerun takes it up."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.backbone.candidates import CANDIDATES, Network
from benchmarks.backbone.folds import FloatArray, Fold, make_folds
from benchmarks.backbone.measure import Predicted
from benchmarks.backbone.worlds import WORLDS


@dataclass(frozen=True)
class Setting:
    """``seed`` draws splits and folds, ``n_starts`` is how many times each candidate is fitted, from 0 on."""

    seed: int = 0
    n_starts: int = 2


@dataclass(frozen=True)
class Cell:
    """What one candidate did on one fold: logits (n_asked,), seconds of processor time, steps or rounds taken."""

    logits: FloatArray
    seconds: float
    n_steps: int


def run_world(name: str, candidates: Sequence[str], data: Path, folder: Path, setting: Setting) -> dict[str, Predicted]:
    """Predict every source market of a world with each candidate; one that is not installed is left out."""
    world = WORLDS[name]
    folds = list(make_folds(world.read(data, setting.seed), world.signs, setting.seed))
    found = {}
    for candidate in candidates:
        place = folder / name / _slug(candidate)
        try:
            cells = [[_cell(candidate, fold, start, place) for fold in folds] for start in range(setting.n_starts)]
        except ImportError as fault:
            print(f"{candidate}: left out, {fault}", file=sys.stderr)
            continue
        found[candidate] = _joined(cells, folds)
        print(f"{name}: {candidate}, {found[candidate].seconds:.1f} s a fold", file=sys.stderr, flush=True)
    return found


def _joined(cells: Sequence[Sequence[Cell]], folds: Sequence[Fold]) -> Predicted:
    """Set the folds' asked rows in a row; cells: one list a start, in the order of ``folds``."""
    return Predicted(
        logits=np.stack([np.concatenate([cell.logits for cell in start]) for start in cells]),
        y=np.concatenate([fold.asked.y for fold in folds]),
        market=np.concatenate([fold.asked.market for fold in folds]),
        seconds=float(np.mean([cell.seconds for start in cells for cell in start])),
        n_steps=float(np.mean([cell.n_steps for start in cells for cell in start])),
    )


def _cell(candidate: str, fold: Fold, start: int, folder: Path) -> Cell:
    file = folder / f"fold{fold.number}.start{start}.npz"
    if not file.exists():
        cell = fit_cell(candidate, fold, start)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part.npz")
        np.savez(unfinished, logits=cell.logits, seconds=cell.seconds, n_steps=cell.n_steps)
        unfinished.rename(file)
    with np.load(file) as kept:
        return Cell(kept["logits"], float(kept["seconds"]), int(kept["n_steps"]))


def fit_cell(candidate: str, fold: Fold, start: int) -> Cell:
    """Fit and predict; a teacher's seconds count for each that it teaches, though it is made but once."""
    fit = CANDIDATES[candidate]
    taught = fit.taught(fold) if isinstance(fit, Network) else None
    started = time.process_time()
    logits, n_steps = fit(fold, start)
    seconds = time.process_time() - started + (0.0 if taught is None else taught.seconds)
    return Cell(logits, seconds, n_steps)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)
