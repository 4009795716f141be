"""GAIN: a generator fills the gaps, a discriminator guesses which entries are fills, and a hint keeps it honest.

Names are the paper's: data vector x, mask m (1 = observed), noise z, hint h with b (1 = revealed); generator G and
discriminator D, here as logits of its m_hat.

Source: Yoon, Jordon & van der Schaar 2018, arXiv:1806.02920, Algorithm 1 and Equations 2 to 9; sizes, rates and the
        noise U(0, 0.01) are those of the authors' program (github.com/jsyoon0823/GAIN).
Deviations: losses from logits, where the program takes log(p + 1e-8) of a saturated sigmoid and can reach NaN. A
        category is one-hot, every flag of it missing at once, where paper and program have columns that go missing one
        by one; so b is drawn by field and not by column (a revealed flag would tell D of its siblings, and G gives
        up), and the flags served are divided by their sum. Columns never seen keep 0. The program differs from its
        paper in three ways, which ``conventions="reference"`` follows: the hint is 0 and not a half where nothing is
        revealed, each entry is revealed with probability ``hint_rate`` where the paper hides one entry a row, and both
        losses are means over all entries where the paper sums those not revealed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import softplus

from meta.errors import InvalidColumns, TrainingDiverged
from meta.imputers.collapse import collapsed_columns
from meta.imputers.fixed_point import input_grid, weight_grid
from meta.imputers.protocol import never_seen
from meta.imputers.table import Layout
from meta.imputers.typical import fit_typical
from meta.threads import one_thread
from meta.types import Params

FloatArray = NDArray[np.float64]
Conventions = Literal["paper", "reference"]
NOISE = 0.01
FLAT = 700.0  # logits beyond which exp would overflow; a sigmoid is 0 or 1 long before
COLUMNS = ("low", "scale", "mean", "collapsed")


@dataclass(frozen=True)
class GainSettings:
    """The paper's hyper-parameters; ``hint_rate`` is the reference's alone.

    falls_back: fill collapsed columns with their mean; False leaves the published method as it is.
    """

    conventions: Conventions = "paper"
    n_steps: int = 10_000
    batch_size: int = 128
    alpha: float = 100.0
    hint_rate: float = 0.9
    learning_rate: float = 1e-3
    falls_back: bool = True


@dataclass(frozen=True)
class FittedGain:
    """G as it serves, in NumPy with exact sums; values are scaled to [0, 1] by what source rows showed.

    Shapes:  low, scale (width,): a column's least value, and one over its range; w0 (2 width, width), w1, w2
             (width, width), width being that of one-hot coding; mean (width,), and collapsed (width,): 1 where it is
             filled with instead.
    """

    name: ClassVar[str] = "gain"
    layout: Layout
    low: FloatArray
    scale: FloatArray
    mean: FloatArray
    collapsed: FloatArray
    weights: Mapping[str, NDArray[np.float32]]
    report: Mapping[str, str] = field(default_factory=dict)
    flags_add_up: bool = True  # False: of a theta of before flags were divided by their sum; it fills as it did

    def expected(self, values: FloatArray) -> FloatArray:
        """With the noise at its middle."""
        coded = self.layout.one_hot(values)
        return self._complete(coded, np.full_like(coded, NOISE / 2.0))

    def fill(self, values: FloatArray) -> FloatArray:
        return np.where(np.isnan(values), self.layout.decide(self.expected(values)), values)

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        coded = self.layout.one_hot(values)
        own = np.repeat(np.arange(values.shape[1]), self.layout.widths)
        noise = np.broadcast_to(NOISE * uniforms[..., own], (len(uniforms), *coded.shape))
        drawn = [self.layout.decide(self._complete(coded, z)) for z in noise]
        return np.where(np.isnan(values), np.stack(drawn), values)

    def _complete(self, coded: FloatArray, z: FloatArray) -> FloatArray:
        m = ~np.isnan(coded)
        x = np.where(m, (coded - self.low) * self.scale, z)
        hidden = input_grid(np.concatenate([x, m], axis=1))
        for layer in (0, 1):
            hidden = input_grid(np.maximum(self._linear(hidden, layer), 0.0))
        logits = np.clip(self._linear(hidden, 2), -FLAT, FLAT)
        filled = self.low + 1.0 / (1.0 + np.exp(-logits)) / self.scale
        filled = np.where(self.collapsed > 0, self.mean, filled)
        return np.where(m, coded, self._added_up(filled) if self.flags_add_up else filled)

    def _added_up(self, filled: FloatArray) -> FloatArray:
        """Divide the flags of each field by their sum."""
        starts = np.cumsum([0, *self.layout.widths])
        for start, n in zip(starts, self.layout.n_categories, strict=False):
            if n:
                flags = filled[:, start : start + n]
                total = flags.sum(axis=1, keepdims=True)
                flags /= np.where(total > 0.0, total, 1.0)  # of a category never seen every flag is 0
        return filled

    def _linear(self, x: FloatArray, layer: int) -> FloatArray:
        found: FloatArray = x @ self.weights[f"w{layer}"].astype(np.float64) + self.weights[f"b{layer}"]
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in COLUMNS} | dict(self.weights)

    def settings(self) -> dict[str, Any]:
        return {"report": dict(self.report), "flags_add_up": self.flags_add_up}

    @classmethod
    def restore(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        weights = {name: arrays[name] for layer in range(3) for name in (f"w{layer}", f"b{layer}")}
        low, scale, mean, collapsed = (arrays[name] for name in COLUMNS)
        adds_up = bool(settings.get("flags_add_up", False))
        return cls(layout, low, scale, mean, collapsed, weights, settings["report"], adds_up)


@one_thread()
def fit_gain(layout: Layout, values: FloatArray, seed: int, settings: GainSettings | None = None) -> FittedGain:
    """Play the game on source rows (n_rows, n_columns), NaN where unknown; equal inputs give equal bits on one machine.

    Raises:  InvalidColumns: nothing is known, or nothing is missing, so that there is no game; TrainingDiverged: a loss
             left the finite numbers.
    """
    settings = settings or GainSettings()
    coded = layout.one_hot(values)
    known = ~np.isnan(coded)
    if not known.any():
        raise InvalidColumns("an imputer needs source rows in which something is known")
    if known.all():
        raise InvalidColumns("GAIN learns from gaps, and the source rows have none; choose another imputer")
    seen = known.any(axis=0)
    low = np.where(seen, np.min(coded, axis=0, where=known, initial=np.inf), 0.0)
    span = np.where(seen, np.max(coded, axis=0, where=known, initial=-np.inf), 1.0) - low
    scale = 1.0 / np.where(span > 0, span, 1.0)
    x = np.where(known, (coded - low) * scale, 0.0)
    fields = torch.from_numpy(np.repeat(np.arange(len(layout.names)), layout.widths))
    weights = _play(torch.from_numpy(x).float(), torch.from_numpy(known).float(), fields, settings, seed)
    mean = fit_typical(layout, values).typical
    served = {name: weight_grid(w.numpy()) for name, w in weights.items()}
    fitted = FittedGain(layout, low, scale, mean, np.zeros_like(mean), served)
    faults = never_seen(layout, values) | collapsed_columns(fitted, values) if settings.falls_back else {}
    owners = np.repeat([name in faults for name in layout.names], layout.widths)
    return replace(fitted, collapsed=owners.astype(np.float64), report=faults)


def _play(x: Tensor, m: Tensor, fields: Tensor, settings: GainSettings, seed: int) -> Params:
    """Algorithm 1: a step of D, then a step of G, on mini-batches drawn without replacement."""
    rng = torch.Generator().manual_seed(seed)
    g, d = _xavier(x.shape[1], rng), _xavier(x.shape[1], rng)
    g_steps, d_steps = (torch.optim.Adam(net.values(), settings.learning_rate, fused=True) for net in (g, d))
    for step in range(settings.n_steps):
        rows = _batch(len(x), settings.batch_size, rng)
        z = NOISE * torch.rand(len(rows), x.shape[1], generator=rng)
        x_batch, m_batch = x[rows], m[rows]
        b = revealed(len(rows), fields, settings, rng)
        h = hint(m_batch, b, settings.conventions)

        x_bar = generate(g, x_batch, m_batch, z)
        x_hat = m_batch * x_batch + (1.0 - m_batch) * x_bar
        d_loss = discriminator_loss(judge(d, x_hat.detach(), h), m_batch, b, settings.conventions)
        _descend(d_steps, d_loss)
        # G answers the discriminator as it now is
        fooled, error = generator_losses(judge(d, x_hat, h), x_batch, x_bar, m_batch, b, settings.conventions)
        _descend(g_steps, fooled + settings.alpha * error)
        if step % 100 == 0 and not (torch.isfinite(d_loss) and torch.isfinite(fooled) and torch.isfinite(error)):
            raise TrainingDiverged(f"GAIN's losses are not finite at step {step + 1} of {settings.n_steps}")
    if not all(torch.isfinite(w).all() for w in g.values()):
        raise TrainingDiverged(f"GAIN's weights are not finite after {settings.n_steps} steps")
    return {name: w.detach() for name, w in g.items()}


def revealed(n_rows: int, fields: Tensor, settings: GainSettings, rng: torch.Generator) -> Tensor:
    """b (n_rows, width): 1 where the hint tells D the truth. Equation 4's paper form hides one field a row.

    fields: (width,), ascending from 0, which field of the table a column of one-hot coding belongs to. Flags of a
    category are missing together, so one of them that is revealed would tell D of all the others.
    """
    n_fields = int(fields[-1]) + 1
    if settings.conventions == "reference":
        by_field = (torch.rand((n_rows, n_fields), generator=rng) < settings.hint_rate).float()
    else:
        hidden = torch.randint(n_fields, (n_rows, 1), generator=rng)
        by_field = torch.ones((n_rows, n_fields)).scatter_(1, hidden, 0.0)
    return by_field[:, fields]


def hint(m: Tensor, b: Tensor, conventions: Conventions) -> Tensor:
    """h = b m + 0.5 (1 - b), Equation 4; the reference leaves the second term out."""
    return b * m if conventions == "reference" else b * m + 0.5 * (1.0 - b)


def generate(g: Params, x: Tensor, m: Tensor, z: Tensor) -> Tensor:
    """x_bar = G(x_tilde, m, (1 - m) z), Equation 2, in [0, 1]; every entry, observed ones too."""
    return torch.sigmoid(_network(g, torch.cat([m * x + (1.0 - m) * z, m], dim=1)))


def judge(d: Params, x_hat: Tensor, h: Tensor) -> Tensor:
    """Logits of m_hat = D(x_hat, h), entry by entry."""
    return _network(d, torch.cat([x_hat, h], dim=1))


def discriminator_loss(logits: Tensor, m: Tensor, b: Tensor, conventions: Conventions) -> Tensor:
    """L_D, Equation 7 (its negative: to be minimised), over entries not revealed; a mean over rows."""
    loss = bce(logits, m, reduction="none")
    return loss.mean() if conventions == "reference" else (loss * (1.0 - b)).sum(1).mean()


def generator_losses(
    logits: Tensor, x: Tensor, x_bar: Tensor, m: Tensor, b: Tensor, conventions: Conventions
) -> tuple[Tensor, Tensor]:
    """L_G, Equation 8, with -log m_hat; L_M, Equation 9, squared. The reference's are means, L_M's over observed."""
    fooled = softplus(-logits) * (1.0 - m)
    error = m * (x - x_bar) ** 2
    if conventions == "reference":
        return fooled.mean(), error.mean() / m.mean()
    return (fooled * (1.0 - b)).sum(1).mean(), error.sum(1).mean()


def _network(net: Params, x: Tensor) -> Tensor:
    x = torch.relu(x @ net["w0"] + net["b0"])
    x = torch.relu(x @ net["w1"] + net["b1"])
    return x @ net["w2"] + net["b2"]


def _xavier(width: int, rng: torch.Generator) -> Params:
    """Three layers as wide as the data; normal with variance 1 / (n_inputs / 2), as the program has it."""
    shapes = {"w0": (2 * width, width), "w1": (width, width), "w2": (width, width)}
    net = {name: torch.randn(*shape, generator=rng) * (2.0 / shape[0]) ** 0.5 for name, shape in shapes.items()}
    net |= {f"b{layer}": torch.zeros(width) for layer in range(3)}
    return {name: value.requires_grad_() for name, value in net.items()}


def _batch(n_rows: int, size: int, rng: torch.Generator) -> Tensor:
    return torch.randperm(n_rows, generator=rng)[:size]


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
