"""Do a PD's 90 % intervals still hold the truth when three values in ten are missing? Where the truth is known."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from threadpoolctl import threadpool_limits

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.engine.adapter import adapt
from app.engine.contract import BaseRateBelief, Support
from app.engine.predictor import Predictor
from app.engine.training import train_theta
from benchmarks.few_shot.thetaprime import columns_of
from benchmarks.trust.measure import SCHEMA
from benchmarks.trust.world import NAMES, TrueMarket, draw_new_markets, draw_source

RATE = 0.3
SPREADS = (0.25, 0.1, 0.4)
SEEDS = (0, 1)
N_MARKETS, N_ROWS, N_QUERY = 30, 2000, 300
SUPPORTS = (("random", 0), ("random", 50), ("random", 200), ("case_control", 12), ("case_control", 25))
IMPUTERS = {"conditional": "conditional, 20 draws", "none": "missing as a state", "mean": "means"}


@dataclass(frozen=True)
class CoverageJob:
    """A theta of the synthetic world with one imputer; leaves a file."""

    imputer: str
    spread: float
    seed: int
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / f"coverage.{self.imputer}.{round(100 * self.spread)}.{self.seed}.json"


def plan_coverage(folder: Path) -> list[CoverageJob]:
    """Every seed with draws; the others, which have none, once in the first spread."""
    ours = [CoverageJob("conditional", spread, seed, folder) for spread in SPREADS for seed in SEEDS]
    return [*ours, *(CoverageJob(name, SPREADS[0], 0, folder) for name in IMPUTERS if name != "conditional")]


def run_coverage(job: CoverageJob) -> None:
    """Train with gaps, adapt with gaps, score with gaps; the truth is the PD of the whole row."""
    if job.file.exists():
        return
    torch.set_num_threads(1)
    rng = np.random.default_rng([job.seed, 9])
    source = draw_source(job.spread, job.seed)
    source[list(NAMES)] = _with_gaps(source[list(NAMES)], rng)
    recipe = ThetaRecipe.model_validate({"imputer": job.imputer, "seed": job.seed})
    with threadpool_limits(1):
        theta = train_theta(SCHEMA, source, recipe, on_progress=lambda event: None).artifact
        markets = draw_new_markets(job.spread, N_MARKETS, N_ROWS, job.seed)
        found = [row for market in markets for row in _in_market(theta, market, rng)]
    job.file.write_text(json.dumps(found))
    print(f"{job.file.stem}: {np.mean([row['held'] for row in found]):.1%} held", flush=True)


def _in_market(theta: Any, market: TrueMarket, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    features = _with_gaps(market.features(), rng)
    order = rng.permutation(N_ROWS)
    query, pool = order[:N_QUERY], order[N_QUERY:]
    asked, truth = columns_of(features.iloc[query]), market.pd[query]
    for design, size in SUPPORTS:
        chosen = _support(market, pool, design, size)
        predictor = Predictor(SCHEMA, theta)
        if len(chosen):
            posted = Support(columns_of(features.iloc[chosen]), [bool(y) for y in market.y[chosen]], design)
            rate = float(market.pd.mean())
            belief = BaseRateBelief(rate, rate, rate) if design == "case_control" else None
            moved = adapt(SCHEMA, theta, posted, base_rate=belief, recipe=AdaptationRecipe())
            predictor = Predictor(SCHEMA, theta, moved.artifact)
        scored = predictor.score(asked)
        held = (scored.pd_low <= truth) & (truth <= scored.pd_high)
        loss = -(truth * np.log(scored.pd) + (1 - truth) * np.log1p(-scored.pd)).mean()
        ends = np.log(scored.pd_high / (1 - scored.pd_high)) - np.log(scored.pd_low / (1 - scored.pd_low))
        row = {"market": market.name, "design": design, "size": size, "held": float(held.mean())}
        yield row | {"log_loss": float(loss), "width": float(ends.mean())}


def _support(market: TrueMarket, pool: Any, design: str, size: int) -> Any:
    """Rows in the pool's order; by label, ``size`` defaulters with four goods each."""
    if design == "random":
        return pool[:size]
    bad, good = pool[market.y[pool] == 1][:size], pool[market.y[pool] == 0]
    return np.concatenate([bad, good[: 4 * len(bad)]])


def _with_gaps(features: pandas.DataFrame, rng: np.random.Generator) -> pandas.DataFrame:
    return features.mask(rng.random(features.shape) < RATE)


def coverage_section(jobs: Sequence[CoverageJob]) -> str:
    """The part of the page on intervals; empty where nothing was run."""
    cells = _cells(jobs)
    if cells.empty:
        return ""
    names = [f"{size} {'at random' if design == 'random' else 'defaulters'}" for design, size in SUPPORTS]
    rows = [_HEAD, "| theta | spread | worlds | " + " | ".join(names) + " |", "|" + "---|" * (3 + len(SUPPORTS))]
    for (imputer, spread), own in cells.groupby(["imputer", "spread"], sort=False):
        parts = [own[(own["design"] == design) & (own["size"] == size)] for design, size in SUPPORTS]
        told = [f"{_share(p['held'])} (width {p['width'].mean():.2f}, loss {p['log_loss'].mean():.4f})" for p in parts]
        n_worlds = own["seed"].nunique()
        rows.append(f"| {IMPUTERS[str(imputer)]} | {spread} | {n_worlds} | " + " | ".join(told) + " |")
    return "\n".join(rows) + "\n"


def coverage_claim(jobs: Sequence[CoverageJob]) -> list[str]:
    """Whether the draws' intervals hold 85 to 95 % in every cell, by spread."""
    found, cells = [], _cells(jobs)
    ours = cells[cells["imputer"] == "conditional"] if not cells.empty else cells
    for spread, own in ours.groupby("spread", sort=False) if not ours.empty else ():
        means = own.groupby(["design", "size"])["held"].mean()
        text = f"intervals with {RATE:.0%} missing hold the true PD in {means.min():.1%} to {means.max():.1%}"
        reached = means.min() >= 0.85 and means.max() <= 0.95
        said = f"{text} of accounts (85 to 95 % asked, coefficient spread {spread}, {own['seed'].nunique()} worlds)"
        found.append(f"REACHED: {said}" if reached else f"**NOT REACHED: {said}**")
    return found


def _cells(jobs: Sequence[CoverageJob]) -> pandas.DataFrame:
    frames = [
        pandas.read_json(job.file).assign(imputer=job.imputer, spread=job.spread, seed=job.seed)
        for job in jobs
        if job.file.exists()
    ]
    return pandas.concat(frames) if frames else pandas.DataFrame()


def _share(held: "pandas.Series[float]") -> str:
    """The mean over markets with its standard error, for a market's accounts miss together."""
    error = f" ± {held.std(ddof=1) / len(held) ** 0.5:.1%}" if len(held) > 1 else ""
    return f"{held.mean():.1%}{error}"


_HEAD = f"""## Intervals where the truth is known

The synthetic world of [trust.md](trust.md), {RATE:.0%} of all values missing, in source markets as in new ones;
{N_MARKETS} new markets of each world, {N_QUERY} accounts each. The share of accounts whose true PD, that of the whole
row, lies in the 90 % interval, with its standard error over markets; in brackets the interval's mean width in logits
and the expected log loss.
"""
