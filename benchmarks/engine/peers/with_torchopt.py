"""TorchOpt, in its two ways: ``MetaSGD`` on a module, task after task, and its functional optimiser under vmap."""

import torch
import torchopt
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.peers.torch_module import Net, tensors
from benchmarks.engine.task import INNER_LR, INNER_STEPS, Task


def build_loop(task: Task) -> Contestant:
    net = Net(task.theta)
    sgd = torchopt.MetaSGD(net, lr=INNER_LR)
    tasks = list(zip(*tensors(task), strict=True))

    def step() -> None:
        net.zero_grad()
        start, optimiser_start = torchopt.extract_state_dict(net), torchopt.extract_state_dict(sgd)
        for support_x, support_y, query_x, query_y in tasks:
            for _ in range(INNER_STEPS):
                sgd.step(binary_cross_entropy_with_logits(net(support_x), support_y))
            (binary_cross_entropy_with_logits(net(query_x), query_y) / len(tasks)).backward()
            torchopt.recover_state_dict(net, start)
            torchopt.recover_state_dict(sgd, optimiser_start)

    return Contestant.of(step, lambda: (step(), net.gradient())[1])


def build_vmap(task: Task) -> Contestant:
    net = Net(task.theta)
    rows = tensors(task)
    sgd = torchopt.sgd(lr=INNER_LR)

    def loss(params: dict, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(torch.func.functional_call(net, params, x), y)

    def query_loss(params: dict, *rows: torch.Tensor) -> torch.Tensor:
        support_x, support_y, query_x, query_y = rows
        state = sgd.init(params)
        for _ in range(INNER_STEPS):
            gradient = torch.func.grad(loss)(params, support_x, support_y)
            updates, state = sgd.update(gradient, state, params=params, inplace=False)
            params = torchopt.apply_updates(params, updates, inplace=False)
        return loss(params, query_x, query_y)

    over_tasks = torch.func.vmap(query_loss, in_dims=(None, 0, 0, 0, 0))

    def step() -> None:
        net.zero_grad()
        over_tasks(dict(net.named_parameters()), *rows).mean().backward()

    return Contestant.of(step, lambda: (step(), net.gradient())[1])
