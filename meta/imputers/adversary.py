"""A discriminator beside the conditional imputer: GAIN's game, played for draws instead of for guesses.

It is shown a row completed by one draw and a hint of which entries are real, and says of each entry whether it is. The
imputer is rewarded where a drawn entry passes for real. A draw is made differentiable by the Gumbel-softmax trick.

Source: Yoon, Jordon & van der Schaar 2018, arXiv:1806.02920 (game and hint); Jang, Gu & Poole 2017, arXiv:1611.01144.
        Deviations from GAIN: draws of bins for the generator's outputs; losses from logits, which cannot overflow.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from meta.imputers.coding import N_KNOTS, Coding

WIDTH = 128
TEMPERATURE = 0.7
HINT_RATE = 0.9


class Adversary:
    """Discriminator and its optimiser; ``loss`` also takes one step of it."""

    def __init__(self, coding: Coding, weight: float, seed: int) -> None:
        self.weight = weight
        self.generator = torch.Generator().manual_seed(seed + 1)
        n_columns = len(coding.n_bins)
        middles = (coding.knots[:, :, N_KNOTS // 2] - coding.center[:, None]) / coding.scale[:, None]
        self.middles = torch.from_numpy(middles).float()
        self.is_category = torch.from_numpy(~coding.layout.is_numeric)
        self.most = coding.most_bins
        n_inputs = n_columns + int(self.is_category.sum()) * self.most + n_columns
        shapes = [(n_inputs, WIDTH), (WIDTH, WIDTH), (WIDTH, n_columns)]
        self.weights = [
            (torch.randn(*shape, generator=self.generator) * float(np.sqrt(2.0 / shape[0]))).requires_grad_()
            for shape in shapes
        ]
        self.biases = [torch.zeros(shape[1]).requires_grad_() for shape in shapes]
        self.optimizer = torch.optim.Adam([*self.weights, *self.biases], 1e-3)

    def loss(
        self, means: Tensor, logits: Tensor, standard: Tensor, bins: Tensor, shown: Tensor, known: Tensor
    ) -> Tensor:
        """The imputer's share of the game, times its weight; entries known but not ``shown`` are drawn.

        Shapes:  means, standard, bins, shown, known (n_rows, n_columns); logits (n_rows, n_columns, most bins).
        """
        real = functional.one_hot(bins, self.most).to(logits.dtype)
        drawn = functional.gumbel_softmax(logits, TEMPERATURE) if logits.requires_grad else real
        rows = self._completed(drawn, real, standard, shown)
        hint = torch.where(torch.rand(shown.shape, generator=self.generator) < HINT_RATE, shown.float(), 0.5)
        self._learn(rows.detach(), hint, shown, known)
        judged = self._judge(rows, hint)
        fake = known & ~shown
        fooled = functional.softplus(-judged) * fake
        return self.weight * fooled.sum() / fake.sum().clamp(min=1)

    def _completed(self, drawn: Tensor, real: Tensor, standard: Tensor, shown: Tensor) -> Tensor:
        numbers = torch.where(shown, standard, (drawn * self.middles).sum(-1))
        numbers = torch.where(self.is_category, 0.0, numbers).clamp(-8.0, 8.0)
        flags = torch.where(shown[..., None], real, drawn)[:, self.is_category]
        return torch.cat([numbers, flags.reshape(len(numbers), flags.shape[1] * self.most)], dim=1)

    def _learn(self, rows: Tensor, hint: Tensor, shown: Tensor, known: Tensor) -> None:
        judged = self._judge(rows, hint)
        loss = functional.binary_cross_entropy_with_logits(judged, shown.float(), reduction="none")
        self.optimizer.zero_grad(set_to_none=True)
        ((loss * known).sum() / known.sum().clamp(min=1)).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def _judge(self, rows: Tensor, hint: Tensor) -> Tensor:
        x = torch.cat([rows, hint], dim=1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = torch.relu(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]
