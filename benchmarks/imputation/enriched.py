"""Do accounts that never were help a thin support? A dozen defaults with and without generated ones beside them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from numpy.typing import NDArray
from scipy.special import expit
from threadpoolctl import threadpool_limits

from app.domain.recipes import AdaptationRecipe
from app.engine.adapter import adapt
from app.engine.contract import BaseRateBelief, Support
from app.engine.predictor import Predictor
from benchmarks.few_shot.data import DATASETS, Rows, load
from benchmarks.few_shot.design import Design, held_out_markets, source_of
from benchmarks.few_shot.scratch import fit_logistic
from benchmarks.few_shot.statistics import resampled
from benchmarks.few_shot.thetaprime import columns_of
from benchmarks.imputation.risk import Ours, layout_of, values_of
from meta.generator import Generator, fit_generator
from meta.level import prior_correction
from meta.metrics import log_loss

FloatArray = NDArray[np.float64]
WORLDS = ("sba_states", "lendingclub_states")
N_DEFAULTS, GOODS_PER_DEFAULT = 12, 4
TIMES = (0, 1, 4)  # generated accounts for each posted one
N_MARKETS, N_DRAWS, N_QUERY = 8, 4, 500
MOST_TEACHING = 15_000
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # inverse penalties of a logistic regression of the support
TITLES = {"theta_prime": "theta_prime", "local": "Logistic regression of the support"}


def measure_enriched(data: Path, file: Path) -> dict[str, Any]:
    """Mean log loss by world, market, way and number of generated accounts; kept in ``file``."""
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    torch.set_num_threads(1)
    cells: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for world in WORLDS:
            rows = load(DATASETS[world], data)
            held_out = held_out_markets(rows, Design())[0]
            cells += _in_world(world, rows, source_of(rows, held_out), held_out[:N_MARKETS])
    result = {"cells": cells}
    file.write_text(json.dumps(result))
    return result


def _in_world(world: str, rows: Rows, source: Rows, markets: Sequence[str]) -> Iterator[dict[str, Any]]:
    layout = layout_of(source.features)
    taught = np.sort(np.random.default_rng(0).permutation(len(source))[:MOST_TEACHING])
    generator = fit_generator(layout, values_of(layout, source.features.iloc[taught]), source.y[taught], 0)
    theta = Ours(source, "none")
    for number, name in enumerate(markets):
        own = rows.of([name])
        for draw in range(N_DRAWS):
            rng = np.random.default_rng([number, draw])
            bad, good = (rng.permutation(np.flatnonzero(own.y == label)) for label in (1.0, 0.0))
            chosen = np.concatenate([bad[:N_DEFAULTS], good[: N_DEFAULTS * GOODS_PER_DEFAULT]])
            query = rng.permutation(np.setdiff1d(np.arange(len(own)), chosen))[:N_QUERY]
            told = {"world": world, "market": name, "draw": draw}
            for times in TIMES:
                support, y = _enriched(own.features.iloc[chosen], own.y[chosen], generator, times, rng)
                pds = _pds(theta, support, y, float(own.y.mean()), own.features.iloc[query])
                for way, pd in pds.items():
                    yield {**told, "times": times, "way": way, "log_loss": log_loss(own.y[query], pd)}


def _enriched(
    support: pandas.DataFrame, y: FloatArray, generator: Generator, times: int, rng: np.random.Generator
) -> tuple[pandas.DataFrame, FloatArray]:
    """The support with ``times`` generated accounts for each of its own, of the same labels."""
    labels = np.tile(y, times)
    made = generator.sample(labels, rng)
    layout = generator.layout
    columns = {
        name: pandas.Series(made[:, i] if known is None else [known[int(place)] for place in made[:, i]])
        for i, (name, known) in enumerate(zip(layout.names, layout.categories, strict=True))
    }
    added = pandas.DataFrame(columns).astype({name: support[name].dtype for name in layout.names})
    frame = pandas.concat([support, added], ignore_index=True) if times else support
    return frame, np.concatenate([y, labels])


def _pds(
    theta: Ours, support: pandas.DataFrame, y: FloatArray, rate: float, query: pandas.DataFrame
) -> dict[str, FloatArray]:
    posted = Support(columns_of(support), [bool(label) for label in y], "case_control")
    belief = BaseRateBelief(rate, rate, rate)
    moved = adapt(theta.schema, theta.theta, posted, base_rate=belief, recipe=AdaptationRecipe())
    correction = prior_correction(float(y.mean()), rate)
    local = {f"local {c}": expit(fit_logistic(support, y, c)(query) - correction) for c in STRENGTHS}
    return {"theta_prime": Predictor(theta.schema, theta.theta, moved.artifact).pd(columns_of(query)), **local}


def enriched_section(found: Mapping[str, Any]) -> str:
    """The part of the page on enriched supports; empty where nothing was measured."""
    if not found:
        return ""
    cells = pandas.DataFrame(found["cells"])
    by_market = cells.groupby(["way", "times", "world", "market"])["log_loss"].mean()
    means = by_market.groupby(["way", "times"]).mean()
    best = {times: means.filter(like="local").xs(times, level="times").idxmin() for times in TIMES}
    rows = [_HEAD, "| model | " + " | ".join(_column(times) for times in TIMES) + " |", "|---|" + "---|" * len(TIMES)]
    for way, title in TITLES.items():
        told = []
        for times in TIMES:
            losses, alone = (by_market.loc[best[n] if way == "local" else way, n] for n in (times, 0))
            gap = resampled((losses - alone).to_numpy())
            against = f" ({gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}])" if times else ""
            told.append(f"{losses.mean():.4f}{against}")
        rows.append(f"| {title} | " + " | ".join(told) + " |")
    return "\n".join(rows) + "\n"


def _column(times: int) -> str:
    return f"{times} generated for each posted" if times else "posted accounts alone"


_HEAD = f"""## A thin support, enriched

{N_DEFAULTS} defaults and {N_DEFAULTS * GOODS_PER_DEFAULT} goods of a market held out, its rate declared, with generated
accounts of the same labels beside them: the generator has learned the source markets' accounts. Log loss on
{N_QUERY} other accounts of {N_MARKETS} markets each of SBA and Lending Club states, {N_DRAWS} draws; in brackets
against the posted accounts alone, 95 % by bootstrap over markets. The logistic regression has the best of
{len(STRENGTHS)} penalties, chosen on these very losses for each column of the table. What is generated knows the source
markets, which theta has learned from already, and nothing of the new one.
"""
