"""PyTorch's own function transforms: grad of the mean of vmap of a task that takes its inner steps by grad."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.peers.torch_module import tensors
from benchmarks.engine.task import INNER_LR, INNER_STEPS, Task, Weights
from meta.products import quick_products

Params = dict[str, Tensor]


def loss(params: Params, x: Tensor, y: Tensor) -> Tensor:
    hidden = relu(torch.addmm(params["b0"], x, params["w0"]))
    hidden = relu(torch.addmm(params["b1"], hidden, params["w1"]))
    return binary_cross_entropy_with_logits(torch.addmm(params["b2"], hidden, params["w2"]).squeeze(-1), y)


def query_loss(params: Params, support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> Tensor:
    for _ in range(INNER_STEPS):
        gradient = torch.func.grad(loss)(params, support_x, support_y)
        params = {name: value - INNER_LR * gradient[name] for name, value in params.items()}
    return loss(params, query_x, query_y)


def meta_loss(params: Params, *rows: Tensor) -> Tensor:
    return torch.func.vmap(query_loss, in_dims=(None, 0, 0, 0, 0))(params, *rows).mean()


def _contestant(task: Task, transform: Callable[..., Params]) -> Contestant:
    theta = {name: torch.from_numpy(value) for name, value in task.theta.items()}
    rows = tensors(task)

    def meta_gradient() -> Weights:
        return {name: value.numpy() for name, value in transform(theta, *rows).items()}

    return Contestant.of(lambda: transform(theta, *rows), meta_gradient)


def build_eager(task: Task) -> Contestant:
    return _contestant(task, torch.func.grad(meta_loss))


def build_compiled(task: Task) -> Contestant:
    return _contestant(task, torch.compile(torch.func.grad(meta_loss)))


def build_compiled_with_onednn(task: Task) -> Contestant:
    """Under our trainer's setting, which shows how much of our own speed is the setting's."""
    return _contestant(task, quick_products()(torch.compile(torch.func.grad(meta_loss))))
