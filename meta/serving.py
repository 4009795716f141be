"""A market's model as it serves: PDs with intervals and reasons, from stored weights.

Without torch where a theta_prime is weights of the network and effects of the market; a learner that keeps more is
asked itself, row by row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from meta.checkpoint import unpack_arrays
from meta.errors import CorruptArtifact
from meta.explain import Breakdown, explain
from meta.inference import EnsembleForward, FloatArray, Weights
from meta.learners.map_bayes import EFFECTS
from meta.learners.protocol import OWN, SEEN
from meta.posterior import REACH, Posterior
from meta.reading import Accounts, Reading
from meta.row_by_row import RowByRow
from meta.thetas import Theta, require_kind
from meta.types import Params


class Forward(Protocol):
    """Encoded rows (n_rows, n_features) -> logits (n_rows,), each row's bits the same alone and in any batch."""

    def logits(self, x: NDArray[np.float32]) -> FloatArray: ...


@dataclass(frozen=True)
class PdInterval:
    """PDs (n_rows,) and the ends of their 90 % intervals."""

    pd: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Scored:
    """PDs (n_rows,) and what their intervals are made of: the mean logit over what a row may be, and its standard
    deviations over that (``missing_sd``) and over what the market may be (``market_sd``).

    How far an account's PD may lie from the served one, once the missing values are known, is what the network says of
    draws of them; and a market's own slopes matter for draws, where they hardly do for expected values.
    """

    pd: FloatArray
    center: FloatArray
    market_sd: FloatArray
    missing_sd: FloatArray


@dataclass(frozen=True)
class ServedModel:
    """A theta's reading of accounts and a theta_prime's weights, ready to score.

    Where theta carries an imputer, an account with gaps is scored by what is expected to stand there, which is how the
    network learned; its interval also allows for what else may.

    Shapes:  effects: ``level`` (1,), and where the learner moves them ``scale``, ``shift`` (1,) and ``slope``
             (n_features,), all of which ``forward`` knows nothing of; reference (n_features,), encoded.
    """

    reading: Reading
    forward: Forward
    effects: Weights
    posterior: Posterior
    reference: NDArray[np.float32]

    def pd(self, columns: Mapping[str, Any]) -> FloatArray:
        """Probabilities of default, one a row; the same bits alone and in any batch."""
        return _pd(self.logits(self.reading.encode(columns)))

    def pd_interval(self, columns: Mapping[str, Any]) -> PdInterval:
        """PDs with 90 % intervals; the same bits alone and in any batch."""
        scored = self._score(self.reading.read(columns))
        low, high = self.posterior.interval_around(scored.center, scored.market_sd, scored.missing_sd)
        return PdInterval(scored.pd, _pd(low), _pd(high))

    def mean_pd_interval(self, columns: Mapping[str, Any]) -> tuple[float, float]:
        """The 90 % interval of the mean PD over these rows: how sure the market's level is, accounts aside."""
        x = self.reading.encode(columns)
        network = self.forward.logits(x)
        logits = self._moved(network, x)
        mean, reach = float(_pd(logits).mean()), REACH * self.posterior.mean_pd_sd(network, x, logits)
        center = np.log(mean) - np.log1p(-mean)
        return float(_pd(np.array(center - reach))), float(_pd(np.array(center + reach)))

    def explain(self, columns: Mapping[str, Any]) -> list[Breakdown]:
        """Each row's logit taken apart by columns, numeric ones first, against the reference account."""
        return explain(self.logits, self.reading.encode(columns), self.reference, self.reading.encoder.column_of_slot)

    def logits(self, x: NDArray[np.float32]) -> FloatArray:
        """Score encoded rows (n_rows, n_features) to logits (n_rows,)."""
        return self._moved(self.forward.logits(x), x)

    def filled(self, columns: Mapping[str, Any]) -> list[list[str]]:
        """Name, for each row, the columns that were filled, in the encoder's order."""
        names = self.reading.layout.names
        return [[names[i] for i in np.flatnonzero(row)] for row in self.reading.filled(columns)]

    def _score(self, accounts: Accounts) -> Scored:
        """Score rows as they are filled, and those with gaps over again for each draw."""
        x, gapped = accounts.x, accounts.gapped
        network = self.forward.logits(x)
        center, market_sd = self._moved(network, x), self.posterior.logit_sd(network, x)
        pd, missing_sd = _pd(center), np.zeros(len(center))
        if len(gapped):
            shape, rows = accounts.whole.shape[:2], accounts.whole.reshape(-1, x.shape[1])
            network = self.forward.logits(rows)
            # sums along rows, of one length: the same bits whatever rows are asked for beside
            logits = self._moved(network, rows).reshape(shape)
            center[gapped] += logits.mean(axis=1) - _logit(_pd(logits).mean(axis=1))
            # Rubin 1987, Equation 3.1.5: between draws, and what so few of them leave unknown
            missing_sd[gapped] = logits.std(axis=1, ddof=1) * np.sqrt(1.0 + 1.0 / shape[1])
            variance = self.posterior.logit_sd(network, rows).reshape(shape) ** 2
            market_sd[gapped] = np.sqrt(variance.mean(axis=1))
        return Scored(pd, center, market_sd, missing_sd)

    def _moved(self, network: FloatArray, x: NDArray[np.float32]) -> FloatArray:
        """Add the market's effects and level to the network's logits."""
        w = self.effects
        level = float(w["level"][0])
        if "slope" not in w:
            return network + level
        # a sum along each row: its order depends on the number of features alone
        tilt = (x * w["slope"]).sum(axis=1, dtype=np.float64)
        moved: FloatArray = network * (1.0 + float(w["scale"][0])) + tilt + float(w["shift"][0]) + level
        return moved


