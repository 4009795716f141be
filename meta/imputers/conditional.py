"""The imputer for practice: it knows every column's distribution given whatever else is known.

It reads the known values and the pattern of what is missing. One network, narrow and fast, answers the mean of each
numeric column, which is the best single guess; another, wider, a choice among bins for each column, from which values
are drawn: one missing column after the other, each given what was known and what has been drawn before, so that the
draws of a row belong together.

Source: masked prediction in any order, Uria, Murray & Larochelle 2014, arXiv:1310.1757, and for mixed tables
        Nazabal et al. 2020, arXiv:1807.03653 (heads by type); reading by bins, Gorishniy et al. 2022,
        arXiv:2203.05556. Deviations: means beside the bins; a linear part; drawn in the order of the columns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from meta.imputers.coding import Coding
from meta.imputers.fixed_point import INPUT_BOUND, rounded
from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]
ROWS_AT_ONCE = 1024  # fits the processor's cache; results do not depend on it
WEIGHTS = ("w0", "b0", "w1", "b1", "bins_w", "bins_b", "mean_w", "mean_b", "skip")
OF_MEANS = {"mean_w0": "w0", "mean_b0": "b0", "mean_w1": "w1", "mean_b1": "b1"}  # and what they are where stored before


@dataclass(frozen=True)
class FittedConditional:
    """Both networks as they serve, in NumPy, with exact sums (``meta.imputers.fixed_point``).

    Shapes:  w0 (code, width), w1 (width, width), bins_w (n_columns, width, most bins): the choices; mean_w0 (code,
             narrow), mean_w1 (narrow, narrow), mean_w (narrow, n_columns), skip (code, n_columns): means of numeric
             columns in standard deviations; every weight on ``weight_grid``.
    """

    name: ClassVar[str] = "conditional"
    coding: Coding
    weights: Mapping[str, NDArray[np.float32]]
    report: Mapping[str, str] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        return self.coding.layout

    @cached_property
    def _wide(self) -> dict[str, FloatArray]:
        """The weights as products take them."""
        return {name: value.astype(np.float64) for name, value in self.weights.items()}

    def fill(self, values: FloatArray) -> FloatArray:
        filled = values.copy()
        is_numeric = self.layout.is_numeric
        for rows in _pieces(len(values)):
            piece = filled[rows]
            code, missing = self.coding.read(piece), np.isnan(piece)
            np.copyto(piece, self._means(code), where=missing & is_numeric)
            for i, gaps, shares in self._choices(code, missing):
                piece[gaps, i] = shares.argmax(axis=1)
        return filled

    def expected(self, values: FloatArray) -> FloatArray:
        coded = self.layout.one_hot(values)
        starts = np.cumsum([0, *self.layout.widths])
        for rows in _pieces(len(values)):
            piece = coded[rows]
            code, missing = self.coding.read(values[rows]), np.isnan(values[rows])
            means = self._means(code)
            for i in np.flatnonzero(self.layout.is_numeric).tolist():
                piece[missing[:, i], starts[i]] = means[missing[:, i], i]
            for i, gaps, shares in self._choices(code, missing):
                piece[gaps, starts[i] : starts[i + 1]] = shares
        return coded

    def _choices(
        self, code: FloatArray, missing: NDArray[np.bool_]
    ) -> Iterator[tuple[int, NDArray[np.int64], FloatArray]]:
        """Each categorical column with its gaps' rows and their probabilities (n_gaps, n_categories)."""
        columns = np.flatnonzero(missing.any(axis=0) & ~self.layout.is_numeric).tolist()
        rows = np.flatnonzero(missing[:, columns].any(axis=1))
        hidden = self._deeper(code[rows] @ self._wide["w0"])
        for i in columns:
            gaps = missing[rows, i]
            yield i, rows[gaps], _softmax(self._logits(hidden[gaps], i))

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        drawn = np.repeat(values[None], len(uniforms), axis=0)
        luck = np.broadcast_to(uniforms, drawn.shape)
        for rows in _pieces(len(values), max(1, ROWS_AT_ONCE // len(uniforms))):
            piece = drawn[:, rows].reshape(-1, values.shape[1])
            self._draw_rows(piece, luck[:, rows].reshape(piece.shape))
            drawn[:, rows] = piece.reshape(drawn[:, rows].shape)
        return drawn

    def _draw_rows(self, rows: FloatArray, luck: FloatArray) -> None:
        """Complete rows (n, n_columns) in place, a column at a time.

        The first layer's sums are kept and added to: being exact, they are what they would be if summed anew.
        """
        w = self._wide
        missing = np.isnan(rows)
        sums = self.coding.read(rows) @ w["w0"]
        for i in np.flatnonzero(missing.any(axis=0)).tolist():
            gaps = np.flatnonzero(missing[:, i])
            probabilities = _softmax(self._logits(self._deeper(sums[gaps]), i))
            rows[gaps, i] = self.coding.pick(probabilities, luck[gaps, i], i)
            code = self.coding.read_column(rows[gaps, i], i)
            sums[gaps] += code @ w["w0"][self.coding.starts[i] : self.coding.starts[i + 1]]

    def _deeper(self, sums: FloatArray, network: str = "") -> FloatArray:
        """Both hidden layers, of the first one's ``sums`` (n_rows, width), which are overwritten."""
        w = self._wide
        first = _activated(sums, w[f"{network}b0"])
        return _activated(first @ w[f"{network}w1"], w[f"{network}b1"])

    def _means(self, code: FloatArray) -> FloatArray:
        """Means of numeric columns in their own unit, within what was seen: (n_rows, n_columns)."""
        w, coding = self._wide, self.coding
        hidden = self._deeper(code @ w["mean_w0"], "mean_")
        standard = hidden @ w["mean_w"] + code @ w["skip"] + w["mean_b"]
        return np.clip(coding.center + coding.scale * standard, coding.low, coding.high)

    def _logits(self, hidden: FloatArray, column: int) -> FloatArray:
        n_bins, w = self.coding.n_bins[column], self._wide
        found: FloatArray = hidden @ w["bins_w"][column, :, :n_bins] + w["bins_b"][column, :n_bins]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        coding = {f"coding.{name}": value for name, value in self.coding.arrays().items()}
        return coding | dict(self.weights)

    def settings(self) -> dict[str, Any]:
        return {"report": dict(self.report)}

    @classmethod
    def restore(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        coding = {n.removeprefix("coding."): v for n, v in arrays.items() if n.startswith("coding.")}
        weights = {name: arrays[name] for name in WEIGHTS}
        weights |= {name: arrays.get(name, arrays[shared]) for name, shared in OF_MEANS.items()}
        return cls(Coding.restore(layout, coding), weights, settings["report"])


def _activated(sums: FloatArray, bias: FloatArray) -> FloatArray:
    """Add the bias and cut off below 0, in place, on the grid of exact sums."""
    sums += bias
    return rounded(np.clip(sums, 0.0, INPUT_BOUND, out=sums))


def _softmax(logits: FloatArray) -> FloatArray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = exp / exp.sum(axis=1, keepdims=True)
    return shares


def _pieces(n_rows: int, rows_at_once: int = ROWS_AT_ONCE) -> list[slice]:
    return [slice(start, start + rows_at_once) for start in range(0, n_rows, rows_at_once)]
