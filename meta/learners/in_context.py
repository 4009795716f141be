"""What learners share that read the support beside the network: no inner loop, one pass over the labelled rows.

A subclass is its paper's method in two functions, ``read`` (labelled rows -> what they leave behind) and ``answer``
(that, and rows to predict -> class scores or numbers). On the papers' problems this is all: the network embeds a row,
and its scores are the prediction.

On credit the network keeps its say, and the method adds to its logit. The support is read twice, once with its labels
and once with the labels that the network expects of the same rows; the difference of the two answers is what the
support adds, so what every market has in common (and where this one's accounts lie) cancels.

Deviations, all on credit: labels are drawn towards the expected ones as if by pseudo-rows, the more the fewer rows the
rarer class has, and wholly where one class is absent; where a method can weigh rows, each class weighs the same
however many of it were posted, and so do the expected labels: rows drawn by label give what a random draw gives; rows
that are read in sequence go in order of the network's logit, lowest first, however they were posted; the addition is
multiplied by a learned gate that starts at 0 (ReZero, Bachlechner et al. 2020, arXiv:2003.04887).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.errors import InvalidRecipe
from meta.learners.protocol import OWN, SEEN, OuterGradient, meta_gradient, named, under
from meta.nets import Network
from meta.types import Episode, LossFn, Params, SupportSet

START_HALF_POINT = 20.0  # rows of the rarer class at which labels start out halfway between expected and posted
N_PROBES = 256
SCALE = 10.0  # gate and half point are kept so small that an outer step of 0.001 changes them by about one percent
EXPECTED = f"{SEEN}expected."


@dataclass(frozen=True)
class InContext(ABC):
    """A learner whose theta_prime is theta, untouched, and what the support left behind.

    theta: the network's tensors and ``own.*``. theta_prime: besides, ``seen.*`` and ``share``. On credit ``own.embed``
    (n_represented, size), ``own.gate`` (1,) (gate / SCALE) and ``own.log_h`` (1,) (ln of the half point / SCALE) are
    every subclass's, and so is ``seen.center`` (size,), the mean embedding of the support's goods.

    n_classes: of N-way problems, 1 where y is a number; size: width of the embedding on credit (elsewhere the network's
    outputs are the embedding); ``inner_lr`` and ``inner_steps`` have no part.
    """

    network: Network
    loss_fn: LossFn
    inner_lr: float
    inner_steps: int
    n_classes: int = 2
    on_credit: bool = True
    size: int = 32

    in_sequence: ClassVar[bool] = False  # rows are read one after the other, and cannot be weighed

    def __post_init__(self) -> None:
        if self.n_classes < 1 or (self.on_credit and self.n_classes != 2):
            raise InvalidRecipe(f"n_classes must be 2 on credit and at least 1 elsewhere, got {self.n_classes}")

    @abstractmethod
    def own(self, width: int, generator: torch.Generator) -> Params:
        """Draw what the paper learns besides the embedding, which is ``width`` wide."""

    @abstractmethod
    def read(self, own: Params, embedded: Tensor, labels: Tensor, weights: Tensor) -> Params:
        """Read supports; rows of weight 0 leave no trace, and no rows are allowed.

        Shapes:  embedded (n_tasks, n_rows, width); labels (n_tasks, n_rows, n_classes), shares that sum to 1, or the
                 numbers themselves; weights (n_tasks, n_rows).
        """

    @abstractmethod
    def answer(self, own: Params, seen: Params, embedded: Tensor) -> Tensor:
        """Embedded rows (..., n_rows, width) -> class scores, or numbers, (..., n_rows, n_classes)."""

    def init(self, generator: torch.Generator) -> Params:
        return self.start_from(self.network.init(generator), generator)

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        like = next(iter(weights.values()))
        own: Params = {}
        width = self.size
        if self.on_credit:
            half_point = torch.full((1,), math.log(START_HALF_POINT) / SCALE)
            own = {"embed": self._drawn_embedding(weights, generator), "gate": torch.zeros(1), "log_h": half_point}
        else:
            width = self.network.forward(weights, like.new_zeros(1, self.network.n_inputs)).shape[-1]
        own |= self.own(width, generator)
        return weights | {OWN + name: value.to(like) for name, value in own.items()}

    def _drawn_embedding(self, weights: Params, generator: torch.Generator) -> Tensor:
        """Draw ``own.embed`` so that the embeddings of random rows have a variance of 1: networks differ in scale."""
        like = next(iter(weights.values()))
        rows = torch.randn(N_PROBES, self.network.n_inputs, generator=generator).to(like)
        embed = drawn((self.network.n_represented, self.size), generator).to(like)
        spread = (self.network.represent(weights, rows) @ embed).std(0).square().mean().sqrt()
        return embed / spread.clamp(min=1e-3)

    def informed_by(self, theta: Params, prior: Mapping[str, Tensor]) -> Params:
        return theta

    @torch.no_grad()
    def at_rest(self, theta: Params) -> Params:
        like = next(iter(theta.values()))
        nobody = SupportSet.of(like.new_zeros(1, 0, self.network.n_inputs), like.new_zeros(1, 0))
        left = self._left_by(theta, nobody)
        return theta | {name: value[0] for name, value in left.items()}

    @torch.no_grad()
    def adapt(self, theta: Params, support: SupportSet) -> Params:
        return self._adapted(theta, support)

    def predict(self, theta_prime: Params, x: Tensor) -> Tensor:
        own, seen = under(OWN, theta_prime), under(SEEN, theta_prime)
        if not self.on_credit:
            return self.answer(own, seen, self.network.forward(theta_prime, x))
        embedded = self._embedded(theta_prime, x) - seen["center"].unsqueeze(-2)
        posted = _log_odds(self.answer(own, seen, embedded))
        added = posted - _log_odds(self.answer(own, under(EXPECTED, theta_prime), embedded))
        logits = self.network.readout(self.network.forward(theta_prime, x))
        return logits + theta_prime["share"] * (SCALE * own["gate"]) * added

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        query = episode.query

        def meta_loss(start: Params) -> Tensor:
            found = self.predict(self._adapted(start, episode.support), query.x)
            outputs = found.unsqueeze(-1) if self.on_credit else found
            return self.loss_fn(outputs + query.offset.unsqueeze(-1), query.y, query.mask).mean()

        return meta_gradient(meta_loss, theta)

    def _adapted(self, theta: Params, support: SupportSet) -> Params:
        still = {name: value.expand(len(support.x), *value.shape) for name, value in theta.items()}
        return still | self._left_by(theta, support)

    def _left_by(self, theta: Params, support: SupportSet) -> Params:
        """Read supports into ``seen.*``, and ``share``: 1 where there was a row."""
        read = self._read_for_credit if self.on_credit else self._read_as_published
        share = (support.mask.sum(-1, keepdim=True) > 0).to(support.mask)
        return read(theta, support) | {"share": share}

    def _read_as_published(self, theta: Params, support: SupportSet) -> Params:
        embedded = self.network.forward(theta, support.x)
        seen = self.read(under(OWN, theta), embedded, self._labels(support.y, embedded), support.mask)
        return named(SEEN, seen)

    def _labels(self, y: Tensor, like: Tensor) -> Tensor:
        return y.unsqueeze(-1) if self.n_classes == 1 else F.one_hot(y.long(), self.n_classes).to(like)

    def _read_for_credit(self, theta: Params, support: SupportSet) -> Params:
        logits = self.network.readout(self.network.forward(theta, support.x))
        if self.in_sequence:
            support, logits = _riskiest_last(support, logits)
        own, y, n_goods = under(OWN, theta), support.y, (support.mask - support.y * support.mask).sum(-1)
        weights, pd = as_drawn(support, logits) if self.in_sequence else balanced(support, logits)
        evidence = n_goods * support.n_defaults / support.mask.sum(-1).clamp(min=1.0)
        trust = evidence / (evidence + (SCALE * own["log_h"]).exp())
        labels = torch.cat([pd + trust.unsqueeze(-1) * (y - pd), pd])  # both readings as one batch
        embedded = self._embedded(theta, support.x)
        goods = (1.0 - y) * support.mask / n_goods.clamp(min=1.0).unsqueeze(-1)
        center = (goods.unsqueeze(-1) * embedded).sum(-2)
        embedded, weights = (embedded - center.unsqueeze(-2)).repeat(2, 1, 1), weights.repeat(2, 1)
        both = self.read(own, embedded, torch.stack([1.0 - labels, labels], dim=-1), weights)
        halves = {name: value.chunk(2) for name, value in both.items()}
        posted = {name: first for name, (first, _) in halves.items()} | {"center": center}
        return named(SEEN, posted) | named(EXPECTED, {name: second for name, (_, second) in halves.items()})

    def _embedded(self, theta: Params, x: Tensor) -> Tensor:
        return self.network.represent(theta, x) @ theta[f"{OWN}embed"]


def balanced(support: SupportSet, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Weigh rows so that each class counts for a half, and give the PDs that are right on that scale.

    Shapes:  logits (n_tasks, n_rows), the network's own; returns weights and PDs of that shape.
    Source:  King & Zeng 2001, Political Analysis 9(2), Eq. 7, at a rate of one half.
    """
    n_defaults = support.n_defaults.unsqueeze(-1).clamp(min=1.0)
    n_goods = (support.mask.sum(-1) - support.n_defaults).unsqueeze(-1).clamp(min=1.0)
    weights = 0.5 * support.mask * (support.y / n_defaults + (1.0 - support.y) / n_goods)
    return weights, torch.sigmoid(logits + support.offset + (n_goods / n_defaults).log())


