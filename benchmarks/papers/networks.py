"""Two of MAML's networks: the start of its code for curves, and the perceptron of its Omniglot row "no conv"."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.nets import Mlp
from meta.types import Params

START_SD = 0.01
EPSILON = 1e-3


@dataclass(frozen=True)
class SmallStartMlp(Mlp):
    """A perceptron that starts as in MAML's code: matrices normal with sd 0.01, cut at two sds; biases 0."""

    def init(self, generator: torch.Generator) -> Params:
        params = super().init(generator)
        for name, value in params.items():
            if value.dim() > 1:
                bound = 2 * START_SD
                torch.nn.init.trunc_normal_(params[name], 0.0, START_SD, -bound, bound, generator)
        return params


@dataclass(frozen=True)
class NormalisedMlp(Mlp):
    """A perceptron whose hidden units are normalised over the rows that come in together, as in the authors' code.

    There are no running averages: a support is normalised by its own rows, a query by its own (so that query rows see
    each other: what Nichol et al. 2018 call transduction). Rows are dimension -2.

    Source:  Finn et al. 2017, arXiv:1703.03400, section 5.2 (hidden layers of 256, 128, 64 and 64).
    Deviations: the shift after normalising moves in the inner loop (in the authors' code it does not, and another one
             before normalising does, to no effect); starting weights are He's.
    """

    def represent(self, params: Params, x: Tensor) -> Tensor:
        for layer in range(len(self.widths)):
            x = F.relu(normalised(x @ params[f"w{layer}"]) + params[f"b{layer}"].unsqueeze(-2))
        return x


def normalised(x: Tensor) -> Tensor:
    """Give every unit mean 0 and variance 1 over the rows (dimension -2)."""
    centred = x - x.mean(-2, keepdim=True)
    return centred * (centred.square().mean(-2, keepdim=True) + EPSILON).rsqrt()
