"""MIWAE as a rival: a deep latent-variable model of the rows, fitted to what is known, that imputes by importance.

Source:  Mattei & Frellsen 2019, arXiv:1812.02633: the bound of Equation 4, imputation by self-normalised importance
         sampling (Equation 13), Student's t decoder with scale and degrees of freedom of each column, missing values
         read as 0. Columns of numbers, standardised; a table with categories is read as numbers in one-hot coding, its
         flags served clipped to [0, 1] and divided by their sum.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Independent, Normal, StudentT

from meta.errors import TrainingDiverged
from meta.imputers import Layout

FloatArray = NDArray[np.float64]
WIDTH, LATENT = 128, 10
N_EPOCHS, MOST_STEPS, BATCH = 100, 8000, 64
N_TAUGHT, N_SERVED = 20, 100  # importance samples
LEAST_SCALE, LEAST_FREEDOM = 1e-3, 3.0
ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Miwae:
    """A fitted model; ``center``, ``scale`` (sum of layout.widths,)."""

    layout: Layout
    encoder: nn.Module
    decoder: nn.Module
    center: Tensor
    scale: Tensor
    low: FloatArray
    high: FloatArray

    def fill(self, values: FloatArray) -> FloatArray:
        return self.layout.decide(self.expected(values))

    def expected(self, values: FloatArray) -> FloatArray:
        """Importance-weighted means of what is missing, in one-hot coding."""

        def mean(log_weights: Tensor, answer: Independent, _: Tensor) -> Tensor:
            return torch.einsum("sn,snd->nd", torch.softmax(log_weights, 0), answer.base_dist.mean)

        coded = self.layout.one_hot(values)
        found = self._served(coded, np.zeros((len(coded), 1)), mean)
        return self._proper(np.where(np.isnan(coded), found, coded))

    def draw(self, values: FloatArray, uniforms: FloatArray) -> FloatArray:
        """Sampling importance resampling: one latent code by its weight, then one row from its decoder."""

        def one(log_weights: Tensor, answer: Independent, luck: Tensor) -> Tensor:
            reached = torch.softmax(log_weights, 0).cumsum(0)
            chosen = (luck[None, :, 0] > reached).sum(0).clamp(max=len(reached) - 1)
            base = answer.base_dist
            rows = torch.arange(luck.shape[0])
            return StudentT(base.df[chosen, rows], base.loc[chosen, rows], base.scale[chosen, rows]).sample()

        coded = self.layout.one_hot(values)
        drawn = []
        for luck in np.broadcast_to(uniforms, (len(uniforms), *values.shape)):
            found = np.clip(self._served(coded, luck[:, :1], one), self.low, self.high)
            drawn.append(self.layout.decide(self._proper(np.where(np.isnan(coded), found, coded))))
        return np.stack(drawn)

    def _proper(self, coded: FloatArray) -> FloatArray:
        """Flags of a field within 0 and 1, adding up to 1."""
        start = 0
        for n in self.layout.n_categories:
            width = max(1, n)
            if n:
                flags = np.clip(coded[:, start : start + n], 1e-6, 1.0)
                coded[:, start : start + n] = flags / flags.sum(axis=1, keepdims=True)
            start += width
        return coded

    @torch.no_grad()
    def _served(
        self, coded: FloatArray, luck: FloatArray, answer: Callable[[Tensor, Independent, Tensor], Tensor]
    ) -> FloatArray:
        torch.manual_seed(0)
        found = []
        for start in range(0, len(coded), ROWS_AT_ONCE):
            piece = torch.from_numpy(coded[start : start + ROWS_AT_ONCE]).float()
            known = ~torch.isnan(piece)
            x = torch.where(known, (piece - self.center) / self.scale, 0.0)
            log_weights, decoded = _weigh(self.encoder, self.decoder, x, known, N_SERVED)
            told = answer(log_weights, decoded, torch.from_numpy(luck[start : start + ROWS_AT_ONCE].copy()).float())
            found.append((told * self.scale + self.center).double().numpy())
        return np.concatenate(found)


def fit_miwae(layout: Layout, values: FloatArray, seed: int) -> Miwae:
    """Fit on source rows (n_rows, n_columns), NaN where unknown. Raises TrainingDiverged."""
    shown = layout.one_hot(values)
    coded = torch.from_numpy(shown).float()
    known = ~torch.isnan(coded)
    zeroed = torch.where(known, coded, 0.0)
    n_known = known.sum(0).clamp(min=1)
    center = zeroed.sum(0) / n_known
    scale = ((((zeroed - center) ** 2) * known).sum(0) / n_known).sqrt().clamp(min=1e-6)
    x = torch.where(known, (coded - center) / scale, 0.0)
    torch.manual_seed(seed)
    encoder, decoder = _network(x.shape[1], 2 * LATENT), _network(LATENT, 3 * x.shape[1])
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    for step in range(min(MOST_STEPS, N_EPOCHS * len(x) // BATCH)):
        rows = torch.randint(len(x), (BATCH,))
        log_weights, _ = _weigh(encoder, decoder, x[rows], known[rows], N_TAUGHT)
        loss = -(torch.logsumexp(log_weights, 0) - np.log(N_TAUGHT)).mean()
        if not torch.isfinite(loss):
            raise TrainingDiverged(f"MIWAE's bound is not finite at step {step + 1}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return Miwae(layout, encoder, decoder, center, scale, np.nanmin(shown, 0), np.nanmax(shown, 0))


def _network(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_out))


def _weigh(
    encoder: nn.Module, decoder: nn.Module, x: Tensor, known: Tensor, n_samples: int
) -> tuple[Tensor, Independent]:
    """Log importance weights (n_samples, n_rows) and the decoder's distributions of whole rows."""
    location, spread = encoder(x).chunk(2, dim=-1)
    proposal = Independent(Normal(location, nn.functional.softplus(spread) + 1e-4), 1)
    code = proposal.rsample((n_samples,))
    mean, scale, freedom = decoder(code).chunk(3, dim=-1)
    scale = nn.functional.softplus(scale) + LEAST_SCALE
    answer = Independent(StudentT(nn.functional.softplus(freedom) + LEAST_FREEDOM, mean, scale), 1)
    likelihood = (answer.base_dist.log_prob(x) * known).sum(-1)
    prior = Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1).log_prob(code)
    return likelihood + prior - proposal.log_prob(code), answer
