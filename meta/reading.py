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

    Shapes:  x (n_rows, n_features), gaps filled by the best guess; gapped (n_gapped,): places of the rows with gaps;
             drawn (n_gapped, N_DRAWS, n_features): draws of the same rows, all equally likely; whole, of the same
             shape: the draws as if they had been given, without the flags that they were missing.
    """

    x: NDArray[np.float32]
    gapped: NDArray[np.int64]
    drawn: NDArray[np.float32]
    whole: NDArray[np.float32]

    def variants(self) -> list[NDArray[np.float32]]:
        """By row, what it may be: (1, n_features) or (N_DRAWS, n_features)."""
        found = [row[None] for row in self.x]
        for place, row in enumerate(self.gapped):
            found[row] = self.drawn[place]
        return found


@dataclass(frozen=True)
class Reading:
    """An encoder and, where theta carries one, an imputer."""

    encoder: Encoder
    imputer: FittedImputer | None = None

    def encode(self, columns: Columns) -> NDArray[np.float32]:
        """Encode columns to (n_rows, n_features), gaps filled by the best guess. Raises InvalidColumns."""
        if self.imputer is None:
            return self.encoder.encode(columns)
        values, missing = self._look(columns)
        return self._encode_filled(columns, self.imputer.fill(values), missing)

    def read(self, columns: Columns) -> Accounts:
        """Encode columns with draws of what is missing; each row the same alone and in any batch."""
        n_features = self.encoder.n_features
        if self.imputer is None:
            x = self.encoder.encode(columns)
            none = np.empty((0, N_DRAWS, n_features), np.float32)
            return Accounts(x, np.empty(0, np.int64), none, none)
        values, missing = self._look(columns)
        gapped = np.flatnonzero(missing.any(axis=1))
        x = self._encode_filled(columns, self.imputer.fill(values), missing)
        drawn = np.empty((len(gapped), N_DRAWS, n_features), np.float32)
        if len(gapped):
            rows = _rows(columns, gapped)
            for i, filled in enumerate(self.imputer.draw(values[gapped], self._luck)):
                drawn[:, i] = self._encode_filled(rows, filled, missing[gapped])
        whole = drawn.copy()
        whole[:, :, self._flags_of_filled] = 0.0
        return Accounts(x, gapped, drawn, whole)

    def filled(self, columns: Columns) -> NDArray[np.bool_]:
        """What would be filled, (n_rows, n_columns); nothing without an imputer."""
        missing = self.layout.missing(columns)
        return missing if self.imputer is not None else np.zeros_like(missing)

    def n_filled(self, columns: Columns) -> dict[str, int]:
        """In how many rows each column would be filled; columns without any are left out."""
        counts = self.filled(columns).sum(axis=0).tolist()
        return {name: n for name, n in zip(self.layout.names, counts, strict=True) if n}

    def encode_drawn(self, columns: Columns, rng: np.random.Generator) -> NDArray[np.float32]:
        """Encode columns with one draw a row: what a network learns from, since it is to score draws."""
        if self.imputer is None:
            return self.encoder.encode(columns)
        values, missing = self._look(columns)
        filled = self.imputer.draw(values, rng.random((1, *values.shape)))[0]
        return self._encode_filled(columns, filled, missing)

    @cached_property
    def layout(self) -> Layout:
        return layout_of(self.encoder)

    @cached_property
    def _flags_of_filled(self) -> NDArray[np.int64]:
        """Flags of the columns that can be filled; a category of which none is known cannot."""
        able = [known is None or len(known) > 0 for known in self.layout.categories]
        flags: NDArray[np.int64] = self.encoder.missing_slots[np.array(able, dtype=bool)]
        return flags

    @cached_property
    def _luck(self) -> FloatArray:
        """The luck of every scored row, (N_DRAWS, 1, n_columns): in each column one draw from each twentieth."""
        n_columns = len(self.layout.names)
        rng = np.random.default_rng(n_columns)
        places = np.stack([rng.permutation(N_DRAWS) for _ in range(n_columns)], axis=1)
        return ((places + 0.5) / N_DRAWS)[:, None, :]

    def _look(self, columns: Columns) -> tuple[FloatArray, NDArray[np.bool_]]:
        return self.layout.values(columns), self.layout.missing(columns)

    def _encode_filled(self, columns: Columns, filled: FloatArray, missing: NDArray[np.bool_]) -> NDArray[np.float32]:
        replaced = dict(columns)
        guesses = self.layout.columns(filled)
        touched = np.flatnonzero(missing.any(axis=0))
        for i in touched:
            name = self.layout.names[i]
            given, guessed = columns[name], guesses[name]
            replaced[name] = [guessed[r] if gap else given[r] for r, gap in enumerate(missing[:, i])]
        encoded = self.encoder.encode(replaced)
        encoded[:, self.encoder.missing_slots[touched]] = missing[:, touched]
        return encoded


def layout_of(encoder: Encoder) -> Layout:
    """The columns of an encoder as an imputer wants them: numeric ones first, categories as the encoder knows them."""
    n_numeric = len(encoder.center)
    return Layout(tuple(encoder.column_names), (*[None] * n_numeric, *encoder.categories))


def _rows(columns: Columns, rows: NDArray[np.int64]) -> dict[str, Sequence[Any]]:
    return {name: [values[row] for row in rows] for name, values in columns.items()}
