"""The network as a ``torch.nn.Module``, for the peers that adapt modules."""

import torch
from torch import Tensor, nn

from benchmarks.engine.task import SIZES, Task, Weights


class Net(nn.Module):
    """The task's network, holding the task's theta; (n_rows, 40) -> logits (n_rows,)."""

    def __init__(self, theta: Weights) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2]), nn.ReLU(), nn.Linear(SIZES[2], 1)
        )
        self.to(torch.from_numpy(theta["w0"]).dtype)
        with torch.no_grad():
            for layer, linear in enumerate(self.linears):
                linear.weight.copy_(torch.from_numpy(theta[f"w{layer}"]).T)
                linear.bias.copy_(torch.from_numpy(theta[f"b{layer}"]))

    @property
    def linears(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(-1)

    def gradient(self) -> Weights:
        """What ``backward`` left in ``.grad``, under the task's names."""
        found: Weights = {}
        for layer, linear in enumerate(self.linears):
            found[f"w{layer}"] = linear.weight.grad.T.numpy().copy()
            found[f"b{layer}"] = linear.bias.grad.numpy().copy()
        return found


def tensors(task: Task) -> list[Tensor]:
    """support_x, support_y, query_x, query_y."""
    return [torch.from_numpy(rows) for rows in task.rows]
