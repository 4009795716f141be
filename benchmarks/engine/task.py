"""The one piece of work that every row of the table does: the meta-gradient of one meta-batch of second-order MAML.

Plain NumPy, so that it can be read in any environment, whichever library does the work there.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Weights = dict[str, Array]
"""``w0, b0, w1, b1, ...``; a matrix is (fan_in, fan_out)."""

N_TASKS = 32
N_SUPPORT = 20
N_QUERY = 50
SIZES = (40, 64, 64, 1)
INNER_STEPS = 5
INNER_LR = 0.1


@dataclass(frozen=True)
class Task:
    """Starting weights and the rows of one meta-batch.

    Shapes:  support_x (n_tasks, n_support, 40), support_y (n_tasks, n_support), and so for the query rows; y is 0 or 1.
    The loss is the mean binary cross-entropy of a task's rows on logits, averaged over tasks for the query rows.
    """

    theta: Weights
    support_x: Array
    support_y: Array
    query_x: Array
    query_y: Array

    @property
    def rows(self) -> tuple[Array, Array, Array, Array]:
        return self.support_x, self.support_y, self.query_x, self.query_y


def draw_task(dtype: str, seed: int = 0, n_tasks: int = N_TASKS) -> Task:
    """Draw theta and ``n_tasks`` logistic tasks that share a direction; the same numbers at either precision."""
    rng = np.random.default_rng(seed)
    theta: Weights = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(SIZES)):
        theta[f"w{layer}"] = rng.normal(size=(fan_in, fan_out)) * np.sqrt(2.0 / fan_in)
        theta[f"b{layer}"] = rng.normal(size=fan_out) * 0.1
    x = rng.normal(size=(n_tasks, N_SUPPORT + N_QUERY, SIZES[0]))
    slopes = rng.normal(size=SIZES[0]) + 0.5 * rng.normal(size=(n_tasks, SIZES[0]))
    logits = np.einsum("trf,tf->tr", x, slopes) / 4.0 - 1.0
    y = rng.random(logits.shape) < 1.0 / (1.0 + np.exp(-logits))
    whole = Task(theta, x[:, :N_SUPPORT], y[:, :N_SUPPORT], x[:, N_SUPPORT:], y[:, N_SUPPORT:])
    # rounded to float32 once, so that the float64 check differs in arithmetic alone
    return _cast(_cast(whole, "float32"), dtype)


def _cast(task: Task, dtype: str) -> Task:
    rows = {f.name: np.ascontiguousarray(getattr(task, f.name), dtype) for f in fields(Task) if f.name != "theta"}
    return Task({name: value.astype(dtype) for name, value in task.theta.items()}, **rows)
