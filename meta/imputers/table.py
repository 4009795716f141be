"""Accounts as one matrix of numbers, the form that imputers work on, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta.errors import InvalidColumns

FloatArray = NDArray[np.float64]
Categories = tuple[str, ...] | None


@dataclass(frozen=True)
class Layout:
    """Names of the columns and, for a categorical one, the categories that it knows; None for a numeric one."""

    names: tuple[str, ...]
    categories: tuple[Categories, ...]

    @property
    def is_numeric(self) -> NDArray[np.bool_]:
        """Shape (n_columns,)."""
        return np.array([known is None for known in self.categories], dtype=bool)

    @property
    def n_categories(self) -> tuple[int, ...]:
        """By column; 0 for a numeric one."""
        return tuple(0 if known is None else len(known) for known in self.categories)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many numbers each column has in one-hot coding: 1, or one a category."""
        return tuple(max(1, n) for n in self.n_categories)

    def one_hot(self, values: FloatArray) -> FloatArray:
        """Code (n_rows, n_columns) as (n_rows, sum of widths): categories as flags, all NaN where one is unknown."""
        parts = [values[:, i : i + 1] if n == 0 else _flags(values[:, i], n) for i, n in enumerate(self.n_categories)]
        return np.concatenate(parts, axis=1)

    def decide(self, expected: FloatArray) -> FloatArray:
        """The way back from one-hot coding: of a category's probabilities the largest, the first of equals."""
        starts = np.cumsum([0, *self.widths])
        decided = [
            expected[:, start] if n == 0 else expected[:, start : start + n].argmax(axis=1).astype(np.float64)
            for start, n in zip(starts, self.n_categories, strict=False)
        ]
        return np.stack(decided, axis=1)

    def values(self, columns: Mapping[str, Sequence[Any]]) -> FloatArray:
        """Columns of equal length -> (n_rows, n_columns); missing values and unseen categories are NaN.

        Raises:  InvalidColumns: a column is absent, or a numeric one holds something else than numbers.
        """
        return np.stack([self._column(i, columns) for i in range(len(self.names))], axis=1)

    def missing(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.bool_]:
        """Where nothing was given, (n_rows, n_columns); an unseen category was given."""
        flags = [_is_missing(columns[name], known is None) for name, known in self._pairs()]
        return np.stack(flags, axis=1)

    def columns(self, values: FloatArray) -> dict[str, Sequence[Any]]:
        """The way back: numbers with NaN, and categories with None."""
        found: dict[str, Sequence[Any]] = {}
        for i, (name, known) in enumerate(self._pairs()):
            column = values[:, i]
            found[name] = column if known is None else _names(column, known)  # type: ignore[assignment]
        return found

    def _pairs(self) -> list[tuple[str, Categories]]:
        return list(zip(self.names, self.categories, strict=True))

    def _column(self, i: int, columns: Mapping[str, Sequence[Any]]) -> FloatArray:
        name, known = self.names[i], self.categories[i]
        if name not in columns:
            raise InvalidColumns(f"column {name!r} is absent")
        if known is None:
            try:
                return np.asarray(columns[name], dtype=np.float64)
            except (TypeError, ValueError):
                raise InvalidColumns(f"column {name!r} must hold numbers or nothing") from None
        places = {category: place for place, category in enumerate(known)}
        return np.array([places.get(v, np.nan) if isinstance(v, str) else np.nan for v in columns[name]])


def _is_missing(values: Sequence[Any], is_numeric: bool) -> NDArray[np.bool_]:
    if is_numeric:
        return np.isnan(np.asarray(values, dtype=np.float64))
    return np.array([not isinstance(v, str) for v in values], dtype=bool)


def _flags(places: FloatArray, n_categories: int) -> FloatArray:
    flags: FloatArray = (places[:, None] == np.arange(n_categories)).astype(np.float64)
    flags[np.isnan(places)] = np.nan
    return flags


def _names(places: FloatArray, known: tuple[str, ...]) -> list[str | None]:
    return [None if np.isnan(place) or not known else known[int(place)] for place in places]
