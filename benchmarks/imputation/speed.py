"""Ours against chained boosting on the same rows, by turns in one process: 100,000 rows, and one."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.imputation.chained import fit_chained
from benchmarks.imputation.gaps import make_gaps
from benchmarks.imputation.libraries import fit_boosting
from benchmarks.imputation.tables import credit
from meta.imputers import fit_imputer

N_ROWS = 100_000
N_TIMES = 3
N_SINGLE = 300


def measure_speed(data: Path, file: Path) -> dict[str, Any]:
    """Median seconds of wall clock by contestant, one thread each; kept in ``file``."""
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    table = credit(data)
    gaps = make_gaps(table.values, "MCAR", 0.2, np.random.default_rng(0))
    known = np.where(gaps, np.nan, table.values)
    many = known[np.arange(N_ROWS) % len(known)]
    with threadpool_limits(1):
        ours, gain = (fit_imputer(name, table.layout, known[:6000], 0) for name in ("conditional", "gain"))
        boosting, lightgbm = (fit(table.layout, known[:6000], 0) for fit in (fit_boosting, fit_chained))
        contestants = {"conditional": ours, "gain": gain, "boosting": boosting, "lightgbm": lightgbm}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(N_TIMES):
            for name, fitted in contestants.items():
                if turn == 0 or name != "boosting":  # minutes a time
                    times[name].append(_seconds(fitted.fill, many))
        ones = {
            name: _single(fitted.fill, known) for name, fitted in contestants.items() if name in ("conditional", "gain")
        }
    medians = {name: float(np.median(values)) for name, values in times.items()}
    result = {"many": medians, "one": ones}
    file.write_text(json.dumps(result))
    return result


def _seconds(fill: Callable[[NDArray[np.float64]], Any], rows: NDArray[np.float64]) -> float:
    started = time.perf_counter()
    fill(rows)
    return time.perf_counter() - started


def _single(fill: Callable[[NDArray[np.float64]], Any], rows: NDArray[np.float64]) -> float:
    return float(np.median([_seconds(fill, rows[i : i + 1]) for i in range(N_SINGLE)]))
