"""The imputer for practice: one network that knows every column's distribution given whatever else is known.

It reads the known values and the pattern of what is missing, and answers for each column a mean, which is the best
single guess, and a choice among bins, from which values are drawn: one missing column after the other, each given what
was known and what has been drawn before, so that the draws of a row belong together.

Source: masked prediction in any order, Uria, Murray & Larochelle 2014, arXiv:1310.1757, and for mixed tables
        Nazabal et al. 2020, arXiv:1807.03653 (heads by type); reading by bins, Gorishniy et al. 2022,
        arXiv:2203.05556. Deviations: a mean head beside the bins; a linear part; drawn in the order of the columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from meta.imputers.coding import Coding
from meta.imputers.fixed_point import input_grid
from meta.imputers.table import Layout

FloatArray = NDArray[np.float64]
ROWS_AT_ONCE = 1024  # fits the processor's cache; results do not depend on it
WEIGHTS = ("w0", "b0", "w1", "b1", "mean_w", "mean_b", "skip", "bins_w", "bins_b")


@dataclass(frozen=True)
class FittedConditional:
    """The network as it serves, in NumPy, with exact sums (``meta.imputers.fixed_point``).

    Shapes:  w0 (code, width), w1 (width, width); mean_w (width, n_columns), skip (code, n_columns): means of numeric
             columns in standard deviations; bins_w (n_columns, width, most bins); every weight on ``weight_grid``.
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
            code = self.coding.read(piece)
            hidden = self._deeper(code @ self._wide["w0"])
            missing = np.isnan(piece)
            np.copyto(piece, self._means(hidden, code), where=missing & is_numeric)
            for i in np.flatnonzero(missing.any(axis=0) & ~is_numeric).tolist():
                gaps = missing[:, i]
                piece[gaps, i] = self._logits(hidden[gaps], i).argmax(axis=1)
        return filled

    def expected(self, values: FloatArray) -> FloatArray:
        coded = self.layout.one_hot(values)
        starts = np.cumsum([0, *self.layout.widths])
        for rows in _pieces(len(values)):
            code = self.coding.read(values[rows])
            hidden = self._deeper(code @ self._wide["w0"])
            means, piece = self._means(hidden, code), coded[rows]
            for i, n_categories in enumerate(self.layout.n_categories):
                gaps = np.isnan(values[rows, i])
                answer = _softmax(self._logits(hidden[gaps], i)) if n_categories else means[gaps, i : i + 1]
                piece[gaps, starts[i] : starts[i + 1]] = answer
        return coded

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

    def _deeper(self, sums: FloatArray) -> FloatArray:
        """Both hidden layers, of the first one's ``sums`` (n_rows, width), which are overwritten."""
        first = _activated(sums, self._wide["b0"])
        return _activated(first @ self._wide["w1"], self._wide["b1"])

    def _means(self, hidden: FloatArray, code: FloatArray) -> FloatArray:
        """Means of numeric columns in their own unit, within what was seen: (n_rows, n_columns)."""
        w, coding = self._wide, self.coding
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
        return cls(Coding.restore(layout, coding), weights, settings["report"])


def _activated(sums: FloatArray, bias: FloatArray) -> FloatArray:
    """Add the bias and cut off below 0, in place, on the grid of exact sums."""
    sums += bias
    np.maximum(sums, 0.0, out=sums)
    return input_grid(sums)


def _softmax(logits: FloatArray) -> FloatArray:
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: FloatArray = exp / exp.sum(axis=1, keepdims=True)
    return shares


def _pieces(n_rows: int, rows_at_once: int = ROWS_AT_ONCE) -> list[slice]:
    return [slice(start, start + rows_at_once) for start in range(0, n_rows, rows_at_once)]
