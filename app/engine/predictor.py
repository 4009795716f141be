"""Stored weights -> PDs. Loads once, checks everything, then scores in NumPy alone."""

import numpy as np
from numpy.typing import NDArray

from app.domain.schema import FeatureSchema
from app.engine.adapter import load_theta
from app.engine.contract import Artifact, FeatureColumns
from meta.thetas import serve


class Predictor:
    """One market's model, or theta at rest where ``theta_prime`` is None.

    Raises:  CorruptArtifact: a byte of theta or theta_prime has changed, or they do not belong together.
    """

    def __init__(self, schema: FeatureSchema, theta: Artifact, theta_prime: Artifact | None = None) -> None:
        loaded = load_theta(theta.weights, theta.sha256, schema.sha256())
        stored = None if theta_prime is None else (theta_prime.weights, theta_prime.sha256)
        self._model = serve(loaded, theta.sha256, stored)

    def pd(self, columns: FeatureColumns) -> NDArray[np.float64]:
        """Probabilities of default, one a row; the same bits alone and in any batch."""
        return self._model.pd(columns)

    def unseen(self, columns: FeatureColumns) -> list[list[str]]:
        """Name, for each row, the features whose category theta never saw."""
        n_rows = len(next(iter(columns.values())))
        names: list[list[str]] = [[] for _ in range(n_rows)]
        for name, row in self._model.encoder.unseen(columns):
            names[row].append(name)
        return names
