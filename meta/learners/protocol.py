"""The one slot that every few-shot method fits, and the two lines of calculus that the gradient-based ones share."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from meta.types import Episode, Params, SupportSet

NET = "net."  # the network's tensors in a theta that holds more
OWN = "own."
SEEN = "seen."


class OuterGradient(NamedTuple):
    """The loss of a meta-batch (scalar, mean over tasks) and its gradient: keys and shapes of theta."""

    loss: Tensor
    gradient: Params


class Learner(Protocol):
    """A few-shot method. ``theta`` is what meta-training learns; ``theta_prime`` is one market's own model.

    A theta_prime holds the network's tensors under their own names. What else a learner needs to predict has a name
    that begins with OWN (copied from theta, the same for every market), with SEEN (what the support left behind: its
    rows' embeddings, a written memory; the rows may be any number, those of a batch are padded to one) or stands by
    itself (``meta.learners.map_bayes``). A learner with SEEN tensors also keeps ``share`` (1,), which multiplies all
    that they add to the network's outputs: 0 at rest, 1 after adapting; ``meta.strength`` sets it in between.

    Bits: ``adapt`` with one support, which is how the service adapts, gives the same bits each time; with several it
    agrees with that to a tolerance. ``predict`` owes no more than that: serving sees to it that an account scores the
    same bits alone and in any batch (``meta.inference``, ``meta.row_by_row``).

    Shapes: ``adapt`` takes supports with a leading n_tasks and returns a theta_prime with that leading dimension.
    ``predict`` takes either (x (n_tasks, n_rows, n_features)) or a single theta_prime (x (n_rows, n_features)).
    """

    def init(self, generator: torch.Generator) -> Params:
        """Draw a theta to start from."""
        ...

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        """Make a theta from network weights that were learned otherwise (on pooled rows, say).

        What the learner has beyond the network is drawn from ``generator``; the theta at rest predicts as the network
        with these weights does.
        """
        ...

    def informed_by(self, theta: Params, prior: Mapping[str, Tensor]) -> Params:
        """Take in how markets differ, learned on source markets; a learner that asks for no prior returns theta.

        prior: center, slope_sd (n_inputs,), logit_center, scale_sd (1,): see ``meta.effects``.
        """
        ...

    def at_rest(self, theta: Params) -> Params:
        """Give the theta_prime that has seen nothing; no task dimension, the same tensors as in theta."""
        ...

    def adapt(self, theta: Params, support: SupportSet) -> Params:
        """Turn theta into one theta_prime per task, without touching theta."""
        ...

    def predict(self, theta_prime: Params, x: Tensor) -> Tensor:
        """Predict: logits (..., n_rows) for credit, the network's outputs elsewhere."""
        ...

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        """Say how theta should move so that adapted models do better on the query rows."""
        ...


@runtime_checkable
class Annealed(Protocol):
    """A learner whose outer gradient changes in the course of meta-training."""

    def at_progress(self, progress: float) -> Learner:
        """Give the learner as it is after a share ``progress`` of the outer steps, from 0 to below 1.

        Equal learners share what torch.compile made of them: the fewer are told apart, the less is compiled.
        """
        ...


def under(prefix: str, tensors: Params) -> Params:
    """Pick the tensors whose names begin with ``prefix``, and take it off.

    >>> sorted(under("net.", {"net.w": torch.ones(1), "lr.w": torch.ones(1)}))
    ['w']
    """
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def named(prefix: str, tensors: Params) -> Params:
    """Put ``prefix`` before every name."""
    return {prefix + name: value for name, value in tensors.items()}


def meta_gradient(meta_loss: Callable[[Params], Tensor], theta: Params) -> OuterGradient:
    """Differentiate a scalar ``meta_loss`` by every tensor of theta, eagerly or under torch.compile."""
    if torch.compiler.is_compiling():
        gradient, loss = torch.func.grad_and_value(meta_loss)(theta)
        return OuterGradient(loss, gradient)
    leaves = {name: value.detach().requires_grad_() for name, value in theta.items()}
    loss = meta_loss(leaves)
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return OuterGradient(loss.detach(), dict(zip(leaves, found, strict=True)))


def compiled(outer_grad: Callable[[Params, Episode], OuterGradient]) -> Callable[[Params, Episode], OuterGradient]:
    """Compile a learner's ``outer_grad``; pays after some hundred meta-batches of one shape.

    The tiling heuristics are off because they leave products of many small tasks unvectorised.
    """
    found: Callable[[Params, Episode], OuterGradient] = torch.compile(
        outer_grad, options={"cpp.enable_tiling_heuristics": False}
    )
    return found


def gradient_by_step(
    learner: Learner, n_steps: int, *, compile: bool = False
) -> Callable[[Params, Episode, int], OuterGradient]:
    """Give the outer gradient at any of ``n_steps`` outer steps; of a learner that does not anneal it is always one."""
    made: dict[Learner, Callable[[Params, Episode], OuterGradient]] = {}

    def gradient(theta: Params, episode: Episode, step: int) -> OuterGradient:
        stage = learner.at_progress(step / n_steps) if isinstance(learner, Annealed) else learner
        if not compile:
            return stage.outer_grad(theta, episode)
        if stage not in made:
            made[stage] = compiled(stage.outer_grad)
        return made[stage](theta, episode)

    return gradient
