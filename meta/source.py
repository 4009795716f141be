"""Source rows of mature markets as arrays, and their markets dealt into folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from meta.columns import ColumnProfiles, fit_profiles
from meta.episodes import Market
from meta.errors import InvalidEpisode
from meta.features import Encoder, fit_encoder
from meta.imputers import FittedImputer, Layout, fit_imputer
from meta.reading import Reading, layout_of
from meta.types import Column

HIDDEN_SHARE = 0.01
MIN_MARKET_ROWS = 40  # a support of 20 and some rows to judge it by


@dataclass(frozen=True)
class SourceTable:
    """Encoded source rows of all markets.

    Shapes:  x (n_rows, n_features) float32; y (n_rows,) 0/1; market (n_rows,) names; row_id (n_rows,).
    """

    encoder: Encoder
    x: NDArray[np.float32]
    y: NDArray[np.float64]
    market: NDArray[np.str_]
    row_id: NDArray[np.int64]
    profiles: ColumnProfiles
    imputer: FittedImputer | None = None

    @classmethod
    def from_frame(
        cls, columns: Sequence[Column], source: pandas.DataFrame, imputer: str | None = None, seed: int = 0
    ) -> "SourceTable":
        """Fit encoder and profiles and encode ``source``: columns row_id, market, defaulted and one per feature.

        imputer: one of ``meta.imputers.FITS``, fitted on these rows without their labels; seeded.
        Raises:  InvalidEpisode: the rows cannot teach (one class only, or too few markets); InvalidColumns,
                 InvalidRecipe, TrainingDiverged: the imputer cannot be had of them.
        """
        y = source["defaulted"].to_numpy(dtype=np.float64)
        if len(np.unique(y)) < 2:
            raise InvalidEpisode("source rows must hold both defaulters and goods")
        encoder = fit_encoder(columns, source)
        given = {c.name: column_values(c, source[c.name]) for c in columns}
        market, row_id = source["market"].to_numpy(dtype=str), source["row_id"].to_numpy(dtype=np.int64)
        profiles = fit_profiles(encoder, source, seed=0)
        if imputer is None:
            return cls(encoder, encoder.encode(given), y, market, row_id, profiles)
        layout = layout_of(encoder)
        fitted = fit_imputer(imputer, layout, layout.values(given), seed)
        rng = np.random.default_rng(seed)
        x = Reading(encoder, fitted).encode(_hide_some(layout, given, rng))
        return cls(encoder, x, y, market, row_id, profiles, fitted)

    def rows_of(self, names: Sequence[str]) -> NDArray[np.bool_]:
        return np.isin(self.market, list(names))

    def markets(self, names: Sequence[str], logits: NDArray[np.float64]) -> list[Market]:
        """Cut the table into markets; ``logits`` (n_rows,) are theta's at rest."""
        return [
            Market(name, self.x[rows], self.y[rows], logits[rows]) for name in names for rows in [self.market == name]
        ]


def _hide_some(
    layout: Layout, columns: Mapping[str, Sequence[Any]], rng: np.random.Generator
) -> dict[str, Sequence[Any]]:
    """Take away HIDDEN_SHARE of the values of columns that hardly ever have gaps, so that fills of them are met."""
    rare = layout.missing(columns).mean(axis=0) < HIDDEN_SHARE
    found = dict(columns)
    for name in np.array(layout.names)[rare].tolist():
        hidden = rng.random(len(columns[name])) < HIDDEN_SHARE
        found[name] = [None if gone else value for value, gone in zip(columns[name], hidden, strict=True)]
    return found


def column_values(column: Column, values: pandas.Series) -> Sequence[Any]:
    """One frame column as the encoder wants it: floats with NaN, or strings with None."""
    if column.kind == "numeric":
        floats: NDArray[np.float64] = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return floats  # type: ignore[return-value]  # an array is a sequence in all but name
    return [None if pandas.isna(v) else str(v) for v in values]


def assign_folds(table: SourceTable, n_folds: int, seed: int) -> list[list[str]]:
    """Deal markets of at least 40 rows into folds of as many markets and about as many rows, seeded.

    Raises:  InvalidEpisode: fewer than two markets a fold.
    """
    names, counts = np.unique(table.market, return_counts=True)
    by_size = [str(names[i]) for i in np.argsort(-counts, kind="stable") if counts[i] >= MIN_MARKET_ROWS]
    if len(by_size) < 2 * n_folds:
        raise InvalidEpisode(
            f"meta-training needs at least {2 * n_folds} source markets of {MIN_MARKET_ROWS} rows, found {len(by_size)}"
        )
    rng = np.random.default_rng(seed)
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    for start in range(0, len(by_size), n_folds):  # the next largest, one to each fold
        for place, name in zip(rng.permutation(n_folds), by_size[start : start + n_folds], strict=False):
            folds[place].append(name)
    return folds
