"""A market's model as it serves: PDs with intervals and reasons, from stored weights, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meta.checkpoint import unpack_arrays
from meta.errors import CorruptArtifact
from meta.explain import Breakdown, explain
from meta.features import Encoder
from meta.inference import EnsembleForward, FloatArray, Weights
from meta.posterior import REACH, Posterior
from meta.thetas import Theta, require_kind


@dataclass(frozen=True)
class PdInterval:
    """PDs (n_rows,) and the ends of their 90 % intervals."""

    pd: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class ServedModel:
    """A theta's encoder and a theta_prime's weights, ready to score.

    Shapes:  weights: the network's (see ``EnsembleForward``), ``level`` (1,), and where the learner moves them
             ``scale``, ``shift`` (1,) and ``slope`` (n_features,); reference (n_features,), encoded.
    """

    encoder: Encoder
    forward: EnsembleForward
    posterior: Posterior
    reference: NDArray[np.float32]

    def pd(self, columns: Mapping[str, Any]) -> FloatArray:
        """Probabilities of default, one a row; the same bits alone and in any batch."""
        return _pd(self.logits(self.encoder.encode(columns)))

    def pd_interval(self, columns: Mapping[str, Any]) -> PdInterval:
        """PDs with 90 % intervals; the same bits alone and in any batch."""
        x = self.encoder.encode(columns)
        network = self.forward.logits(x)
        logits = self._moved(network, x)
        reach = REACH * self.posterior.logit_sd(network, x)
        return PdInterval(_pd(logits), _pd(logits - reach), _pd(logits + reach))

    def mean_pd_interval(self, columns: Mapping[str, Any]) -> tuple[float, float]:
        """The 90 % interval of the mean PD over these rows: how sure the market's level is, accounts aside."""
        x = self.encoder.encode(columns)
        network = self.forward.logits(x)
        logits = self._moved(network, x)
        mean, reach = float(_pd(logits).mean()), REACH * self.posterior.mean_pd_sd(network, x, logits)
        center = np.log(mean) - np.log1p(-mean)
        low, high = _pd(np.array([center - reach, center + reach]))
        return float(low), float(high)

    def explain(self, columns: Mapping[str, Any]) -> list[Breakdown]:
        """Each row's logit taken apart by columns, numeric ones first, against the reference account."""
        return explain(self.logits, self.encoder.encode(columns), self.reference, self.encoder.column_of_slot)

    def logits(self, x: NDArray[np.float32]) -> FloatArray:
        """Score encoded rows (n_rows, n_features) to logits (n_rows,)."""
        return self._moved(self.forward.logits(x), x)

    def _moved(self, network: FloatArray, x: NDArray[np.float32]) -> FloatArray:
        """Add the market's effects and level to the network's logits."""
        w = self.forward.weights
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
    at_rest = {name: value.numpy() for name, value in theta.at_rest().items()}
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
    forward = EnsembleForward(weights, len(theta.settings.widths))
    return ServedModel(theta.encoder, forward, posterior, theta.profiles.reference_row(theta.encoder))


def _shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in weights.items()}


def _pd(logits: FloatArray) -> FloatArray:
    pd: FloatArray = np.exp(-np.logaddexp(0.0, -logits))
    return pd
