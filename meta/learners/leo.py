"""LEO: parameters of a task are decoded from a small latent code, and the inner loop walks in the space of codes.

An encoder and a relation network turn the support into one Gaussian code per class, a decoder turns a code into the
Gaussian of a class's weights, codes take gradient steps through the decoder, and the weights they end in are
fine-tuned by steps of their own; both kinds of step have learned sizes.

Source: Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero, Hadsell 2019, arXiv:1807.05960, Algorithm 1, section 2.3, and
for LeoRegression section 5.1; where the paper is silent, the authors' code: no biases, relations pass three layers,
penalties are means over their entries.
Deviations, everywhere: adapting takes means; training samples, by noise drawn from a generator that the support rows
themselves seed, so that equal episodes have equal gradients. A spread starts at ``CODE_SD`` or ``PARAMETER_SD`` and is
always positive (the code has exp(raw) - 1 + a start, cut at 0). One code stands for a class (the code has K copies),
its divergence from the prior is exact (theirs is sampled), no dropout. The inner loss is a mean over rows where theirs
is a sum: their step 1 is n_support here. Step sizes are learned in units of where they start, see ``SCALE``. The
network that makes representations is learned with the rest (theirs was trained beforehand and fixed). Partners of a
relation are averaged class by class, so that how many of each were posted says nothing; a class without rows has the
code 0. On credit, where a theta knows all but what is special to a market: the decoded head is added to theta's own, as
(w_1 - w_0) for the one logit; a code decodes the heads of all members, laid out as ``represent`` is, and the linear
part that they share; the relation network's last layer starts at 0, so that a theta fresh from pooled rows adapts from
its own head, not from chance.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from meta.functional import inner_loop, inner_step, per_task, task_losses
from meta.learners.protocol import NET, OuterGradient, meta_gradient, under
from meta.losses import row_weights
from meta.nets import Ensemble, Mlp, Network
from meta.types import Episode, LabelledRows, LossFn, Params, SupportSet

SCALE = 10.0  # learned step sizes are kept so small that an outer step of 0.001 changes them by about one percent
CODE_SD = 0.1
PARAMETER_SD = 0.01
DECODER_START = 0.1  # of LeoRegression: at full size a code's step moves all weights at once, and curves jump
PAIRS_AT_ONCE = 2**18  # rows of a large support meet in pieces: bounds memory only
MAX_PARTNERS = 256  # of each class


class Noise(NamedTuple):
    """Normal: code (n_tasks, n_codes, n_latents), parameters (inner_steps + 1, n_tasks, n_codes, n_decoded)."""

    code: Tensor
    parameters: Tensor


class Gaussian(NamedTuple):
    """Independent normals: mean and sd of one shape."""

    mean: Tensor
    sd: Tensor

    def sample(self, noise: Tensor | None) -> Tensor:
        return self.mean if noise is None else self.mean + self.sd * noise

    def divergence(self) -> Tensor:
        """Mean over entries of KL(self || N(0, 1)), in nats."""
        return 0.5 * (self.sd.square() + self.mean.square() - 1.0 - 2.0 * self.sd.log()).mean()


class Walk(NamedTuple):
    """Where an inner loop went: the code's distribution, z, z' after the latent steps, the fine-tuned parameters."""

    code: Gaussian
    start: Tensor
    end: Tensor
    decoded: Tensor


@dataclass(frozen=True)
class Leo:
    """theta holds ``net.*`` (weights; of an Mlp without its head, which is decoded), ``encoder.*``, ``relation.*``,
    ``decoder.*`` and ``lr.latent`` (n_latents,), ``lr.finetuning`` (n_decoded,): sizes / where they start / SCALE.

    theta_prime: the network's weights. ``inner_lr`` and ``inner_steps`` are of the latent loop. The weights of the
    penalties are beta, gamma, lambda_1 and lambda_2 of the paper, with the authors' values for miniImageNet.
    """

    network: Network
    loss_fn: LossFn
    inner_lr: float
    inner_steps: int
    n_latents: int = 64
    finetuning_lr: float = 0.001
    finetuning_steps: int = 5
    kl_weight: float = 1e-3
    encoder_weight: float = 1e-9
    l2_weight: float = 1e-8
    orthogonality_weight: float = 1e-3
    first_order: bool = False

    @property
    def n_codes(self) -> int:
        return self.network.n_outputs if isinstance(self.network, Mlp) else 2

    @property
    def n_decoded(self) -> int:
        """How many numbers a code decodes to: one for all that the head reads."""
        return self.network.n_represented + (self.network.n_inputs if isinstance(self.network, Ensemble) else 0)

    def init(self, generator: torch.Generator) -> Params:
        return self.start_from(self.network.init(generator), generator)

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        z, on_credit = self.n_latents, isinstance(self.network, Ensemble)
        theta = {f"net.{n}": v for n, v in weights.items() if on_credit or n not in self.network.head}
        theta |= _layers("encoder", (self.n_decoded, z), generator)
        theta |= _layers("relation", (2 * z,) * 4, generator)
        theta |= _layers("decoder", (z, 2 * self.n_decoded), generator) | self._first_step_sizes()
        if on_credit:
            theta["relation.w2"] = torch.zeros_like(theta["relation.w2"])
        like = next(iter(weights.values()))
        return {name: value.to(like) for name, value in theta.items()}

    def _first_step_sizes(self) -> Params:
        sizes = {"lr.latent": self.n_latents, "lr.finetuning": self.n_decoded}
        return {name: torch.full((size,), 1.0 / SCALE) for name, size in sizes.items()}

    def informed_by(self, theta: Params, prior: Mapping[str, Tensor]) -> Params:
        return theta

    def at_rest(self, theta: Params) -> Params:
        weights = under(NET, theta)
        if isinstance(self.network, Ensemble):
            return weights
        like = theta["decoder.w0"].new_zeros(())
        return weights | self._placed(theta, like.expand(self.n_codes, self.n_decoded))

    def adapt(self, theta: Params, support: SupportSet) -> Params:
        walk = self._walk(theta, support, None, first_order=True)
        with torch.no_grad():
            return per_task(self.at_rest(theta), len(support.x)) | self._placed(theta, walk.decoded)

    def predict(self, theta_prime: Params, x: Tensor) -> Tensor:
        return self.network.readout(self.network.forward(theta_prime, x))

    def outer_grad(self, theta: Params, episode: Episode) -> OuterGradient:
        """Differentiate the query's loss after both loops, plus the penalties."""
        noise = self._noise(episode.support)

        def meta_loss(start: Params) -> Tensor:
            walk = self._walk(start, episode.support, noise, first_order=self.first_order)
            query = replace(episode.query, x=self._read(start, episode.query.x))
            losses = task_losses(self._outputs, {"decoded": walk.decoded}, query, self.loss_fn)
            return losses.mean() + self.penalties(start, walk)

        return meta_gradient(meta_loss, theta)

    def penalties(self, theta: Params, walk: Walk) -> Tensor:
        """The terms besides the query's loss: how far codes are from their prior, and z from the z' that it became
        (which is held still: the encoder is to learn from it), and the penalty R of large weights and of decoder rows
        that are alike, by their correlations.
        """
        matrices = [v for n, v in theta.items() if n.startswith(("encoder.w", "relation.w", "decoder.w"))]
        rows = F.normalize(theta[max(name for name in theta if name.startswith("decoder.w"))], dim=-1)
        alike = rows @ rows.mT - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
        return (
            self.kl_weight * walk.code.divergence()
            + self.encoder_weight * (walk.end.detach() - walk.start).square().mean()
            + self.l2_weight * torch.stack([matrix.square().sum() for matrix in matrices]).sum()
            + self.orthogonality_weight * alike.square().mean()
        )

    def _walk(self, theta: Params, support: SupportSet, noise: Noise | None, *, first_order: bool) -> Walk:
        """Encode the support, step in the space of codes, decode, fine-tune."""
        rows = replace(support, x=self._read(theta, support.x))
        code = self.code(theta, rows)
        z = start = code.sample(None if noise is None else noise.code)
        for step in range(self.inner_steps):

            def through_decoder(fast: Params, x: Tensor, step: int = step) -> Tensor:
                return self._outputs({"decoded": self._decode(theta, fast["z"], noise, step)}, x)

            size = {"z": theta["lr.latent"] * (SCALE * self.inner_lr)}
            z = inner_step(
                {"z": z},
                rows,
                forward=through_decoder,
                loss_fn=self.loss_fn,
                inner_lr=size,
                first_order=first_order,
            )["z"]
        decoded = inner_loop(
            {"decoded": self._decode(theta, z, noise, self.inner_steps)},
            rows,
            forward=self._outputs,
            loss_fn=self.loss_fn,
            inner_lr={"decoded": theta["lr.finetuning"] * (SCALE * self.finetuning_lr)},
            inner_steps=self.finetuning_steps,
            first_order=first_order,
        )["decoded"]
        return Walk(code, start, z, decoded)

    def code(self, theta: Params, rows: LabelledRows) -> Gaussian:
        """Distribution of z, (n_tasks, n_codes, n_latents): the mean relation of a class's rows to all others."""
        shares = self._shares(rows)
        codes = _through(theta, "encoder", self._coded(rows))
        mean, raw = _relations(theta, codes, shares, *_partners(codes, shares)).chunk(2, dim=-1)
        return Gaussian(mean, _spread(CODE_SD, raw))

    def _decode(self, theta: Params, z: Tensor, noise: Noise | None, step: int) -> Tensor:
        mean, raw = _through(theta, "decoder", z).chunk(2, dim=-1)
        return Gaussian(mean, _spread(PARAMETER_SD, raw)).sample(None if noise is None else noise.parameters[step])

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # a checksum and a generator are no tensors
    def _noise(self, support: SupportSet) -> Noise:
        """Draw what the episode samples by; the generator is seeded by the support's rows, padding aside."""
        rows = torch.cat([support.x, support.y.unsqueeze(-1)], -1)[support.mask > 0].cpu()
        generator = torch.Generator().manual_seed(zlib.crc32(rows.numpy().tobytes()))
        like, shape = support.x, (len(support.x), self.n_codes)
        code = torch.randn((*shape, self.n_latents), generator=generator).to(like)
        decoded = torch.randn((self.inner_steps + 1, *shape, self.n_decoded), generator=generator).to(like)
        return Noise(code, decoded)

    def _read(self, theta: Params, x: Tensor) -> Tensor:
        """What the decoded head reads of rows; on credit the outputs of theta's own head stand behind it."""
        weights = under(NET, theta)
        read = self.network.represent(weights, x)
        if isinstance(self.network, Ensemble):
            read = torch.cat([read, x], dim=-1)
            return torch.cat([read, read @ _columns(weights["head_w"], weights["wide"]) + weights["head_b"]], dim=-1)
        return read

    def _coded(self, rows: LabelledRows) -> Tensor:
        """What the encoder reads of rows that went through ``_read``."""
        return rows.x[..., : self.n_decoded]

    def _shares(self, rows: LabelledRows) -> Tensor:
        """What each row adds to the mean of each code, (n_tasks, n_codes, n_rows)."""
        classes = torch.arange(self.n_codes, device=rows.y.device).unsqueeze(-1)
        return row_weights((rows.y.unsqueeze(-2) == classes) * rows.mask.unsqueeze(-2))

    def _outputs(self, fast: Params, read: Tensor) -> Tensor:
        """Outputs of decoded heads (n_tasks, n_codes, n_decoded) for rows that went through ``_read``."""
        decoded = fast["decoded"]
        if not isinstance(self.network, Ensemble):
            return read @ decoded.mT
        return read[..., self.n_decoded :] + read[..., : self.n_decoded] @ _columns(*self._between(decoded))

    def _placed(self, theta: Params, decoded: Tensor) -> Params:
        """Put decoded heads (..., n_codes, n_decoded) where the network has its own."""
        if isinstance(self.network, Ensemble):
            head, wide = self._between(decoded)
            return {"head_w": theta["net.head_w"] + head, "wide": theta["net.wide"] + wide}
        w, b = self.network.head
        return {w: decoded.mT, b: torch.zeros_like(decoded[..., 0])}

    def _between(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """w_1 - w_0 as an ensemble lays it out: (n_tasks, n_members, sum of widths) and (n_tasks, n_inputs)."""
        assert isinstance(self.network, Ensemble)
        between = decoded[:, 1] - decoded[:, 0]
        n = self.network.n_represented
        return between[:, :n].reshape(len(between), self.network.n_members, -1), between[:, n:]


@dataclass(frozen=True)
class LeoRegression(Leo):
    """One code for a task, read off its (x, y) pairs, and decoded to every weight of a small Mlp.

    theta has no ``net.*``: the decoder's last biases start where the network does, so a code of 0 decodes to it at
    first. Encoder and decoder have ``n_hidden`` hidden units and biases: few inputs tell too little by products alone.
    """

    n_hidden: int = 64

    @property
    def n_codes(self) -> int:
        return 1

    @property
    def n_decoded(self) -> int:
        return sum(math.prod(shape) for shape in self._shapes().values())

    def start_from(self, weights: Params, generator: torch.Generator) -> Params:
        z, hidden = self.n_latents, self.n_hidden
        flat = torch.cat([weights[name].flatten() for name in self._shapes()])
        theta = _layers("encoder", (self.network.n_inputs + 1, hidden, hidden, z), generator, biases=True)
        theta |= _layers("relation", (2 * z,) * 4, generator)
        theta |= _layers("decoder", (z, hidden, 2 * self.n_decoded), generator, biases=True)
        theta["decoder.w1"] *= DECODER_START
        theta |= {"decoder.b1": torch.cat([flat, torch.zeros_like(flat)])} | self._first_step_sizes()
        return {name: value.to(flat) for name, value in theta.items()}

    def at_rest(self, theta: Params) -> Params:
        """What the prior's mean decodes to."""
        nothing = theta["lr.latent"].new_zeros(1, self.n_latents)
        return self._placed(theta, self._decode(theta, nothing, None, 0))

    def _read(self, theta: Params, x: Tensor) -> Tensor:
        return x

    def _coded(self, rows: LabelledRows) -> Tensor:
        return torch.cat([rows.x, rows.y.unsqueeze(-1)], dim=-1)

    def _shares(self, rows: LabelledRows) -> Tensor:
        return row_weights(rows.mask).unsqueeze(-2)

    def _outputs(self, fast: Params, read: Tensor) -> Tensor:
        return self.network.forward(self._placed(fast, fast["decoded"]), read)

    def _placed(self, theta: Params, decoded: Tensor) -> Params:
        shapes = self._shapes()
        pieces = torch.split(decoded.squeeze(-2), [math.prod(shape) for shape in shapes.values()], dim=-1)
        return {n: piece.reshape(*piece.shape[:-1], *shapes[n]) for n, piece in zip(shapes, pieces, strict=True)}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the weights that a code decodes to."""
        assert isinstance(self.network, Mlp)
        sizes = (self.network.n_inputs, *self.network.widths, self.network.n_outputs)
        layers = enumerate(pairwise(sizes))
        return {name: shape for i, (a, b) in layers for name, shape in ((f"w{i}", (a, b)), (f"b{i}", (b,)))}


def _layers(name: str, sizes: tuple[int, ...], generator: torch.Generator, biases: bool = False) -> Params:
    """Draw the matrices ``name``.w0, w1 ... (Glorot & Bengio 2010, uniform); biases start at 0."""
    found: Params = {}
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        bound = math.sqrt(6.0 / (fan_in + fan_out))
        found[f"{name}.w{layer}"] = (torch.rand((fan_in, fan_out), generator=generator) * 2 - 1) * bound
        if biases:
            found[f"{name}.b{layer}"] = torch.zeros(fan_out)
    return found


def _through(theta: Params, name: str, x: Tensor) -> Tensor:
    """Pass the layers of ``name``, ReLUs between them."""
    n_layers = sum(key.startswith(f"{name}.w") for key in theta)
    for layer in range(n_layers):
        x = (F.relu(x) if layer else x) @ theta[f"{name}.w{layer}"]
        x = x + theta[f"{name}.b{layer}"] if f"{name}.b{layer}" in theta else x
    return x


def _spread(start: float, raw: Tensor) -> Tensor:
    """Positive, ``start`` where the network says 0, and in proportion to what it says where that is large."""
    return F.softplus(raw) * (start / math.log(2.0))


def _columns(heads: Tensor, wide: Tensor) -> Tensor:
    """An ensemble's head as one matrix (..., n_read, n_members): a column reads its member's units and all inputs.

    heads (..., n_members, sum of widths), wide (..., n_inputs).
    """
    n_members = heads.shape[-2]
    members = torch.eye(n_members, dtype=heads.dtype, device=heads.device).unsqueeze(1)
    own = (heads.unsqueeze(-1) * members).flatten(-3, -2)
    return torch.cat([own, wide.unsqueeze(-1).expand(*wide.shape, n_members)], dim=-2)


def _partners(codes: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that every row meets, and their weights: codes (n_tasks, n_partners, n_latents), (n_tasks, n_partners).

    All rows, each class weighing the same; of a class of more than MAX_PARTNERS as many, evenly spaced in the order of
    their codes' first number, so that neither time grows with the square of the rows nor their order says anything.
    """
    if codes.shape[-2] <= MAX_PARTNERS:
        return codes, row_weights(shares.sum(-2))
    member = shares > 0
    order = codes[..., 0].detach().unsqueeze(-2).masked_fill(~member, math.inf).argsort(-1)
    count, at = member.sum(-1, keepdim=True), torch.arange(MAX_PARTNERS, device=codes.device)
    places = torch.where(count > MAX_PARTNERS, at * count // MAX_PARTNERS, at)
    chosen = order.gather(-1, places).flatten(-2)
    weights = ((at < count) / count.clamp(1, MAX_PARTNERS)).to(codes).flatten(-2)
    return codes.gather(-2, chosen.unsqueeze(-1).expand(-1, -1, codes.shape[-1])), row_weights(weights)


def _relations(theta: Params, codes: Tensor, shares: Tensor, met_codes: Tensor, partners: Tensor) -> Tensor:
    """The relation network's mean over each code's rows and their partners, (n_tasks, n_codes, 2 * n_latents).

    codes (n_tasks, n_rows, n_latents); shares (n_tasks, n_codes, n_rows) of rows in codes; met_codes, partners: what
    ``_partners`` gives. The first layer is applied to both sides of a pair before they meet, the last one to the mean.
    """
    sides = theta["relation.w0"].chunk(2)
    left, right = codes @ sides[0], met_codes @ sides[1]
    at_once = max(1, PAIRS_AT_ONCE // max(1, partners.numel()))
    met = [
        torch.einsum(
            "tijh,tj->tih",
            F.relu(F.relu(part.unsqueeze(-2) + right.unsqueeze(-3)) @ theta["relation.w1"]),
            partners,
        )
        for part in torch.split(left, at_once, dim=-2)
    ]
    return shares @ torch.cat(met, dim=-2) @ theta["relation.w2"]
