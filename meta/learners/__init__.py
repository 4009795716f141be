"""Few-shot methods, one paper per file, behind one protocol. They never import each other."""

from collections.abc import Callable

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

__all__ = ["REGISTRY", "Learner", "build_learner"]

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
    "memory_augmented": MemoryAugmented,
    "neural_process": NeuralProcess,
}


def build_learner(name: str, network: Network, loss_fn: LossFn, *, inner_lr: float, inner_steps: int) -> Learner:
    """Make the learner that a recipe names.

    Raises:  InvalidRecipe: there is no learner of this name.
    """
    if name not in REGISTRY:
        raise InvalidRecipe(f"learner must be one of {sorted(REGISTRY)}, got {name!r}")
    return REGISTRY[name](network, loss_fn, inner_lr, inner_steps)
