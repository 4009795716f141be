"""learn2learn: a clone of the module for each task, adapted by ``MAML.adapt``."""

import sys
from importlib.machinery import PathFinder
from types import ModuleType

from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.peers.torch_module import Net, tensors
from benchmarks.engine.task import INNER_LR, INNER_STEPS, Task


def maml_class() -> type:
    """Import MAML without the package's ``__init__``, which wants torchvision and gym; MAML uses neither."""
    spec = PathFinder.find_spec("learn2learn")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("No module named 'learn2learn'")
    package = ModuleType("learn2learn")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["learn2learn"] = package
    from learn2learn.algorithms.maml import MAML

    return MAML


def build(task: Task) -> Contestant:
    net = Net(task.theta)
    maml = maml_class()(net, lr=INNER_LR)
    tasks = list(zip(*tensors(task), strict=True))

    def step() -> None:
        net.zero_grad()
        for support_x, support_y, query_x, query_y in tasks:
            clone = maml.clone()
            for _ in range(INNER_STEPS):
                clone.adapt(binary_cross_entropy_with_logits(clone(support_x), support_y))
            (binary_cross_entropy_with_logits(clone(query_x), query_y) / len(tasks)).backward()

    return Contestant.of(step, lambda: (step(), net.gradient())[1])
