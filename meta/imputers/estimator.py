"""Any imputer of this package as a scikit-learn transformer, for notebooks and pipelines."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from meta.errors import InvalidColumns
from meta.imputers import fit_imputer
from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]


class TableImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types
    """Fit on rows with gaps, then fill those rows or others; labels are taken and never looked at.

    imputer: ``conditional``, ``gain`` or ``mean``. Columns of a frame that are not numbers are categorical, with the
    categories seen in ``fit``; another one is treated as unknown. A frame's columns are found by name, in any order. An
    array has numeric columns alone, NaN is missing; what it may be else is checked as scikit-learn does.

    >>> x = np.array([[1.0, 2.0], [np.nan, 2.0], [3.0, np.nan]])
    >>> TableImputer("mean").fit_transform(x).tolist()
    [[1.0, 2.0], [2.0, 2.0], [3.0, 2.0]]
    """

    def __init__(self, imputer: str = "conditional", seed: int = 0) -> None:
        self.imputer = imputer
        self.seed = seed

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from rows (n_rows, n_columns).

        Raises:  InvalidColumns, InvalidRecipe, TrainingDiverged; ValueError: an array that scikit-learn refuses.
        """
        frame = self._frame(X, is_fit=True)
        self.layout_ = _layout(frame)
        self.fitted_ = fit_imputer(self.imputer, self.layout_, self._values(frame), self.seed)
        return self

    def transform(self, X: Any) -> Any:
        """Fill by the best guess; a frame for a frame, an array for an array."""
        return self._like(X, self.fitted_.fill(self._values(self._checked(X))))

    def sample(self, X: Any, n_draws: int, seed: int | None = None) -> list[Any]:
        """Complete the rows ``n_draws`` times by chance, for multiple imputation; the same seed gives the same."""
        values = self._values(self._checked(X))
        rng = np.random.default_rng(self.seed if seed is None else seed)
        drawn = self.fitted_.draw(values, rng.random((n_draws, *values.shape)))
        return [self._like(X, rows) for rows in drawn]

    def _frame(self, X: Any, is_fit: bool) -> pandas.DataFrame:
        """Rows by column names; in ``fit`` also what scikit-learn asks every estimator to remember of its columns."""
        if isinstance(X, pandas.DataFrame):
            frame = X.rename(columns=str)
            if is_fit:
                if frame.empty:
                    raise InvalidColumns(f"an imputer needs rows and columns, got a frame of shape {X.shape}")
                self.n_features_in_ = frame.shape[1]
                self.feature_names_in_ = np.array(list(frame), dtype=object)
            return frame
        # an array has no names to remember: validate_data forgets those of an earlier fit
        array = validate_data(self, X, reset=is_fit, dtype=np.float64, ensure_all_finite="allow-nan")
        return pandas.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])

    def _checked(self, X: Any) -> pandas.DataFrame:
        check_is_fitted(self)
        frame = self._frame(X, is_fit=False)
        absent = [name for name in self.layout_.names if name not in frame]
        if absent:
            raise InvalidColumns(f"columns {absent} were there in fit and are absent")
        return frame

    def _values(self, frame: pandas.DataFrame) -> FloatArray:
        pairs = zip(self.layout_.names, self.layout_.categories, strict=True)
        values = self.layout_.values({name: _plain(frame[name], known is None) for name, known in pairs})
        infinite = [self.layout_.names[i] for i in np.flatnonzero(np.isinf(values).any(axis=0))]
        if infinite:
            raise InvalidColumns(f"columns {infinite} hold infinite numbers")
        return values

    def _like(self, X: Any, values: FloatArray) -> Any:
        if not isinstance(X, pandas.DataFrame):
            return values
        filled, given = self.layout_.columns(values), X.rename(columns=str)
        missing = given[list(self.layout_.names)].isna()
        columns = {
            name: np.where(missing[name], np.asarray(filled[name], dtype=given[name].to_numpy().dtype), given[name])
            for name in self.layout_.names
        }
        return pandas.DataFrame(columns, index=X.index)


def _layout(frame: pandas.DataFrame) -> Layout:
    known = [
        None if pandas.api.types.is_numeric_dtype(frame[name]) else tuple(sorted(set(map(str, frame[name].dropna()))))
        for name in frame
    ]
    return Layout(tuple(map(str, frame)), tuple(known))


def _plain(column: pandas.Series, is_numeric: bool) -> Sequence[Any]:
    if is_numeric:
        floats: Sequence[Any] = column.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[assignment]
        return floats
    return [None if pandas.isna(value) else str(value) for value in column]
