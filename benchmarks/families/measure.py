"""One world and split: every learner's theta from the same pooled start, adapted to the same supports.

The pooled stage is the same for all learners on one seed, so it is learned once and its time told apart. What is
measured of a theta_prime is unguarded: the guard is the same for every learner.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas
from numpy.typing import NDArray

from app.domain.recipes import ThetaRecipe
from app.engine.columns import columns_of as schema_columns
from app.engine.training import settings_of
from benchmarks.few_shot.data import Rows, schema_of
from benchmarks.few_shot.design import RANDOM, Design, Draw, Setting, make_draws
from benchmarks.few_shot.metrics import measure_all
from benchmarks.few_shot.thetaprime import as_source_data, columns_of
from meta.adaptation import AdaptedMarket, DeclaredRate, MarketRows, adapt_markets, market_logits, posterior_of
from meta.learners.protocol import SEEN
from meta.meta_training import MetaTraining
from meta.serving import served_model
from meta.source import SourceTable
from meta.stages import Finished
from meta.thetas import Theta, pack_theta_prime
from meta.types import Params

FloatArray = NDArray[np.float64]
Found = TypeVar("Found")
NO_EPISODES = "theta"
THETA_LEVEL = "theta + level"
TIMED_AT = Setting(RANDOM, 50)
N_TIMED = 20  # adaptations and single scores whose median time is told


@dataclass
class World:
    """Source rows, encoded, and the pooled stages that all learners share; ``schema_sha256`` names the columns."""

    table: SourceTable
    schema_sha256: str
    seed: int
    pooled: dict[str, Finished]

    @classmethod
    def of(cls, source: Rows, seed: int) -> "World":
        schema = schema_of(source.features)
        return cls(SourceTable.from_frame(schema_columns(schema), as_source_data(source)), schema.sha256(), seed, {})

    def learn(self, recipe: ThetaRecipe) -> tuple[Theta, dict[str, Any], float]:
        """Train; returns theta, its report and the processor seconds that it took on top of what was shared."""
        settings = settings_of(recipe.model_copy(update={"seed": self.seed}))
        started = time.process_time()
        theta, report = MetaTraining(self.schema_sha256, self.table, settings).run(lambda _: None, pooled=self.pooled)
        return theta, report, time.process_time() - started


@dataclass(frozen=True)
class NewMarket:
    """A held-out market's accounts, encoded, and the supports and queries drawn from it."""

    x: NDArray[np.float32]
    y: FloatArray
    draws: Sequence[Draw]

    @classmethod
    def of(cls, rows: Rows, theta: Theta, design: Design) -> "NewMarket":
        x = theta.encoder.encode(columns_of(rows.features))
        return cls(x, rows.y, list(make_draws(str(rows.market[0]), rows.y, design, design.n_draws)))


def measure(theta: Theta, markets: Sequence[Rows], design: Design, inner_steps: int | None = None) -> pandas.DataFrame:
    """Metrics of theta_prime in every market, draw and setting; ``inner_steps`` 0 moves the level alone."""
    frames = [frame for rows in markets for frame in _of_market(theta, NewMarket.of(rows, theta, design), inner_steps)]
    return pandas.concat(frames, ignore_index=True)


def measure_at_rest(theta: Theta, markets: Sequence[Rows], design: Design) -> pandas.DataFrame:
    """Metrics of theta before anything is posted, in the same cells."""
    frames = []
    for rows in markets:
        market = NewMarket.of(rows, theta, design)
        logits = (
            market_logits(theta.learner(), theta.learner().at_rest(theta.params), market.x) + theta.level_prior.mean
        )
        for draw in market.draws:
            found = _metrics(market, draw, np.tile(logits[draw.query], (len(draw.cells), 1)))
            frames.append(found.assign(**_labels(draw)))
    return pandas.concat(frames, ignore_index=True)


def _of_market(theta: Theta, market: NewMarket, inner_steps: int | None) -> Iterator[pandas.DataFrame]:
    learner = theta.learner(inner_steps)
    for draw in market.draws:
        rows = [_posted(market, posted.support, posted.y, posted.base_rate) for _, posted in draw.cells]
        adapted = adapt_markets(theta, rows, inner_steps=inner_steps)
        x = market.x[draw.query]
        logits = np.stack([market_logits(learner, found.theta_prime, x) + found.level for found in adapted])
        yield _metrics(market, draw, logits).assign(**_labels(draw), share=[found.share for found in adapted])


def _posted(market: NewMarket, support: NDArray[np.int64], y: FloatArray, rate: float | None) -> MarketRows:
    declared = None if rate is None else DeclaredRate(rate, rate, rate)
    return MarketRows(market.x[support], y, "random" if rate is None else "case_control", declared)


def _metrics(market: NewMarket, draw: Draw, logits: FloatArray) -> pandas.DataFrame:
    return pandas.DataFrame(measure_all(market.y[draw.query], 1.0 / (1.0 + np.exp(-logits))))


def _labels(draw: Draw) -> dict[str, Any]:
    settings = [setting for setting, _ in draw.cells]
    return {
        "market": draw.market,
        "draw": draw.number,
        "design": [s.design for s in settings],
        "size": [s.size for s in settings],
        "rate_factor": [s.rate_factor for s in settings],
        "n_support": [s.n_support for s in settings],
        "n_defaults": [int(posted.y.sum()) for _, posted in draw.cells],
    }


def measure_costs(theta: Theta, rows: Rows, design: Design) -> dict[str, float]:
    """Time to adapt one market of 50 accounts and to score one account and a thousand; size of what is stored.

    adapt_ms, score_us, scores_a_second: medians of single calls, in processor time; n_bytes: of the stored
    theta_prime; n_moved: how many of its numbers differ from theta's at rest.
    """
    market = NewMarket.of(rows, theta, design)
    posted = next(posted for setting, posted in market.draws[0].cells if setting == TIMED_AT)
    support = _posted(market, posted.support, posted.y, None)
    seconds, adapted = _median_seconds(lambda: adapt_markets(theta, [support], shares=[1.0])[0])
    posterior = posterior_of(theta, support, adapted)
    weights = {name: value.numpy() for name, value in adapted.theta_prime.items()}
    model = served_model(theta, weights, posterior)
    one, _ = _median_seconds(lambda: model.logits(market.x[:1]))
    many = np.tile(market.x, (1000 // len(market.x) + 1, 1))[:1000]
    batch, _ = _median_seconds(lambda: model.logits(many), n_calls=3)
    return {
        "adapt_ms": 1e3 * seconds,
        "score_us": 1e6 * one,
        "scores_a_second": 1000 / batch,
        "n_bytes": float(len(pack_theta_prime(adapted.theta_prime, posterior, "0" * 64))),
        "n_moved": float(_n_moved(theta, adapted)),
    }


def _median_seconds(work: Callable[[], Found], n_calls: int = N_TIMED) -> tuple[float, Found]:
    found, taken = work(), []
    for _ in range(n_calls):
        started = time.process_time()
        found = work()
        taken.append(time.process_time() - started)
    return float(np.median(taken)), found


def _n_moved(theta: Theta, adapted: AdaptedMarket) -> int:
    at_rest: Params = theta.at_rest()
    count = 0
    for name, value in adapted.theta_prime.items():
        rest = at_rest[name]
        count += value.numel() if name.startswith(SEEN) else int((value != rest).sum())
    return count
