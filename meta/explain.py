"""Why an account scores as it does: its logit of default, taken apart into one contribution a column.

Contributions are Shapley values against a reference account (every column at its median or commonest value): the mean,
over orders in which columns are switched from the reference's value to the account's, of what each switch changes.
Each order's changes add up to the account's logit minus the reference's, and so do the contributions, exactly.

Source: Strumbelj & Kononenko 2014, doi:10.1007/s10115-013-0679-x (sampled orders), with each order's reverse as in
Mitchell et al. 2022, arXiv:2104.12199. The orders are fixed by the number of columns, so that asking twice gives the
same answer. Deviations: none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Logits = Callable[[NDArray[np.float32]], FloatArray]
N_ORDERS = 12  # each with its reverse
N_SWITCHES = 300  # of wide schemas fewer orders are looked at: about so many switches, and twice as many back


@dataclass(frozen=True)
class Breakdown:
    """One account: base (the reference's logit), contributions (n_columns,), and what each column's reference is worth.

    relief (n_columns,): by how much the logit falls when that column alone is set to its reference.
    """

    base: float
    contributions: FloatArray
    relief: FloatArray

    def leading(self, order: Sequence[int], at_most: int = 4) -> list[int]:
        """Columns that make the account riskier than the reference, the largest contribution first; ties by ``order``.

        A column whose own replacement would not lower the PD is no reason, whatever it does in company.
        """
        risky = [j for j in order if self.contributions[j] > 0 and self.relief[j] > 0]
        return sorted(risky, key=lambda j: -self.contributions[j])[:at_most]


def explain(
    logits: Logits, x: NDArray[np.float32], reference: NDArray[np.float32], column_of_slot: NDArray[np.int64]
) -> list[Breakdown]:
    """Take the logits of encoded rows x (n_rows, n_features) apart; reference (n_features,) is encoded too."""
    n_columns = int(column_of_slot.max()) + 1
    orders = _orders(n_columns)
    base = float(logits(reference[None, :])[0])
    return [_explain_row(logits, row, reference, column_of_slot, orders, base) for row in x]


def _orders(n_columns: int) -> NDArray[np.int64]:
    """Columns in the order in which they are switched, an order a row, each with its reverse: (n_orders, n_columns)."""
    rng = np.random.default_rng(n_columns)
    n_drawn = int(np.clip(N_SWITCHES // n_columns, 2, N_ORDERS))
    drawn = np.stack([rng.permutation(n_columns) for _ in range(n_drawn)])
    return np.concatenate([drawn, drawn[:, ::-1]])


def _explain_row(
    logits: Logits,
    row: NDArray[np.float32],
    reference: NDArray[np.float32],
    column_of_slot: NDArray[np.int64],
    orders: NDArray[np.int64],
    base: float,
) -> Breakdown:
    n_columns = orders.shape[1]
    # switched[o, step, column]: is this column the account's own after so many steps of this order?
    switched = np.arange(n_columns + 1)[None, :, None] > np.argsort(orders, axis=1)[:, None, :]
    alone = ~np.eye(n_columns, dtype=bool)
    states = np.concatenate([switched.reshape(-1, n_columns), alone])
    found, place = np.unique(states, axis=0, return_inverse=True)
    values = logits(np.where(found[:, column_of_slot], row, reference))[place.reshape(-1)]
    paths = values[: switched.shape[0] * (n_columns + 1)].reshape(len(orders), n_columns + 1)
    changes = np.diff(paths, axis=1)
    contributions = np.empty_like(changes)
    np.put_along_axis(contributions, orders, changes, axis=1)
    whole = float(paths[0, -1])
    return Breakdown(base, contributions.mean(axis=0), whole - values[-n_columns:])
