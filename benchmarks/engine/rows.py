"""The rows of the table: who takes part, by which code, in which environment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.task import Task


@dataclass(frozen=True)
class Row:
    """One row. ``module`` is imported by the worker that does the row's work, and nowhere else."""

    name: str
    module: str
    builder: str = "build"
    arguments: dict[str, Any] = field(default_factory=dict)
    package: str = "torch"  # whose version the table names
    is_ours: bool = False
    is_same_method: bool = True  # second-order MAML, so that its meta-gradient can be compared

    def build(self, task: Task) -> Contestant:
        builder: Callable[..., Contestant] = getattr(import_module(f"benchmarks.engine.{self.module}"), self.builder)
        return builder(task, **self.arguments)


def _ours(label: str, learner: str, builder: str = "build_trained", is_same_method: bool = True) -> list[Row]:
    def row(compiled: bool) -> Row:
        name = f"{label}, {'compiled' if compiled else 'eager'}"
        arguments = {"name": learner, "compiled": compiled}
        return Row(name, "ours", builder, arguments, is_ours=True, is_same_method=is_same_method)

    return [row(False), row(True)]


OURS_EAGER, OURS_COMPILED = _ours("Thetaprime, trainer", "maml")
REFERENCE = Row("learn2learn", "peers.with_learn2learn", package="learn2learn")

ROWS: tuple[Row, ...] = (
    REFERENCE,
    Row("higher", "peers.with_higher", package="higher"),
    Row("TorchOpt, loop", "peers.with_torchopt", "build_loop", package="torchopt"),
    Row("TorchOpt, vmap", "peers.with_torchopt", "build_vmap", package="torchopt"),
    Row("torch.func, eager", "peers.with_torch_func", "build_eager"),
    Row("torch.func, compiled", "peers.with_torch_func", "build_compiled"),
    Row("torch.func, compiled, oneDNN", "peers.with_torch_func", "build_compiled_with_onednn"),
    Row("JAX, jit", "peers.with_jax", package="jax"),
    OURS_EAGER,
    OURS_COMPILED,
    *_ours("Thetaprime, gradient alone", "maml", "build_gradient"),
    *_ours("FOMAML", "fomaml", is_same_method=False),
    *_ours("ANIL", "anil", is_same_method=False),
    *_ours("Meta-SGD", "meta_sgd", is_same_method=False),
    *_ours("Reptile", "reptile", is_same_method=False),
)
BY_NAME = {row.name: row for row in ROWS}
LEARNER = "learner: "


def learner_row(name: str) -> Row:
    """The row of a learner of the registry, which the peers' environment cannot read."""
    return Row(f"{LEARNER}{name}", "ours", "build_learner_row", {"name": name}, is_ours=True, is_same_method=False)


def find_row(name: str) -> Row:
    return learner_row(name.removeprefix(LEARNER)) if name.startswith(LEARNER) else BY_NAME[name]
