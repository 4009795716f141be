"""From an account's columns to the numbers that networks see, gaps filled first where theta carries an imputer.

A filled value stands beside the flag that says it was missing: the network knows what is a guess. An unseen category
was given and is left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta.features import Encoder
from meta.imputers import FittedImputer, Layout

FloatArray = NDArray[np.float64]
Columns = Mapping[str, Sequence[Any]]
N_DRAWS = 20


@dataclass(frozen=True)
class Accounts:
    """Encoded accounts, and what else those with gaps may be.

    Shapes:  x (n_rows, n_features), gaps filled by what is expected; gapped (n_gapped,): places of the rows with gaps;
             whole (n_gapped, N_DRAWS, n_features): draws of these rows, all equally likely, as if they had been given:
             without the flags that values were missing.
    """

    x: NDArray[np.float32]
    gapped: NDArray[np.int64]
    whole: NDArray[np.float32]


@dataclass(frozen=True)
class Reading:
    """An encoder and, where theta carries one, an imputer."""

    encoder: Encoder
    imputer: FittedImputer | None = None

    def encode(self, columns: Columns) -> NDArray[np.float32]:
        """Encode columns to (n_rows, n_features), gaps filled by what is expected. Raises InvalidColumns.

        A mean stands for a number, and for a category each category's probability. Networks learn from rows filled so:
        effects of a column are then the same for fills as for values, where draws, which know nothing of the outcome,
        would have them learned too small.
        Source:  regression calibration, Carroll, Ruppert, Stefanski & Crainiceanu 2006, chapter 4.
        """
        if self.imputer is None:
            return self.encoder.encode(columns)
        values, missing = self.layout.values(columns), self.layout.missing(columns)
        expected = self.imputer.expected(values)
        encoded = self._encode_filled(columns, self.layout.decide(expected), missing)
        starts = np.cumsum([0, *self.layout.widths])
        for i in np.flatnonzero(missing.any(axis=0)).tolist():
            gaps, n_categories = missing[:, i], self.layout.n_categories[i]
            if n_categories:
                slots = np.flatnonzero(self.encoder.column_of_slot == i)[:n_categories]
                encoded[np.ix_(gaps, slots)] = expected[gaps, starts[i] : starts[i + 1]]
            encoded[gaps, self.encoder.missing_slots[i]] = 1.0
        return encoded

    def encode_altered(self, columns: Columns, name: str, values: Sequence[float]) -> NDArray[np.float32]:
        """Encode columns, one of them then set to ``values`` (n_rows,); NaN leaves a row as it is.

        Gaps of other columns stay filled as the columns that were given suggest.
        """
        encoded, altered = self.encode(columns), self.encoder.encode({**columns, name: values})
        slots = self.encoder.column_of_slot == self.encoder.column_names.index(name)
        given = ~np.isnan(np.asarray(values, dtype=np.float64))
        return np.where(given[:, None] & slots, altered, encoded)

    def read(self, columns: Columns) -> Accounts:
        """Encode columns, and draws of what is missing; each row the same alone and in any batch."""
        x, n_features = self.encode(columns), self.encoder.n_features
        gapped = np.flatnonzero(self.filled(columns).any(axis=1))
        whole = np.empty((len(gapped), N_DRAWS, n_features), np.float32)
        if self.imputer is not None and len(gapped):
            rows = _rows(columns, gapped)
            missing = self.layout.missing(rows)
            for i, filled in enumerate(self.imputer.draw(self.layout.values(rows), self._luck)):
                whole[:, i] = self._encode_filled(rows, filled, missing)
        return Accounts(x, gapped, whole)

    def filled(self, columns: Columns) -> NDArray[np.bool_]:
        """What would be filled, (n_rows, n_columns); nothing without an imputer."""
        if self.imputer is not None:
            return self.layout.missing(columns)
        n_rows = len(columns[self.layout.names[0]])
        return np.zeros((n_rows, len(self.layout.names)), dtype=bool)

    def n_filled(self, columns: Columns) -> dict[str, int]:
        """In how many rows each column would be filled; columns without any are left out."""
        counts = self.filled(columns).sum(axis=0).tolist()
        return {name: n for name, n in zip(self.layout.names, counts, strict=True) if n}

    @cached_property
    def layout(self) -> Layout:
        return layout_of(self.encoder)

    @cached_property
    def _luck(self) -> FloatArray:
        """The luck of every scored row, (N_DRAWS, 1, n_columns): in each column one draw from each twentieth."""
        n_columns = len(self.layout.names)
        rng = np.random.default_rng(n_columns)
        places = np.stack([rng.permutation(N_DRAWS) for _ in range(n_columns)], axis=1)
        return ((places + 0.5) / N_DRAWS)[:, None, :]

    def _encode_filled(self, columns: Columns, filled: FloatArray, missing: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Encode columns with ``filled`` (n_rows, n_columns) where they are missing, as if it had been given."""
        replaced = dict(columns)
        guesses = self.layout.columns(filled)
        for i in np.flatnonzero(missing.any(axis=0)).tolist():
            name = self.layout.names[i]
            given, guessed = columns[name], guesses[name]
            replaced[name] = [guessed[r] if gap else given[r] for r, gap in enumerate(missing[:, i])]
        return self.encoder.encode(replaced)


def layout_of(encoder: Encoder) -> Layout:
    """The columns of an encoder as an imputer wants them: numeric ones first, categories as the encoder knows them."""
    n_numeric = len(encoder.center)
    return Layout(tuple(encoder.column_names), (*[None] * n_numeric, *encoder.categories))


def _rows(columns: Columns, rows: NDArray[np.int64]) -> dict[str, Sequence[Any]]:
    return {name: [values[row] for row in rows] for name, values in columns.items()}
