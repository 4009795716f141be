"""higher: the module made functional for each task in ``innerloop_ctx``, with a differentiable SGD."""

import higher
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.peers.torch_module import Net, tensors
from benchmarks.engine.task import INNER_LR, INNER_STEPS, Task


def build(task: Task) -> Contestant:
    net = Net(task.theta)
    sgd = torch.optim.SGD(net.parameters(), lr=INNER_LR)
    tasks = list(zip(*tensors(task), strict=True))

    def step() -> None:
        net.zero_grad()
        for support_x, support_y, query_x, query_y in tasks:
            with higher.innerloop_ctx(net, sgd, copy_initial_weights=False) as (fast, differentiable_sgd):
                for _ in range(INNER_STEPS):
                    differentiable_sgd.step(binary_cross_entropy_with_logits(fast(support_x), support_y))
                (binary_cross_entropy_with_logits(fast(query_x), query_y) / len(tasks)).backward()

    return Contestant.of(step, lambda: (step(), net.gradient())[1])
