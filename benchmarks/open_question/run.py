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
from benchmarks.open_question.design import Design, Positions, Sample, labels_of, samples_of, split_test
from benchmarks.open_question.fitted import Contestant
from benchmarks.open_question.worlds import Target, World
from meta.metrics import SMALLEST_PD, auc, log_loss

FloatArray = NDArray[np.float64]
Cell = dict[str, Any]


def run_world(
    world: World, design: Design, folder: Path, names: Sequence[str], recipes: Recipes | None = None
) -> pandas.DataFrame:
    """Run the methods ``names`` on a world; one row a (target, method, seed, size).

    Seeds are the outermost loop, so that a run that is stopped early has as many of each.
    Raises:  ValueError: the folder holds results of another design.
    """
    _require_design(folder, design)
    place = folder / world.name
    methods = methods_of(world.source, place, design.seed, recipes or Recipes())
    cells: list[Cell] = []
    for seed in range(design.n_seeds):
        for name in names:
            contestant = methods[name].contestant
            chosen = _kept(place / f"{_slug(name)}.json", partial(choose, contestant, world, design))
            shared = {"world": world.name, "method": name, "shared_seconds": methods[name].shared_seconds}
            shared["outer_steps"] = methods[name].outer_steps
            for target in world.targets.values():
                file = place / f"{_slug(name)}.{_slug(target.name)}.{seed}.json"
                found = _kept(file, partial(run_seed, contestant, target, seed, design, chosen))
                cells += [cell | shared for cell in found]
        print(f"{world.name}: seed {seed} done", file=sys.stderr, flush=True)
    return pandas.DataFrame(cells)


def choose(contestant: Contestant, world: World, design: Design) -> dict[str, Any]:
    """At each size, the choice whose watching rows have the lowest loss, the mean over all targets' first samples.

    Together, since the watching rows of one small sample choose at random. ``seconds``: of a target, on average.
    """
    choices = list(contestant.choices())
    found: dict[str, Any] = {}
    samples = [
        (t, s) for t in world.targets.values() for s in samples_of(split_test(t.rows, design)[0], t.name, 0, design)
    ]
    for size in labels_of([sample.size for _, sample in samples]):
        of_size = [target.rows.at(sample.rows) for target, sample in samples if sample.size == size]
        started = time.process_time()
        if len(choices) > 1:
            losses = [np.mean([contestant.watch(rows, choice, 0) for rows in of_size]) for choice in choices]
            best = choices[int(np.argmin(losses))]
        else:
            best = choices[0]
        found[size] = {"choice": best, "seconds": (time.process_time() - started) / len(of_size)}
    return found


def run_seed(
    contestant: Contestant, target: Target, seed: int, design: Design, chosen: Mapping[str, Any]
) -> list[Cell]:
    """One seed's samples of a target, each learned from with its size's choice and judged."""
    pool, test = split_test(target.rows, design)
    cells = []
    for sample in samples_of(pool, target.name, seed, design):
        rows = target.rows.at(sample.rows)
        choice = chosen[sample.size]
        fitted = contestant.fit(rows, choice["choice"], seed)
        made = {"seconds": fitted.seconds, "n_steps": fitted.n_steps, "capped": fitted.capped}
        told = {"choice": str(choice["choice"]), "tuning_seconds": choice["seconds"], **made}
        cells.append(
            _labels(target, sample, rows) | judged(target, test, fitted.score(target.rows.features.iloc[test])) | told
        )
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


def _labels(target: Target, sample: Sample, rows: Rows) -> Cell:
    n_defaults = int(rows.y.sum())
    return {
        "target": target.name,
        "seed": sample.seed,
        "size": sample.size,
        "n": len(rows),
        "n_defaults": n_defaults,
    }


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
