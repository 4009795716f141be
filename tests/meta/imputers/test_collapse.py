"""Mode collapse is told where it is, and nowhere else: right fills of gaps that are not at random look odd, too."""

from dataclasses import dataclass

import numpy as np
import pytest

from meta.imputers.collapse import ALIKE, AWAY, LEAST, collapsed_columns
from meta.imputers.table import Layout

LAYOUT = Layout(("income", "kind"), (None, ("x", "y", "z")))


@dataclass(frozen=True)
class Fills:
    """Answers every gap with ``income``, or what the category says of it, and with these probabilities."""

    income: float | None = None
    kind: tuple[float, float, float] | None = None
    layout: Layout = LAYOUT

    def expected(self, values: np.ndarray) -> np.ndarray:
        coded = self.layout.one_hot(values)
        gaps, income = np.isnan(values[:, 0]), values[:, 1] if self.income is None else self.income
        coded[gaps, 0] = np.broadcast_to(income, gaps.shape)[gaps]
        gaps = np.isnan(values[:, 1])
        sure = np.eye(3)[np.nan_to_num(np.rint(values[:, 0]).clip(0, 2)).astype(int)]
        coded[gaps, 1:] = (sure if self.kind is None else np.broadcast_to(self.kind, sure.shape))[gaps]
        return coded


def rows_with_gaps(n_rows: int = 1000) -> np.ndarray:
    """Income is about the category's place; a third of either is missing, never both."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, n_rows, p=[0.6, 0.3, 0.1]).astype(float)
    values = np.stack([kind + 0.1 * rng.normal(size=n_rows), kind], axis=1)
    values[::3, 0], values[1::3, 1] = np.nan, np.nan
    return values


def test_fills_that_follow_the_row_are_no_collapse() -> None:
    assert collapsed_columns(Fills(), rows_with_gaps()) == {}


@pytest.mark.parametrize(
    ("fills", "told"),
    [
        (Fills(income=0.5), {"income": ALIKE}),  # the mean
        (Fills(income=2.0), {"income": AWAY}),
        (Fills(kind=(0.6, 0.3, 0.1)), {"kind": ALIKE}),  # the shares, whatever the row
        (Fills(kind=(0.0, 0.0, 1.0)), {"kind": AWAY}),
    ],
)
def test_fills_all_alike_and_fills_astray(fills: Fills, told: dict) -> None:
    assert collapsed_columns(fills, rows_with_gaps()) == told


def test_a_common_category_that_is_always_the_likeliest_is_no_collapse() -> None:
    """Its probability moves with the row, only the choice does not."""

    class Cautious(Fills):
        def expected(self, values: np.ndarray) -> np.ndarray:
            coded = super().expected(values)
            gaps = np.isnan(values[:, 1])
            coded[gaps, 1:] = 0.7 * np.array([1.0, 0.0, 0.0]) + 0.3 * coded[gaps, 1:]
            return coded

    values = rows_with_gaps()
    gaps = np.isnan(values[:, 1])
    assert (LAYOUT.decide(Cautious().expected(values))[gaps, 1] == 0.0).all()
    assert collapsed_columns(Cautious(), values) == {}


def test_high_incomes_missing_are_filled_far_from_known_ones_and_that_is_right() -> None:
    values = rows_with_gaps()
    kind = np.where(np.isnan(values[:, 1]), np.rint(values[:, 0]), values[:, 1])
    values[:, 0] = np.where(kind == 2.0, np.nan, kind + 0.1 * np.sin(np.arange(len(values))))
    values[:, 1] = kind
    filled = Fills().expected(values)[:, 0]
    gaps = np.isnan(values[:, 0])
    assert filled[gaps].mean() - filled[~gaps].mean() > 2.0 * filled[~gaps].std()
    assert collapsed_columns(Fills(), values) == {}


def test_few_gaps_and_constant_columns_are_not_judged() -> None:
    values = rows_with_gaps()
    few = np.where(np.cumsum(np.isnan(values[:, 0])) < LEAST, values[:, 0], 0.5)
    assert np.isnan(few).sum() == LEAST - 1
    assert collapsed_columns(Fills(income=2.0), np.stack([few, values[:, 1]], axis=1)) == {}
    constant = np.where(np.isnan(values[:, 0]), np.nan, 7.0)
    assert collapsed_columns(Fills(income=9.0), np.stack([constant, values[:, 1]], axis=1)) == {}