def as_drawn(support: SupportSet, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Leave rows as they were drawn: weights are the mask, PDs those of these very rows, their selection included."""
    return support.mask, torch.sigmoid(logits + support.offset)


def shares_of(scores: Tensor, weights: Tensor) -> Tensor:
    """Softmax of scores (..., n_rows) in which a row counts ``weights`` times; all 0 where no row has any weight."""
    if scores.shape[-1] == 0:
        return scores
    present = weights > 0
    scores = torch.where(present, scores, torch.finfo(scores.dtype).min / 2)
    raw = (scores - scores.detach().amax(-1, keepdim=True)).exp() * weights
    return raw / raw.sum(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw a matrix (fan_in, fan_out), uniform with variance 1 / fan_in: products are as large as what comes in."""
    return (torch.rand(shape, generator=generator) * 2 - 1) * math.sqrt(3.0 / shape[0])


def _riskiest_last(support: SupportSet, logits: Tensor) -> tuple[SupportSet, Tensor]:
    """Order rows by logit, ties as posted, padding at the end."""
    order = torch.where(support.mask > 0, logits.detach(), math.inf).argsort(dim=-1, stable=True)
    x = support.x.gather(-2, order.unsqueeze(-1).expand_as(support.x))
    y, mask, offset, logits = (t.gather(-1, order) for t in (support.y, support.mask, support.offset, logits))
    return SupportSet(x, y, mask, offset), logits


def _log_odds(scores: Tensor) -> Tensor:
    return scores[..., 1] - scores[..., 0]
