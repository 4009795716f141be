"""Run the contestants over targets, samples and seeds; each (world, target, method, seed) is a file, to resume from."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.few_shot.data import Rows
from benchmarks.open_question.contestants import Recipes, methods_of
from benchmarks.open_question.design import ALL, Design, Positions, samples_of, split_test
from benchmarks.open_question.fitted import Contestant
from benchmarks.open_question.worlds import Target, World
from meta.metrics import SMALLEST_PD, auc, log_loss

FloatArray = NDArray[np.float64]
Cell = dict[str, Any]


def run_world(
    world: World,
    design: Design,
    folder: Path,
    names: Sequence[str],
    recipes: Recipes | None = None,
    kept_only: bool = False,
) -> pandas.DataFrame:
    """Run the methods ``names`` on a world; one row a (target, method, seed, size, judged market).

    Seeds are the outermost loop, so that a run that is stopped early has as many of each. ``kept_only``: nothing is
    run, and the seeds that are whole are told; no row where none is.
    Raises:  ValueError: the folder holds results of another design.
    """
    _require_design(folder, design)
    place = folder / world.name
    seeds = [seed for seed in range(design.n_seeds) if not kept_only or _finished(place, world, names, seed)]
    methods = methods_of(world.source, place, design.seed, recipes or Recipes()) if seeds else {}
    cells: list[Cell] = []
    for seed in seeds:
        for name in names:
            contestant = methods[name].contestant
            chosen = _kept(place / f"{_slug(name)}.json", partial(choose, contestant, world, design))
            shared = {"world": world.name, "method": name, "shared_seconds": methods[name].shared_seconds}
            shared["outer_steps"] = methods[name].outer_steps
            for target in world.targets.values():
                file = _file(place, name, target.name, seed)
                found = _kept(file, partial(run_seed, contestant, target, seed, design, chosen))
                cells += [cell | shared for cell in found]
        print(f"{world.name}: seed {seed} done", file=sys.stderr, flush=True)
    return pandas.DataFrame(cells)


def choose(contestant: Contestant, world: World, design: Design) -> dict[str, Any]:
    """By target and size, the choice whose watching rows have the lowest loss, on the samples of the first seed.

    Where n is a number, the mean over all targets decides, since the watching rows of one small sample choose at
    random; with all its rows each target decides for itself. ``seconds``: of a target.
    """
    tried = {
        (target.name, sample.size): _tried(contestant, target.rows.at(sample.rows))
        for target in world.targets.values()
        for sample in samples_of(split_test(target.rows, design)[0], target.name, 0, design)
    }
    found: dict[str, Any] = {}
    for (name, size), (losses, seconds) in tried.items():
        together = [other for (_, n), (other, _) in tried.items() if n == size != ALL] or [losses]
        best = list(contestant.choices())[int(np.mean(together, axis=0).argmin())]
        found.setdefault(name, {})[size] = {"choice": best, "seconds": seconds}
    return found


def _tried(contestant: Contestant, rows: Rows) -> tuple[list[float], float]:
    """Losses of the watching rows, one a choice, and processor seconds; nothing is tried where there is no choice."""
    started, choices = time.process_time(), list(contestant.choices())
    losses = [contestant.watch(rows, choice, 0) for choice in choices] if len(choices) > 1 else [0.0]
    return losses, time.process_time() - started


def run_seed(
    contestant: Contestant, target: Target, seed: int, design: Design, chosen: Mapping[str, Any]
) -> list[Cell]:
    """One seed's samples of a target, each learned from with its size's choice and judged market by market."""
    pool, test = split_test(target.rows, design)
    cells = []
    for sample in samples_of(pool, target.name, seed, design):
        rows = target.rows.at(sample.rows)
        choice = chosen[target.name][sample.size]
        fitted = contestant.fit(rows, choice["choice"], seed)
        logits = fitted.score(target.rows.features.iloc[test])
        told = {
            **{
                "target": target.name,
                "seed": seed,
                "size": sample.size,
                "n": len(rows),
                "n_defaults": int(rows.y.sum()),
            },
            **{"choice": str(choice["choice"]), "tuning_seconds": choice["seconds"]},
            **{"seconds": fitted.seconds, "n_steps": fitted.n_steps, "capped": fitted.capped},
        }
        for market in np.unique(target.rows.market[test]).tolist():
            inside = target.rows.market[test] == market
            cells.append({"market": market, **told, **judged(target, test[inside], logits[inside])})
    return cells


def judged(target: Target, test: Positions, logits: FloatArray) -> dict[str, float]:
    """Log loss, AUC and, where true PDs are known, ``excess``: expected log loss above theirs."""
    y, pd = target.rows.y[test], np.clip(expit(logits), SMALLEST_PD, 1 - SMALLEST_PD)
    found = {"log_loss": log_loss(y, pd), "auc": auc(y, pd)}
    if target.true_pd is None:
        return found
    true = target.true_pd[test]
    gap = true * np.log(true / pd) + (1 - true) * np.log((1 - true) / (1 - pd))
    return found | {"excess": float(gap.mean())}


def _file(place: Path, name: str, target: str, seed: int) -> Path:
    return place / f"{_slug(name)}.{_slug(target)}.{seed}.json"


def _finished(place: Path, world: World, names: Sequence[str], seed: int) -> bool:
    return all(_file(place, name, target, seed).exists() for name in names for target in world.targets)


def _kept(file: Path, make: Callable[[], Any]) -> Any:
    """What ``file`` holds, made and written first where it is not there."""
    if not file.exists():
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(make()))
        unfinished.replace(file)
    return json.loads(file.read_text())


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _require_design(folder: Path, design: Design) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kept = asdict(design) | {"n_seeds": None}  # seeds may be added
    settings, wanted = folder / "design.json", json.dumps(kept)
    if settings.exists() and settings.read_text() != wanted:
        raise ValueError(f"{folder} holds the results of another design; name another --folder or remove it")
    settings.write_text(wanted)
