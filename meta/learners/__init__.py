"""Few-shot methods, one paper per file, behind one protocol. They never import each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from meta.errors import InvalidRecipe
from meta.learners.anil import Anil
from meta.learners.cavia import Cavia
from meta.learners.leo import Leo
from meta.learners.maml import Maml
from meta.learners.maml_plus_plus import MamlPlusPlus
from meta.learners.map_bayes import MapBayes
from meta.learners.matching import Matching
from meta.learners.memory_augmented import MemoryAugmented
from meta.learners.meta_sgd import MetaSgd
from meta.learners.neural_process import NeuralProcess
from meta.learners.protocol import Learner
from meta.learners.prototypical import Prototypical
from meta.learners.reptile import Reptile
from meta.nets import Network
from meta.types import LossFn

Build = Callable[[Network, LossFn, float, int], Learner]

__all__ = ["OPTIONS", "REGISTRY", "Learner", "Usual", "build_learner", "usual_of"]


@dataclass(frozen=True)
class Usual:
    """Settings that a learner is used with on credit unless a recipe says otherwise.

    inner_lr: step of the inner loop, on a mean loss; outer_steps: meta-batches at most; outer_lr: their step.
    """

    inner_lr: float = 0.3
    inner_steps: int = 3
    outer_steps: int = 60
    outer_lr: float = 1e-3


REGISTRY: dict[str, Build] = {
    "maml": Maml,
    "fomaml": lambda network, loss_fn, inner_lr, inner_steps: Maml(network, loss_fn, inner_lr, inner_steps, True),
    "maml_plus_plus": MamlPlusPlus,
    "anil": Anil,
    "cavia": lambda network, loss_fn, inner_lr, inner_steps: Cavia(
        network, loss_fn, inner_lr, inner_steps, context_scale=10.0
    ),
    "leo": lambda network, loss_fn, inner_lr, inner_steps: Leo(
        network, loss_fn, inner_lr, inner_steps, n_latents=16, finetuning_lr=0.3, finetuning_steps=5
    ),
    "map_bayes": MapBayes,
    "meta_sgd": lambda network, loss_fn, inner_lr, inner_steps: MetaSgd(
        network, loss_fn, inner_lr, inner_steps, by_evidence=True
    ),
    "reptile": Reptile,
    "prototypical": Prototypical,
    "matching": Matching,
    "memory_augmented": lambda network, loss_fn, inner_lr, inner_steps: MemoryAugmented(
        network, loss_fn, inner_lr, inner_steps, n_slots=32, slot_size=16
    ),
    "neural_process": NeuralProcess,
}

READS = Usual(inner_steps=1, outer_steps=200, outer_lr=3e-3)  # no inner loop; what it adds starts from nothing
USUAL: dict[str, Usual] = {
    "maml_plus_plus": Usual(inner_lr=0.5, inner_steps=5),
    "cavia": Usual(inner_lr=6.0, outer_lr=5e-3),
    "leo": Usual(inner_lr=1.5),
    "map_bayes": Usual(inner_steps=6),  # of Newton
    "prototypical": READS,
    "matching": READS,
    "memory_augmented": READS,
    "neural_process": READS,
}


# What of a method its paper leaves to choose, by recipe; what is not named here is the method itself.
OPTIONS: dict[str, dict[str, bool | float]] = {
    "maml_plus_plus": {
        "multi_step_loss": True,
        "per_step_sizes": True,
        "annealing_share": 0.0,
        "first_order": False,
    },
    "meta_sgd": {"by_evidence": True},
}


def usual_of(name: str) -> Usual:
    return USUAL.get(name, Usual())


def build_learner(
    name: str,
    network: Network,
    loss_fn: LossFn,
    *,
    inner_lr: float,
    inner_steps: int,
    options: Mapping[str, bool | float] | None = None,
) -> Learner:
    """Make the learner that a recipe names; ``options`` are some of its OPTIONS.

    Raises:  InvalidRecipe: there is no learner of this name, or it has no such option or value.
    """
    if name not in REGISTRY:
        raise InvalidRecipe(f"learner must be one of {sorted(REGISTRY)}, got {name!r}")
    learner = REGISTRY[name](network, loss_fn, inner_lr, inner_steps)
    if not options:
        return learner
    known = OPTIONS.get(name, {})
    for option, value in options.items():
        if option not in known:
            raise InvalidRecipe(f"options of {name} are {sorted(known) or 'none'}, got {option!r}")
        if isinstance(value, bool) != isinstance(known[option], bool):
            wanted = "true or false" if isinstance(known[option], bool) else "a number"
            raise InvalidRecipe(f"option {option!r} of {name} must be {wanted}, got {value!r}")
    changed: Learner = replace(cast(Any, learner), **options)
    return changed
