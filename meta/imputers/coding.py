"""How the conditional imputer reads a column and how it answers: numbers in, a choice among bins out."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from meta.imputers.fixed_point import rounded
from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]
N_EDGES = 9  # of what is read: eight bins
READ_SHARE = 0.03  # the most frequent value, if so many rows have it, is set apart by a bin of its own
N_KNOTS = 9  # quantiles inside a bin that is answered
ATOM_SHARE = 0.01  # a value that so many rows have is a bin of its own
REACH = 8.0  # standard deviations that the linear part sees
NAMES = ("edges", "center", "scale", "low", "high", "knots", "n_bins")


@dataclass(frozen=True)
class Coding:
    """Fitted reading and answering of a layout's columns; categorical ones are their own bins.

    What is read of a column, (n_rows, code_widths[i]): of a numeric one its place in eight bins, its
    standardised value and whether it is known; of a categorical one a flag a category and whether it is known. All
    zero where it is not, and on the grid of exact sums.

    What is answered of a column is one of ``n_bins[i]`` bins, in ascending order: a frequent value (an atom), or the
    values between two quantiles of the others, in which ``knots[i, bin]`` are nine quantiles.

    Shapes:  edges (n_columns, 9), ascending, equal from where a column has no more; center, scale, low, high, n_bins
             (n_columns,); knots (n_columns, most bins, 9).
    """

    layout: Layout
    edges: FloatArray
    center: FloatArray
    scale: FloatArray
    low: FloatArray
    high: FloatArray
    knots: FloatArray
    n_bins: NDArray[np.int64]

    @property
    def code_widths(self) -> tuple[int, ...]:
        return tuple(n + 1 if n else N_EDGES + 1 for n in self.layout.n_categories)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each column's code begins, and where the last one ends: (n_columns + 1,)."""
        starts: NDArray[np.int64] = np.cumsum([0, *self.code_widths])
        return starts

    @cached_property
    def most_bins(self) -> int:
        return int(self.n_bins.max())

    @cached_property
    def _ramps(self) -> tuple[FloatArray, FloatArray]:
        """Where each number of a column's code begins to rise and how fast, (n_columns, N_EDGES + 1) each.

        A reading bin rises over its width; 0 where it has none, and for the two numbers that are no bins.
        """
        low, rate = np.zeros((2, len(self.edges), N_EDGES + 1))
        widths = np.diff(self.edges, axis=1)
        low[:, : N_EDGES - 1] = self.edges[:, :-1]
        np.divide(1.0, widths, out=rate[:, : N_EDGES - 1], where=widths > 0)
        return low, rate

    def read(self, values: FloatArray) -> FloatArray:
        """Code values (n_rows, n_columns), NaN where unknown, as (n_rows, sum of code_widths)."""
        parts = [self._read_run(values[:, run], run) for run in self._runs]
        return rounded(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))

    def read_column(self, values: FloatArray, column: int) -> FloatArray:
        """Code one column's values (n_rows,) as (n_rows, code_widths[column])."""
        return rounded(self._read_run(values[:, None], slice(column, column + 1)))

    @cached_property
    def _runs(self) -> list[slice]:
        """Neighbouring numeric columns, which are read at once, and categorical ones, each by itself."""
        runs: list[slice] = []
        for i, n_categories in enumerate(self.layout.n_categories):
            if runs and not n_categories and not self.layout.n_categories[i - 1]:
                runs[-1] = slice(runs[-1].start, i + 1)
            else:
                runs.append(slice(i, i + 1))
        return runs

    def _read_run(self, values: FloatArray, run: slice) -> FloatArray:
        if n_categories := self.layout.n_categories[run.start]:
            known = ~np.isnan(values)
            return np.concatenate([values == np.arange(n_categories), known], axis=1, dtype=np.float64)
        return self._read_numeric(values, run)

    def _read_numeric(self, values: FloatArray, run: slice) -> FloatArray:
        known = ~np.isnan(values)
        safe = np.where(known, values, self.edges[run, 0])
        low, rate = (ramps[run].ravel() for ramps in self._ramps)
        code = np.repeat(safe, N_EDGES + 1, axis=1)  # one block of memory from here on: half the time of parts
        code -= low
        code *= rate
        np.maximum(code, 0.0, out=code)
        np.minimum(code, 1.0, out=code)
        scaled = (safe - self.center[run]) / self.scale[run]
        code[:, N_EDGES - 1 :: N_EDGES + 1] = np.clip(scaled, -REACH, REACH) * known
        code[:, N_EDGES :: N_EDGES + 1] = known
        return code

    def bins_of(self, values: FloatArray) -> NDArray[np.int64]:
        """The bin of each known value, (n_rows, n_columns); 0 where it is not known."""
        found = np.zeros(values.shape, dtype=np.int64)
        for i, n_categories in enumerate(self.layout.n_categories):
            known = ~np.isnan(values[:, i])
            column = values[known, i]
            found[known, i] = column.astype(np.int64) if n_categories else self._numeric_bins(column, i)
        return found

    def _numeric_bins(self, values: FloatArray, column: int) -> NDArray[np.int64]:
        """The last bin that begins at or below a value; but a value beside an atom is not the atom."""
        knots = self.knots[column, : self.n_bins[column]]
        atoms = knots[:, 0] == knots[:, -1]
        spans, own = np.flatnonzero(~atoms), np.flatnonzero(atoms)
        found = np.zeros(len(values), dtype=np.int64)
        if len(spans):
            found = spans[np.clip(np.searchsorted(knots[spans, 0], values, side="right") - 1, 0, None)]
        if len(own):
            place = np.clip(np.searchsorted(knots[own, 0], values), 0, len(own) - 1)
            exact = knots[own[place], 0] == values
            nearest = exact if len(spans) else np.ones_like(exact)
            found = np.where(nearest, own[place], found)
        return found

    def pick(self, probabilities: FloatArray, uniforms: FloatArray, column: int) -> FloatArray:
        """Draw values by inverse distribution function: probabilities (n_rows, n_bins[column]), uniforms (n_rows,)."""
        reached: FloatArray = np.cumsum(probabilities, axis=1)
        reached /= reached[:, -1:]
        bins = np.minimum((uniforms[:, None] >= reached).sum(axis=1), reached.shape[1] - 1)
        if self.layout.n_categories[column]:
            return np.asarray(bins, dtype=np.float64)
        rows = np.arange(len(bins))
        before = np.where(bins > 0, reached[rows, bins - 1], 0.0)
        inside = (uniforms - before) / np.maximum(reached[rows, bins] - before, 1e-12)
        place = np.clip(inside, 0.0, 1.0) * (N_KNOTS - 1)
        left = np.minimum(place.astype(np.int64), N_KNOTS - 2)
        low, high = self.knots[column, bins, left], self.knots[column, bins, left + 1]
        picked: FloatArray = low + (place - left) * (high - low)
        return picked

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in NAMES}

    @classmethod
    def restore(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(layout, **{name: arrays[name] for name in NAMES})


def fit_coding(layout: Layout, values: FloatArray, n_bins: int) -> Coding:
    """Learn how to read and answer from ``values`` (n_rows, n_columns); at most ``n_bins`` bins and the atoms."""
    columns = [
        _categorical(n) if n else _numeric(values[~np.isnan(values[:, i]), i], n_bins)
        for i, n in enumerate(layout.n_categories)
    ]
    counts = np.array([len(knots) for _, _, knots in columns], dtype=np.int64)
    knots = np.zeros((len(columns), counts.max(), N_KNOTS))
    for i, (_, _, found) in enumerate(columns):
        knots[i, : counts[i]] = found
    edges = np.stack([edges for edges, _, _ in columns])
    center, scale = np.array([moments for _, moments, _ in columns]).T
    low, high = knots[:, 0, 0], np.array([found[-1, -1] for _, _, found in columns])
    return Coding(layout, edges, center.copy(), scale.copy(), low.copy(), high, knots, counts)


def _categorical(n_categories: int) -> tuple[FloatArray, tuple[float, float], FloatArray]:
    places = np.arange(n_categories, dtype=np.float64)
    return np.zeros(N_EDGES), (0.0, 1.0), np.repeat(places[:, None], N_KNOTS, axis=1)


def _numeric(seen: FloatArray, n_bins: int) -> tuple[FloatArray, tuple[float, float], FloatArray]:
    """Edges to read by, mean and standard deviation, knots of the bins to answer by; ``seen`` may be empty."""
    if not len(seen):
        return np.zeros(N_EDGES), (0.0, 1.0), np.zeros((1, N_KNOTS))
    edges = _edges(seen)
    edges = np.concatenate([edges, np.full(N_EDGES - len(edges), edges[-1])])
    return edges, (float(seen.mean()), float(seen.std()) or 1.0), _knots(seen, n_bins)


def _edges(seen: FloatArray) -> FloatArray:
    """At most N_EDGES, ascending: every value where they are so few, else quantiles, and a frequent value's own two."""
    distinct, counts = np.unique(seen, return_counts=True)
    if len(distinct) <= N_EDGES:
        return distinct
    top = int(counts.argmax())
    apart = distinct[top : top + 2] if counts[top] >= READ_SHARE * len(seen) else distinct[:0]
    rest = np.quantile(seen, np.linspace(0.0, 1.0, N_EDGES - len(apart)))
    found: FloatArray = np.unique(np.concatenate([apart, rest]))
    return found


def _knots(seen: FloatArray, n_bins: int) -> FloatArray:
    distinct, counts = np.unique(seen, return_counts=True)
    is_atom = (counts >= ATOM_SHARE * len(seen)) | (len(distinct) <= n_bins)
    found = [np.full(N_KNOTS, value) for value in distinct[is_atom]]
    rest = np.sort(seen[np.isin(seen, distinct[~is_atom])])
    if len(rest):
        n_spans = max(1, min(n_bins - min(len(found), n_bins // 2), len(rest) // 5, len(np.unique(rest)) // 2))
        for part in np.array_split(rest, n_spans):
            found.append(np.quantile(part, np.linspace(0.0, 1.0, N_KNOTS)))
    return _ascending(np.stack(found))


def _ascending(knots: FloatArray) -> FloatArray:
    """In the order of their middles."""
    ordered: FloatArray = knots[np.argsort(knots[:, N_KNOTS // 2], kind="stable")]
    return ordered