def serve(theta: Theta, theta_sha256: str, theta_prime: tuple[bytes, str] | None) -> ServedModel:
    """Prepare scoring with (content, sha256) of a theta_prime, or with theta at rest.

    Raises:  CorruptArtifact: a byte has changed, or the weights came from another theta or network.
    """
    at_rest = _arrays(theta.at_rest())
    weights, posterior = at_rest, theta.posterior_at_rest()
    if theta_prime is not None:
        stored, metadata = unpack_arrays(*theta_prime)
        require_kind(metadata, "theta_prime")
        if metadata["theta_sha256"] != theta_sha256:
            raise CorruptArtifact(f"theta_prime came from theta {metadata['theta_sha256']}, not from {theta_sha256}")
        root = stored.pop("posterior.root", np.empty(0, np.float32))
        if _shapes(stored) != _shapes(at_rest) or root.shape != posterior.root.shape:
            raise CorruptArtifact("theta_prime does not have the tensors of its theta's network")
        weights, posterior = stored, Posterior(theta.effects, root)
    return served_model(theta, weights, posterior)


def served_model(theta: Theta, weights: Weights, posterior: Posterior) -> ServedModel:
    """Prepare scoring with a theta_prime's tensors, ``level`` among them, as NumPy arrays."""
    apart = {"level", *EFFECTS}
    effects = {name: value for name, value in weights.items() if name in apart}
    network = {name: value for name, value in weights.items() if name not in apart}
    reference = theta.profiles.reference_row(theta.reading)
    return ServedModel(theta.reading, _forward_of(theta, network), effects, posterior, reference)


def _forward_of(theta: Theta, weights: Weights) -> Forward:
    """Serve network weights in NumPy; what else a learner keeps needs the learner itself, unless it adds nothing."""
    keeps_more = any(name.startswith((OWN, SEEN)) for name in weights)
    if keeps_more and not (weights["share"] == 0.0).all():
        return RowByRow(theta.learner(), {name: torch.from_numpy(value) for name, value in weights.items()})
    return EnsembleForward(weights, len(theta.settings.widths))


def _arrays(tensors: Params) -> dict[str, NDArray[Any]]:
    return {name: value.numpy() for name, value in tensors.items()}


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Shapes by name; how many rows a support left behind is no trait of the network."""
    return {name: value.shape[1:] if name.startswith(SEEN) else value.shape for name, value in weights.items()}


def _logit(pd: FloatArray) -> FloatArray:
    logits: FloatArray = np.log(pd) - np.log1p(-pd)
    return logits


def _pd(logits: FloatArray) -> FloatArray:
    pd: FloatArray = np.exp(-np.logaddexp(0.0, -logits))
    return pd
