"""What each column looks like in mature markets, and whether a new market's looks like that: units, range, categories.

A wrong unit is seen in the column alone, without any label: its median or its spread lies where no market's does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from meta.features import Encoder
from meta.reading import Reading
from meta.types import Column

FloatArray = NDArray[np.float64]
STATISTICS = ("median", "median_sd", "spread", "spread_sd", "sigma", "low", "high")
NORMAL_IQR = 1.349
LEAST_LIMIT = 5.0  # standard deviations: below it no market is told that its units are wrong
OUTSIDE_SHARE = 0.1  # share of rows beyond what source rows showed from which on a column is held
MIN_OUTSIDE = 3  # values: one or two such accounts are luck
MIN_ROWS = 10
CALIBRATION_ROWS = 60
CALIBRATION_DRAWS = 400
CALIBRATION_SLACK = 1.1


@dataclass(frozen=True)
class Strangeness:
    """A column that does not look like source markets'; grave: so much so that its unit or meaning is in doubt."""

    column: str
    is_grave: bool
    text: str


@dataclass(frozen=True)
class ColumnProfiles:
    """Profiles of the numeric columns, in the encoder's order, and each column's typical value.

    Shapes:  statistics (n_numeric, 7), see STATISTICS: medians of markets, their mean and sd over markets; the same of
             the log of their interquartile range (NaN where it is 0); sigma: robust standard deviation of all rows;
             low, high: 0.1 % and 99.9 % quantiles of all rows. limit (n_numeric,): standard deviations beyond which the
             column is held: a tenth more than any of CALIBRATION_DRAWS honest supports of CALIBRATION_ROWS rows showed.
             defaulters_limit (n_numeric,): the same for supports of defaulters alone, who are not like all accounts.
    typical: median or commonest category by column; None: mostly missing.
    """

    statistics: FloatArray
    limit: FloatArray
    defaulters_limit: FloatArray
    typical: Mapping[str, float | str | None]

    def arrays(self) -> dict[str, FloatArray]:
        """Tensors to store; NaN, which artifacts refuse, is written as -1 in a spread's sd."""
        statistics = np.where(np.isnan(self.statistics), -1.0, self.statistics)
        return {"statistics": statistics, "limit": self.limit, "defaulters_limit": self.defaulters_limit}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], typical: Mapping[str, float | str | None]
    ) -> "ColumnProfiles":
        statistics = np.array(arrays["statistics"])
        unknown = statistics[:, STATISTICS.index("spread_sd")] < 0
        statistics[unknown, STATISTICS.index("spread")] = np.nan
        statistics[unknown, STATISTICS.index("spread_sd")] = np.nan
        limit = np.array(arrays["limit"])
        # thetas of before defaulters alone had limits of their own judge them as they judge all
        return cls(statistics, limit, np.array(arrays.get("defaulters_limit", limit)), dict(typical))

    def reference_row(self, reading: Reading) -> NDArray[np.float32]:
        """The typical account, encoded (n_features,): what scores are explained against."""
        row: NDArray[np.float32] = reading.encode({name: [value] for name, value in self.typical.items()})[0]
        return row

    def typical_range(self, encoder: Encoder, name: str) -> tuple[float, float]:
        """A numeric column's median over markets, give or take one robust standard deviation."""
        row = [c.name for c in encoder.columns if c.kind == "numeric"].index(name)
        by_name = dict(zip(STATISTICS, self.statistics[row], strict=True))
        return float(by_name["median"] - by_name["sigma"]), float(by_name["median"] + by_name["sigma"])

    def strange_columns(
        self, encoder: Encoder, columns: Mapping[str, Sequence[Any]], *, defaulters_alone: bool = False
    ) -> list[Strangeness]:
        """List the columns of a support that look unlike those of source markets."""
        found: list[Strangeness] = []
        limits = self.defaulters_limit if defaulters_alone else self.limit
        numeric = [c.name for c in encoder.columns if c.kind == "numeric"]
        for j, name in enumerate(numeric):
            values = np.asarray(columns[name], dtype=np.float64)
            found += self._look_at(name, j, values[~np.isnan(values)], len(values), limits[j])
        return found + _unseen_categories(encoder, columns)

    def _look_at(self, name: str, j: int, values: FloatArray, n_rows: int, limit: float) -> list[Strangeness]:
        if n_rows >= MIN_ROWS and len(values) == 0:
            return [Strangeness(name, False, f"column '{name}': no row has a value; scored as missing")]
        if len(values) < MIN_ROWS:
            return []
        by_name = dict(zip(STATISTICS, self.statistics[j], strict=True))
        n_outside = int(((values < by_name["low"]) | (values > by_name["high"])).sum())
        outside = n_outside / len(values) if n_outside >= MIN_OUTSIDE else 0.0
        if max(_distances(self.statistics[j], values)) > limit:
            said = f"its median is {np.median(values):.4g}, that of source markets {by_name['median']:.4g}"
            return [Strangeness(name, True, f"column '{name}': wrong unit or meaning? {said}")]
        if outside > OUTSIDE_SHARE:
            said = f"{outside:.0%} of its values lie outside {by_name['low']:.4g} to {by_name['high']:.4g}"
            return [Strangeness(name, True, f"column '{name}': {said}, where source rows hardly ever are")]
        return []


