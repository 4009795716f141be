"""From feature columns to the numbers that networks see. Fitted on source markets, then frozen inside theta.

A numeric column becomes its place in eight quantile bins (piecewise-linear encoding), its robustly scaled value and
a missing flag; a categorical column one flag per known category, one for any other ("unseen") and one for missing.
Everything is bounded, so that a wrong unit can move a prediction only so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from meta.errors import InvalidColumns
from meta.types import Column

FloatArray = NDArray[np.float64]
N_BINS = 8
CLIP = 3.0  # robust standard deviations
MIN_CATEGORY_ROWS = 20


@dataclass(frozen=True)
class Encoder:
    """A fitted encoding of ``columns``.

    Shapes:  edges (n_numeric, n_bins + 1), ascending, padded with inf where a column has fewer distinct quantiles;
             center, scale (n_numeric,), in the column's own unit; categories: one tuple per categorical column.
    Source:  piecewise-linear encoding: Gorishniy et al. 2022, arXiv:2203.05556, section 3.2. Deviations: the outer
             bins are clipped to [0, 1] instead of extrapolating.
    """

    columns: tuple[Column, ...]
    edges: FloatArray
    center: FloatArray
    scale: FloatArray
    categories: tuple[tuple[str, ...], ...]

    @property
    def n_features(self) -> int:
        """Width of the encoded rows."""
        n_bins = self.edges.shape[1] - 1
        return int(len(self.center) * (n_bins + 2)) + sum(len(known) + 2 for known in self.categories)

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float32]:
        """Encode equally long columns to (n_rows, n_features), finite. None and NaN are missing; extra names ignored.

        Raises:  InvalidColumns: a column is absent, or a numeric one holds something else than numbers.
        """
        numeric = [self._numbers(c.name, columns) for c in self.columns if c.kind == "numeric"]
        texts = [self._get(c.name, columns) for c in self.columns if c.kind == "categorical"]
        n_rows = len(numeric[0]) if numeric else len(texts[0])
        parts: list[NDArray[Any]] = [self._encode_numeric(np.stack(numeric, axis=1))] if numeric else []
        parts += [_one_hot(values, known) for values, known in zip(texts, self.categories, strict=True)]
        encoded = np.concatenate(parts, axis=1, dtype=np.float32)
        if len(encoded) != n_rows:
            raise InvalidColumns(f"every column must have {n_rows} rows")
        return encoded

    @property
    def column_of_slot(self) -> NDArray[np.int64]:
        """Which column (numeric ones first) each encoded number belongs to, shape (n_features,)."""
        n_numeric, n_bins = len(self.center), self.edges.shape[1] - 1
        numbers = np.arange(n_numeric)
        owners = [np.repeat(numbers, n_bins), numbers, numbers]
        owners += [np.full(len(known) + 2, n_numeric + j) for j, known in enumerate(self.categories)]
        return np.concatenate(owners)

    @property
    def column_names(self) -> list[str]:
        """Names by the numbers that ``column_of_slot`` uses: numeric columns first."""
        return [c.name for kind in ("numeric", "categorical") for c in self.columns if c.kind == kind]

    @property
    def kind_of_slot(self) -> NDArray[np.str_]:
        """What each encoded number is, shape (n_features,): ``bin``, ``scaled``, ``absent`` or ``category``."""
        n_numeric, n_bins = len(self.center), self.edges.shape[1] - 1
        kinds = ["bin"] * (n_numeric * n_bins) + ["scaled"] * n_numeric + ["absent"] * n_numeric
        for known in self.categories:
            kinds += ["category"] * len(known) + ["absent"] * 2
        return np.array(kinds)

    @property
    def absence_slots(self) -> NDArray[np.int64]:
        """The slots that stand for a missing value or an unseen category, in the order of columns."""
        n_numeric, n_bins = len(self.center), self.edges.shape[1] - 1
        start = n_numeric * (n_bins + 2)
        slots = list(range(n_numeric * (n_bins + 1), start))
        for known in self.categories:
            slots += [start + len(known), start + len(known) + 1]
            start += len(known) + 2
        return np.array(slots, dtype=np.int64)

    @property
    def missing_slots(self) -> NDArray[np.int64]:
        """The slot that says a column's value is missing, by the numbers that ``column_of_slot`` uses."""
        n_numeric, n_bins = len(self.center), self.edges.shape[1] - 1
        ends = n_numeric * (n_bins + 2) + np.cumsum([len(known) + 2 for known in self.categories], dtype=np.int64)
        return np.concatenate([n_numeric * (n_bins + 1) + np.arange(n_numeric), ends - 1])

    def unseen(self, columns: Mapping[str, Sequence[Any]]) -> list[tuple[str, int]]:
        """List (column, row) of every category that the source markets did not show."""
        names = [c.name for c in self.columns if c.kind == "categorical"]
        found = []
        for name, known in zip(names, self.categories, strict=True):
            index = set(known)
            values = self._get(name, columns)
            found += [(name, row) for row, v in enumerate(values) if isinstance(v, str) and v not in index]
        return found

    def _encode_numeric(self, values: FloatArray) -> FloatArray:
        missing = np.isnan(values)
        low, high = self.edges[:, :-1], self.edges[:, 1:]
        with np.errstate(invalid="ignore"):  # inf - inf in the padding, NaN in the missing: both set to 0 below
            width = high - low
            bins = np.clip((values[:, :, None] - low) / width, 0.0, 1.0)
        bins[~np.isfinite(bins)] = 0.0
        bins[:, ~np.isfinite(high)] = 0.0
        scaled = np.clip((values - self.center) / self.scale, -CLIP, CLIP)
        bins[missing] = 0.0
        scaled[missing] = 0.0
        return np.concatenate([bins.reshape(len(values), bins.shape[1] * bins.shape[2]), scaled, missing], axis=1)

    def _numbers(self, name: str, columns: Mapping[str, Sequence[Any]]) -> FloatArray:
        try:
            return np.asarray(self._get(name, columns), dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidColumns(f"column {name!r} must hold numbers or nothing") from None

    @staticmethod
    def _get(name: str, columns: Mapping[str, Sequence[Any]]) -> Sequence[Any]:
        if name not in columns:
            raise InvalidColumns(f"column {name!r} is absent")
        return columns[name]


def fit_encoder(columns: Sequence[Column], source: pandas.DataFrame) -> Encoder:
    """Learn bins, scales and categories from source rows (n_rows >= 1), one frame column per feature.

    Categories declared by the schema come first, in its order; others with at least 20 rows follow, by name.
    Raises:  InvalidColumns: a column is absent or of another kind.
    """
    absent = [c.name for c in columns if c.name not in source]
    if absent:
        raise InvalidColumns(f"columns {absent} are absent from the source rows")
    if len(source) == 0:
        raise InvalidColumns("an encoder needs at least one source row")
    numeric = [_fit_numeric(c.name, source[c.name]) for c in columns if c.kind == "numeric"]
    edges = np.full((len(numeric), N_BINS + 1), np.inf)
    for row, (found, _, _) in enumerate(numeric):
        edges[row, : len(found)] = found
    return Encoder(
        columns=tuple(columns),
        edges=edges,
        center=np.array([center for _, center, _ in numeric]),
        scale=np.array([scale for _, _, scale in numeric]),
        categories=tuple(_fit_categories(c, source[c.name]) for c in columns if c.kind == "categorical"),
    )


def _fit_numeric(name: str, column: pandas.Series) -> tuple[FloatArray, float, float]:
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise InvalidColumns(f"column {name!r} must hold numbers or nothing") from None
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return np.array([]), 0.0, 1.0
    edges = np.unique(np.quantile(values, np.linspace(0, 1, N_BINS + 1)))
    if len(edges) == 2 or len(edges) == 1:  # nearly constant: quantiles see one value, the few others matter
        edges = np.unique(values)[: N_BINS + 1]
    center = float(np.median(values))
    spread = float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 1.349
    return edges, center, spread or float(values.std()) or 1.0


def _fit_categories(column: Column, values: pandas.Series) -> tuple[str, ...]:
    declared = column.categories or ()
    counts = values.value_counts()
    frequent = sorted(str(name) for name, n in counts.items() if n >= MIN_CATEGORY_ROWS)
    return (*declared, *(name for name in frequent if name not in set(declared)))


def _one_hot(values: Sequence[Any], known: tuple[str, ...]) -> NDArray[np.float32]:
    unseen, missing = len(known), len(known) + 1
    index = {name: place for place, name in enumerate(known)}
    places = [index.get(v, unseen) if isinstance(v, str) else missing for v in values]
    flags = np.zeros((len(values), len(known) + 2), dtype=np.float32)
    flags[np.arange(len(values)), places] = 1.0
    return flags
