"""The perceptron of MAML's non-convolutional Omniglot row: batch normalisation after every product."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.types import Params

EPSILON = 1e-3


@dataclass(frozen=True)
class NormalisedMlp:
    """A perceptron whose hidden units are normalised over the rows that come in together, as in the authors' code.

    There are no running averages: a support is normalised by its own rows, a query by its own (so that query rows see
    each other: what Nichol et al. 2018 call transduction). Parameters are ``w0``, ``b0``, ...; rows are dimension -2.

    Source:  Finn et al. 2017, arXiv:1703.03400, section 5.2 (hidden layers of 256, 128, 64 and 64).
    Deviations: the shift after normalising moves in the inner loop (in the authors' code it does not, and another one
             before normalising does, to no effect); starting weights are He's.
    """

    n_inputs: int
    widths: tuple[int, ...]
    n_outputs: int

    def init(self, generator: torch.Generator) -> Params:
        params: Params = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise((self.n_inputs, *self.widths, self.n_outputs))):
            params[f"w{layer}"] = torch.randn((fan_in, fan_out), generator=generator) * math.sqrt(2.0 / fan_in)
            params[f"b{layer}"] = torch.zeros(fan_out)
        return params

    def forward(self, params: Params, x: Tensor) -> Tensor:
        w, b = (params[name] for name in self.head)
        return self.represent(params, x) @ w + b.unsqueeze(-2)

    def represent(self, params: Params, x: Tensor) -> Tensor:
        for layer in range(len(self.widths)):
            x = F.relu(normalised(x @ params[f"w{layer}"]) + params[f"b{layer}"].unsqueeze(-2))
        return x

    def readout(self, outputs: Tensor) -> Tensor:
        return outputs

    @property
    def head(self) -> tuple[str, ...]:
        return f"w{len(self.widths)}", f"b{len(self.widths)}"

    @property
    def n_represented(self) -> int:
        return self.widths[-1]


def normalised(x: Tensor) -> Tensor:
    """Give every unit mean 0 and variance 1 over the rows (dimension -2)."""
    centred = x - x.mean(-2, keepdim=True)
    return centred * (centred.square().mean(-2, keepdim=True) + EPSILON).rsqrt()