def fit_profiles(encoder: Encoder, rows: pandas.DataFrame, seed: int) -> ColumnProfiles:
    """Profile source rows: columns ``market``, ``defaulted`` and one per feature."""
    numeric = [c.name for c in encoder.columns if c.kind == "numeric"]
    statistics = np.stack([_profile(rows, name) for name in numeric]) if numeric else np.empty((0, len(STATISTICS)))
    limit = _calibrated_limits(rows, numeric, statistics, seed)
    defaulters = _calibrated_limits(rows[rows["defaulted"].to_numpy(dtype=bool)], numeric, statistics, seed)
    return ColumnProfiles(statistics, limit, defaulters, {c.name: _typical(c, rows[c.name]) for c in encoder.columns})


def _profile(rows: pandas.DataFrame, name: str) -> FloatArray:
    values = rows[name].astype(float)
    if values.notna().sum() == 0:
        return np.array([0.0, 0.0, np.nan, np.nan, 1.0, -np.inf, np.inf]).clip(-1e300, 1e300)
    groups = values.groupby(rows["market"].to_numpy())
    medians = groups.median().dropna()
    iqr = (groups.quantile(0.75) - groups.quantile(0.25)).dropna()
    logs = iqr[iqr > 0].map(np.log)
    low, q1, q3, high = values.quantile([0.001, 0.25, 0.75, 0.999])
    sigma = float(q3 - q1) / NORMAL_IQR or float(values.std(ddof=0)) or 1.0
    spread = (logs.mean(), _sd(logs)) if len(logs) > 0.9 * len(iqr) else (np.nan, np.nan)
    return np.array([medians.mean(), _sd(medians), *spread, sigma, low, high], dtype=np.float64)


def _sd(values: pandas.Series) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _distances(statistics: FloatArray, values: FloatArray) -> tuple[float, float]:
    """How many standard deviations a column's median and spread are off, sampling error and markets' own included."""
    median, median_sd, spread, spread_sd, sigma, _, _ = statistics
    n = len(values)
    middle, (q1, q3) = float(np.median(values)), np.quantile(values, [0.25, 0.75])
    off = abs(middle - median) / np.sqrt(median_sd**2 + 1.571 * sigma**2 / n)  # pi / 2: variance of a normal median
    if np.isnan(spread) or q3 <= q1:
        return float(off), 0.0
    wide = abs(np.log(q3 - q1) - spread) / np.sqrt(spread_sd**2 + 1.360 / n)  # of the log of a normal sample's IQR
    return float(off), float(wide)


def _calibrated_limits(rows: pandas.DataFrame, numeric: Sequence[str], statistics: FloatArray, seed: int) -> FloatArray:
    """Draw honest supports from source markets, by label and at random, and see how strange each column looks."""
    rng = np.random.default_rng([seed, 5])
    values = rows[list(numeric)].to_numpy(dtype=np.float64)
    y, market = rows["defaulted"].to_numpy(dtype=bool), rows["market"].to_numpy()
    places = [place for name in rows["market"].unique() if len(place := np.flatnonzero(market == name)) >= MIN_ROWS]
    largest = np.full(len(numeric), LEAST_LIMIT / CALIBRATION_SLACK)
    for draw in range(CALIBRATION_DRAWS if places else 0):
        place = places[int(rng.integers(len(places)))]
        weight = np.where(y[place], 4.0, 1.0) if draw % 2 else np.ones(len(place))
        n = min(CALIBRATION_ROWS, len(place))
        chosen = rng.choice(place, n, replace=False, p=weight / weight.sum())
        worst = [_worst(statistics[j], values[chosen, j]) for j in range(len(numeric))]
        largest = np.maximum(largest, worst)
    return largest * CALIBRATION_SLACK


def _worst(statistics: FloatArray, values: FloatArray) -> float:
    values = values[~np.isnan(values)]
    return max(_distances(statistics, values)) if len(values) >= MIN_ROWS else 0.0


def _typical(column: Column, values: pandas.Series) -> float | str | None:
    present = values.dropna()
    if len(present) * 2 < len(values) or len(present) == 0:
        return None
    return float(present.median()) if column.kind == "numeric" else str(present.value_counts().idxmax())


def _unseen_categories(encoder: Encoder, columns: Mapping[str, Sequence[Any]]) -> list[Strangeness]:
    counts: dict[str, int] = {}
    for name, _ in encoder.unseen(columns):
        counts[name] = counts.get(name, 0) + 1
    n_rows = len(next(iter(columns.values()))) if columns else 0
    return [
        Strangeness(name, False, f"column '{name}': {n} of {n_rows} rows have a category that theta never saw")
        for name, n in counts.items()
    ]
