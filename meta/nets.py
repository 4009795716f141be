"""Networks as pure functions of named tensors, the same for one task and for a batch of tasks.

A leading task dimension of the parameters meets a leading task dimension of the inputs: every product below
broadcasts over it, so one definition serves pooled training, batched inner loops and a single market.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.losses import logit_of_mean
from meta.types import Params


class Network(Protocol):
    """What learners need of an architecture."""

    @property
    def n_inputs(self) -> int:
        """Width of the rows that come in."""
        ...

    def init(self, generator: torch.Generator) -> Params:
        """Draw starting weights."""
        ...

    def forward(self, params: Params, x: Tensor) -> Tensor:
        """(..., n_rows, n_inputs) -> (..., n_rows, n_outputs)."""
        ...

    def readout(self, outputs: Tensor) -> Tensor:
        """Outputs -> what is predicted: (..., n_rows) for credit, the outputs themselves elsewhere."""
        ...

    @property
    def head(self) -> tuple[str, ...]:
        """Names of the last layer's parameters: what ANIL adapts."""
        ...

    @property
    def n_represented(self) -> int:
        """Width of ``represent``."""
        ...

    def represent(self, params: Params, x: Tensor) -> Tensor:
        """(..., n_rows, n_inputs) -> (..., n_rows, n_represented): what the head reads, one flat row each."""
        ...


@dataclass(frozen=True)
class Mlp:
    """A plain multilayer perceptron with ReLU: MAML's networks for regression and flattened images.

    Source:  Finn et al. 2017, arXiv:1703.03400, section 5.1 (two hidden layers of 40 for the sinusoids).
    """

    n_inputs: int
    widths: tuple[int, ...]
    n_outputs: int

    def init(self, generator: torch.Generator) -> Params:
        sizes = (self.n_inputs, *self.widths, self.n_outputs)
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            params[f"w{layer}"] = _normal((fan_in, fan_out), math.sqrt(2.0 / fan_in), generator)
            params[f"b{layer}"] = torch.zeros(fan_out)
        return params

    def forward(self, params: Params, x: Tensor) -> Tensor:
        last = len(self.widths)
        return _affine(self.represent(params, x), params[f"w{last}"], params[f"b{last}"])

    def represent(self, params: Params, x: Tensor) -> Tensor:
        for layer in range(len(self.widths)):
            x = F.relu(_affine(x, params[f"w{layer}"], params[f"b{layer}"]))
        return x

    def readout(self, outputs: Tensor) -> Tensor:
        return outputs

    @property
    def head(self) -> tuple[str, ...]:
        return f"w{len(self.widths)}", f"b{len(self.widths)}"

    @property
    def n_represented(self) -> int:
        return self.widths[-1] if self.widths else self.n_inputs


@dataclass(frozen=True)
class Ensemble:
    """``n_members`` small perceptrons that share their matrices and differ by cheap per-member scalings.

    Outputs are member logits (..., n_rows, n_members); the predicted PD is the members' mean probability.
    Source:  TabM, Gorishniy et al. 2024, arXiv:2410.24210; BatchEnsemble, Wen et al. 2020, arXiv:2002.06715.
    Deviations: all members share a linear part, ``wide``, so that perceptrons need only learn what bends (Cheng et al.
             2016, arXiv:1606.07792); a member's input scaling r is applied to the first layer only and its output
             scaling s and bias b to every layer, since the input scaling of a hidden layer can be folded into the
             scaling before it (ReLU is positively homogeneous, and s and b are learned per member); the head reads
             every hidden layer, since shallow and deep members each won on one of two real portfolios and both
             together on both.
    """

    n_inputs: int
    widths: tuple[int, ...]
    n_members: int

    def init(self, generator: torch.Generator) -> Params:
        k = self.n_members
        params: Params = {"r": _signs((k, self.n_inputs), generator)}
        sizes = (self.n_inputs, *self.widths)
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            bound = 1.0 / math.sqrt(fan_in)
            params[f"w{layer}"] = _uniform((fan_in, fan_out), bound, generator)
            params[f"s{layer}"] = torch.ones(k, fan_out)
            params[f"b{layer}"] = _uniform((k, fan_out), bound, generator)
        seen = sum(self.widths)
        params["head_w"] = _uniform((k, seen), 1.0 / math.sqrt(seen), generator)
        params["head_b"] = torch.zeros(k)
        params["wide"] = torch.zeros(self.n_inputs)
        return params

    def forward(
        self, params: Params, x: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """``dropout`` (share of hidden units, pooled training only) draws from ``generator``."""
        hidden = torch.cat(self._hidden(params, x, dropout, generator), dim=-1)
        linear = (x * params["wide"].unsqueeze(-2)).sum(-1, keepdim=True)  # see _affine on products with one column
        return (hidden * params["head_w"].unsqueeze(-3)).sum(-1) + params["head_b"].unsqueeze(-2) + linear

    def represent(self, params: Params, x: Tensor) -> Tensor:
        """Every hidden unit of every member, member by member."""
        return torch.cat(self._hidden(params, x, 0.0, None), dim=-1).flatten(-2)

    def _hidden(self, params: Params, x: Tensor, dropout: float, generator: torch.Generator | None) -> list[Tensor]:
        """Every hidden layer, each (..., n_rows, n_members, width)."""
        layers = []
        hidden = x.unsqueeze(-2) * params["r"].unsqueeze(-3)
        for layer in range(len(self.widths)):
            w, s, b = params[f"w{layer}"], params[f"s{layer}"], params[f"b{layer}"]
            flat = hidden.flatten(-3, -2) @ w
            mixed = flat.reshape(*flat.shape[:-2], *hidden.shape[-3:-1], flat.shape[-1])
            hidden = F.relu(mixed * s.unsqueeze(-3) + b.unsqueeze(-3))
            if dropout:
                kept = torch.rand(hidden.shape, generator=generator, device=hidden.device) >= dropout
                hidden = hidden * kept / (1.0 - dropout)
            layers.append(hidden)
        return layers

    def readout(self, outputs: Tensor) -> Tensor:
        return logit_of_mean(outputs)

    @property
    def head(self) -> tuple[str, ...]:
        return "head_w", "head_b", "wide"

    @property
    def n_represented(self) -> int:
        return self.n_members * sum(self.widths)


def _affine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """x @ w + b, in the form that costs least when many small tasks run at once."""
    if w.shape[-1] == 1:  # matrix libraries are slow at products with one column; a weighted sum is not
        return (x * w.mT).sum(-1, keepdim=True) + b.unsqueeze(-2)
    if x.dim() == w.dim() == 3:  # one kernel where matmul and + take five, and again in each derivative
        return torch.baddbmm(b.unsqueeze(-2), x, w)
    return x @ w + b.unsqueeze(-2)


def _normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * scale


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * bound


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.where(torch.rand(shape, generator=generator) < 0.5, -1.0, 1.0)
