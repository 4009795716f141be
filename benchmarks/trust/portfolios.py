"""The guard on real portfolios: markets held out of theta post honest and corrupted supports."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
import torch

from app.domain.recipes import ThetaRecipe
from app.engine.adapter import reference_row_ids
from app.engine.training import train_theta
from benchmarks.few_shot.data import DATASETS, load, numeric, schema_of
from benchmarks.few_shot.design import Design, held_out_markets, source_of
from benchmarks.few_shot.thetaprime import as_source_data
from benchmarks.trust.corruption import Corruption, strongest_column
from benchmarks.trust.guarded import GuardedMarket, reference_support


@dataclass(frozen=True)
class Portfolio:
    """A world of the few-shot benchmark, its first split, and how often each market posts."""

    world: str
    data: Path
    n_draws: int = 10
    seed: int = 0


def judge_portfolio(portfolio: Portfolio) -> pandas.DataFrame:
    """Train theta on the source markets and judge: one row a support. Raises DataNotFound."""
    torch.set_num_threads(1)
    rows = load(DATASETS[portfolio.world], portfolio.data)
    held_out = held_out_markets(rows, Design(seed=portfolio.seed))[0]
    source = source_of(rows, held_out)
    schema, frame = schema_of(source.features), as_source_data(source)
    theta = train_theta(schema, frame, ThetaRecipe(seed=portfolio.seed), on_progress=lambda event: None).artifact
    names = numeric(source.features)
    strongest = strongest_column(source.features, source.y, names)
    corruption = Corruption(strongest, float(source.features[strongest].median()), names)
    reference = reference_support(frame, list(source.features), reference_row_ids(theta))
    found = []
    for number, name in enumerate(held_out):
        own = rows.of([name])
        market = GuardedMarket(schema, theta, name, own.features, own.y, float(own.y.mean()), corruption, reference)
        found += list(market.verdicts(portfolio.n_draws, np.random.default_rng([portfolio.seed, 4, number])))
    return pandas.DataFrame(found).assign(world=portfolio.world, strongest=strongest)
