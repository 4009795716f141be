"""Rows timed in turn, round after round, until their ratios are known well enough."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.engine.process import Worker

BURST_S = 0.15  # of work for each row in each round
N_WARM = 3


@dataclass(frozen=True)
class Patience:
    """Rounds go on until every ratio's 90 % interval is within ``precision`` of it, or ``max_rounds`` are done."""

    min_rounds: int = 15
    max_rounds: int = 120
    precision: float = 0.03


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as the reference: the median over rounds, with its 90 % bootstrap interval."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        return (self.high - self.low) / 2.0 / self.median


@dataclass(frozen=True)
class Timings:
    """Seconds per meta-batch: a list per row, one entry a round, all rows in the same rounds."""

    seconds: Mapping[str, list[float]]
    reference: str

    @property
    def n_rounds(self) -> int:
        return len(self.seconds[self.reference])

    def median_ms(self, name: str) -> float:
        return 1e3 * float(np.median(self.seconds[name]))

    def ratio(self, name: str) -> Ratio:
        ratios = np.asarray(self.seconds[self.reference]) / np.asarray(self.seconds[name])
        low, high = np.quantile(_bootstrap_medians(ratios), [0.05, 0.95])
        return Ratio(float(np.median(ratios)), float(low), float(high))

    def widest(self) -> float:
        return max(self.ratio(name).spread for name in self.seconds)


def race(
    workers: Mapping[str, Worker], reference: str, patience: Patience, on_round: Callable[[Timings], None]
) -> Timings:
    """Time every worker in every round, in an order drawn anew each time."""
    bursts = {name: _burst(worker) for name, worker in workers.items()}
    timings = Timings({name: [] for name in workers}, reference)
    rng = np.random.default_rng(0)
    while timings.n_rounds < patience.max_rounds:
        for name in rng.permutation(sorted(workers)).tolist():
            timings.seconds[name].append(workers[name].seconds(bursts[name]))
        on_round(timings)
        if timings.n_rounds >= patience.min_rounds and timings.widest() <= patience.precision:
            break
    return timings


def _burst(worker: Worker) -> int:
    """Warm up (and compile), then say how many meta-batches fill a burst."""
    worker.seconds(N_WARM)
    return max(1, round(BURST_S / worker.seconds(N_WARM)))


def _bootstrap_medians(values: NDArray[np.float64], n_draws: int = 1000) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).choice(values, (n_draws, len(values)))
    medians: NDArray[np.float64] = np.median(drawn, axis=1)
    return medians
