"""Pooled training: source rows of all markets at once. Episodes then start from a theta that already ranks well."""

from dataclasses import dataclass

import torch
from torch import Tensor

from meta.learners.protocol import OuterGradient, meta_gradient
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.types import Params

ABSENT_SHARE = 0.03


@dataclass(frozen=True)
class AbsenceTeacher:
    """Shows the network states that the source rows hardly ever show: a value missing, a category unseen.

    A state without rows would keep its random weights and speak nonsense when a new market first uses it. Hiding
    some values at random teaches it what such a row is worth: about the average of its kind.

    Shapes:  column_of_slot (n_features,); rare_slots (n_rare,): absence slots to be taught.
    """

    column_of_slot: Tensor
    rare_slots: Tensor

    @classmethod
    def from_rows(cls, x: Tensor, column_of_slot: Tensor, absence_slots: Tensor) -> "AbsenceTeacher":
        """Pick the absence states that fewer than one source row in 200 is in."""
        shares = x[:, absence_slots].mean(0)
        return cls(column_of_slot, absence_slots[shares < 0.005])

    def hide(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Put ABSENT_SHARE of each taught column's values (n_rows, n_features) into an absence state."""
        if len(self.rare_slots) == 0:
            return x
        hidden = (torch.rand(len(x), len(self.rare_slots), generator=generator) < ABSENT_SHARE).to(x)
        owners = self.column_of_slot[self.rare_slots]
        by_column = torch.zeros(len(x), int(self.column_of_slot.max()) + 1)
        by_column.index_add_(1, owners, hidden)
        first = (by_column[:, owners] <= 1.0).to(x) * hidden  # two states of one column at once: leave the row alone
        covered = torch.zeros(len(x), by_column.shape[1]).index_add_(1, owners, first)
        shown = x * (1.0 - covered[:, self.column_of_slot])
        return shown.index_add_(1, self.rare_slots, first)


@dataclass(frozen=True)
class PooledRows:
    """Minibatches of source rows, seeded by (seed, step).

    Shapes:  x (n_rows, n_features) encoded; y (n_rows,), 1.0 = default.
    """

    x: Tensor
    y: Tensor
    network: Ensemble
    teacher: AbsenceTeacher
    batch_size: int
    dropout: float
    seed: int
    device: torch.device

    def gradient_at(self, theta: Params, step: int) -> OuterGradient:
        """Give the gradient of the log loss on minibatch ``step``."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        rows = self._rows_of(step)
        x = self.teacher.hide(self.x[rows], generator).to(self.device)
        y = self.y[rows].to(self.device)
        noise = torch.Generator(self.device).manual_seed(generator.initial_seed() + 1)

        def loss(weights: Params) -> Tensor:
            return binary_cross_entropy(self.network.forward(weights, x, self.dropout, noise), y, torch.ones_like(y))

        return meta_gradient(loss, theta)

    def _rows_of(self, step: int) -> Tensor:
        """Walk through seeded permutations, one an epoch, without replacement."""
        per_epoch = max(len(self.x) // self.batch_size, 1)
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(self.seed * 7919 + epoch))
        return order[place * self.batch_size : (place + 1) * self.batch_size]


@torch.no_grad()
def predict_logits(network: Ensemble, params: Params, x: Tensor, rows_at_once: int = 4096) -> Tensor:
    """Predict a pooled table's logits (n_rows,) in pieces, to bound memory."""
    pieces = [network.readout(network.forward(params, piece)) for piece in torch.split(x, rows_at_once)]
    return torch.cat(pieces) if pieces else x.new_zeros(0)
