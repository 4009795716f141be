"""Networks that the product does not have. All: params, x (n_rows, n_inputs) -> member logits (n_rows, n_members)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from meta.features import Encoder
from meta.losses import logit_of_mean
from meta.nets import Ensemble
from meta.types import Params


@dataclass(frozen=True)
class WithoutLinear(Ensemble):
    """The ensemble without its shared linear part."""

    def init(self, generator: torch.Generator) -> Params:
        return {name: value for name, value in super().init(generator).items() if name != "wide"}

    def forward(
        self, params: Params, x: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        return super().forward({**params, "wide": x.new_zeros(self.n_inputs)}, x, dropout, generator)


@dataclass(frozen=True)
class LastLayerHead(Ensemble):
    """The ensemble whose head reads the last hidden layer alone, as in TabM."""

    def init(self, generator: torch.Generator) -> Params:
        params = super().init(generator)
        last = self.widths[-1]
        params["head_w"] = params["head_w"][:, -last:] * math.sqrt(sum(self.widths) / last)
        return params

    def _hidden(self, params: Params, x: Tensor, dropout: float, generator: torch.Generator | None) -> list[Tensor]:
        return super()._hidden(params, x, dropout, generator)[-1:]


@dataclass(frozen=True)
class Periodic:
    """The ensemble over sines and cosines of each numeric column, a linear layer and ReLU each, in place of bins.

    Shapes:  bins (n_numeric, n_bins): slots of a column's bins; kept (n_kept,): all other slots; n_real (n_numeric,):
             bins that are not padding; inner: the ensemble over kept slots and n_numeric * n_out embedded numbers.
    Source:  Gorishniy et al. 2022, arXiv:2203.05556, section 3.3 (PLR). A column comes in as its quantile rank (the sum
             of its bins), which is what their preprocessing does to it; frequencies are drawn with sd ``sigma``.
    """

    bins: Tensor
    kept: Tensor
    n_real: Tensor
    inner: Ensemble
    n_frequencies: int = 16
    n_out: int = 8
    sigma: float = 0.2

    @classmethod
    def over(cls, encoder: Encoder, widths: tuple[int, ...], n_members: int) -> "Periodic":
        kind, n_numeric = encoder.kind_of_slot, len(encoder.center)
        bins = torch.from_numpy(np.flatnonzero(kind == "bin").reshape(n_numeric, -1))
        kept = torch.from_numpy(np.flatnonzero(kind != "bin"))
        n_real = torch.from_numpy(np.isfinite(encoder.edges).sum(axis=1) - 1).clamp(min=1).float()
        return cls(bins, kept, n_real, Ensemble(len(kept) + n_numeric * cls.n_out, widths, n_members))

    def init(self, generator: torch.Generator) -> Params:
        n_numeric, n_waves = len(self.bins), 2 * self.n_frequencies
        params = self.inner.init(generator)
        params["frequency"] = torch.randn(n_numeric, self.n_frequencies, generator=generator) * self.sigma
        drawn = torch.rand(n_numeric, n_waves, self.n_out, generator=generator)
        params["embedding"] = (drawn * 2 - 1) / math.sqrt(n_waves)
        params["embedding_b"] = torch.zeros(n_numeric, self.n_out)
        return params

    def forward(
        self, params: Params, x: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        rank = x[:, self.bins].sum(-1) / self.n_real  # in [0, 1]
        value = (rank - 0.5) * math.sqrt(12.0)  # unit variance where ranks are uniform
        angle = 2 * math.pi * value.unsqueeze(-1) * params["frequency"]
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1)
        embedded = torch.einsum("rcw,cwo->rco", waves, params["embedding"]) + params["embedding_b"]
        inputs = torch.cat([x[:, self.kept], F.relu(embedded).flatten(1)], dim=1)
        return self.inner.forward(params, inputs, dropout, generator)

    def readout(self, outputs: Tensor) -> Tensor:
        return logit_of_mean(outputs)


@dataclass(frozen=True)
class Additive:
    """One small perceptron a column, beside the linear part; their sum is the logit, so contributions are exact.

    Shapes:  slots (n_columns, n_slots): a column's encoded numbers, padded with n_inputs.
    Source:  Agarwal et al. 2021, arXiv:2004.13912 (neural additive models). Deviations: a column comes in encoded, its
             perceptron has one hidden layer of ReLU.
    """

    n_inputs: int
    slots: Tensor
    width: int = 16

    @classmethod
    def over(cls, encoder: Encoder) -> "Additive":
        owner = encoder.column_of_slot
        columns = [np.flatnonzero(owner == column) for column in range(owner.max() + 1)]
        slots = np.full((len(columns), max(map(len, columns))), len(owner))
        for column, own in enumerate(columns):
            slots[column, : len(own)] = own
        return cls(len(owner), torch.from_numpy(slots))

    def init(self, generator: torch.Generator) -> Params:
        n_columns, n_slots = self.slots.shape

        def uniform(*shape: int, fan_in: int) -> Tensor:
            return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(fan_in)

        return {
            "w0": uniform(n_columns, n_slots, self.width, fan_in=n_slots),
            "b0": uniform(n_columns, self.width, fan_in=n_slots),
            "head_w": uniform(n_columns, self.width, fan_in=self.width),
            "head_b": torch.zeros(1),
            "wide": torch.zeros(self.n_inputs),
        }

    def contributions(
        self, params: Params, x: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """What each column adds to the logit, (n_rows, n_columns)."""
        padded = F.pad(x, (0, 1))[:, self.slots]
        hidden = F.relu(torch.einsum("rcs,csh->rch", padded, params["w0"]) + params["b0"])
        if dropout:
            hidden = hidden * (torch.rand(hidden.shape, generator=generator) >= dropout) / (1.0 - dropout)
        wide = (padded * F.pad(params["wide"], (0, 1))[self.slots]).sum(-1)
        return (hidden * params["head_w"]).sum(-1) + wide

    def forward(
        self, params: Params, x: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        return self.contributions(params, x, dropout, generator).sum(-1, keepdim=True) + params["head_b"]

    def readout(self, outputs: Tensor) -> Tensor:
        return outputs[..., 0]
