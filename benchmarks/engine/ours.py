"""Thetaprime's own learners on the task, driven by its own trainer, as ``meta.meta_training`` drives them."""

from collections.abc import Callable

import torch

from benchmarks.engine.contestant import Contestant
from benchmarks.engine.task import INNER_LR, INNER_STEPS, SIZES, Task, Weights
from meta.learners import Learner, build_learner
from meta.learners.protocol import OuterGradient
from meta.learners.protocol import compiled as compiled_form
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble, Mlp
from meta.products import quick_products
from meta.trainer import Schedule, TrainerState, train
from meta.types import Episode, LabelledRows, Params

OUTER_LR = 1e-6  # the trainer's AdamW does all of its work, and yet theta stays where it is measured


def learner_of(name: str) -> Learner:
    network = Mlp(SIZES[0], SIZES[1:-1], SIZES[-1])
    return build_learner(name, network, binary_cross_entropy, inner_lr=INNER_LR, inner_steps=INNER_STEPS)


def episode_of(task: Task) -> Episode:
    support_x, support_y, query_x, query_y = (torch.from_numpy(rows) for rows in task.rows)
    return Episode(LabelledRows.of(support_x, support_y), LabelledRows.of(query_x, query_y))


def theta_of(learner: Learner, task: Task) -> Params:
    weights = {name: torch.from_numpy(value) for name, value in task.theta.items()}
    return learner.start_from(weights, torch.Generator().manual_seed(0))


def _outer_grad(learner: Learner, compiled: bool) -> Callable[[Params, Episode], OuterGradient]:
    outer_grad = compiled_form(learner.outer_grad) if compiled else learner.outer_grad
    return quick_products()(outer_grad)  # as in ``train``, so that what is compared is what is timed


def build_trained(task: Task, name: str, compiled: bool) -> Contestant:
    """Whole outer steps: gradient, clipping, AdamW, bookkeeping."""
    learner, episode = learner_of(name), episode_of(task)
    theta, outer_grad = theta_of(learner, task), _outer_grad(learner, compiled)

    def run(n_meta_batches: int) -> None:
        schedule = Schedule(n_meta_batches, OUTER_LR)
        train(TrainerState.at_start(theta), lambda params, step: outer_grad(params, episode), schedule)

    return Contestant(run, lambda: _plain(outer_grad(theta, episode)))


def build_gradient(task: Task, name: str, compiled: bool) -> Contestant:
    """The learner's gradient alone, without the trainer: what the peers are timed at."""
    learner, episode = learner_of(name), episode_of(task)
    theta, outer_grad = theta_of(learner, task), _outer_grad(learner, compiled)
    return Contestant.of(lambda: outer_grad(theta, episode), lambda: _plain(outer_grad(theta, episode)))


def build_learner_row(task: Task, name: str) -> Contestant:
    """A learner's gradient on credit, eagerly: the same rows, its own theta over an ensemble of one member.

    That network is the perceptron of the other rows with a linear part and three scalings more.
    """
    network = Ensemble(SIZES[0], SIZES[1:-1], n_members=1)
    learner = build_learner(name, network, binary_cross_entropy, inner_lr=INNER_LR, inner_steps=INNER_STEPS)
    episode, theta = episode_of(task), learner.init(torch.Generator().manual_seed(0))
    outer_grad = quick_products()(learner.outer_grad)
    return Contestant.of(lambda: outer_grad(theta, episode), lambda: _plain(outer_grad(theta, episode)))


def _plain(found: OuterGradient) -> Weights:
    return {name: value.numpy() for name, value in found.gradient.items()}
