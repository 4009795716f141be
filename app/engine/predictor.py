"""Stored weights -> PDs with intervals and reasons. Loads once, checks everything, then scores in NumPy alone."""

import numpy as np
from numpy.typing import NDArray

from app.domain.schema import FeatureSchema
from app.engine.adapter import load_theta
from app.engine.contract import Artifact, Explanation, FeatureColumns, PdColumns, Reason
from meta.explain import Breakdown
from meta.serving import serve


class Predictor:
    """One market's model, or theta at rest where ``theta_prime`` is None.

    Raises:  CorruptArtifact: a byte of theta or theta_prime has changed, or they do not belong together.
    """

    def __init__(self, schema: FeatureSchema, theta: Artifact, theta_prime: Artifact | None = None) -> None:
        loaded = load_theta(theta.weights, theta.sha256, schema.sha256())
        stored = None if theta_prime is None else (theta_prime.weights, theta_prime.sha256)
        self._model = serve(loaded, theta.sha256, stored)
        self._names = self._model.reading.encoder.column_names
        self._order = schema.names
        self._places = [self._names.index(name) for name in schema.names]
        self.reference = loaded.profiles.typical  # the typical account that scores are explained against

    def pd(self, columns: FeatureColumns) -> NDArray[np.float64]:
        """Probabilities of default, one a row; the same bits alone and in any batch."""
        return self._model.pd(columns)

    def score(self, columns: FeatureColumns) -> PdColumns:
        """PDs with 90 % intervals; the same bits alone and in any batch."""
        found = self._model.pd_interval(columns)
        return PdColumns(found.pd, found.low, found.high)

    def mean_pd_range(self, columns: FeatureColumns) -> tuple[float, float]:
        """The 90 % interval of these accounts' mean PD: how surely the market's level is known."""
        return self._model.mean_pd_interval(columns)

    def explain(self, columns: FeatureColumns) -> list[Explanation]:
        """Take each row's logit apart into contributions of features, with at most four reasons."""
        unseen = self.unseen(columns)
        return [self._explanation(b, columns, row, unseen[row]) for row, b in enumerate(self._model.explain(columns))]

    def unseen(self, columns: FeatureColumns) -> list[list[str]]:
        """Name, for each row, the features whose category theta never saw."""
        n_rows = len(next(iter(columns.values())))
        names: list[list[str]] = [[] for _ in range(n_rows)]
        for name, row in self._model.reading.encoder.unseen(columns):
            names[row].append(name)
        return names

    def filled(self, columns: FeatureColumns) -> list[list[str]]:
        """Name, for each row, the features that it did not give and that theta's imputer filled, as in the schema."""
        return [sorted(names, key=self._order.index) for names in self._model.filled(columns)]

    def _explanation(self, found: Breakdown, columns: FeatureColumns, row: int, unseen: list[str]) -> Explanation:
        by_name = dict(zip(self._names, found.contributions.tolist(), strict=True))
        reasons = [
            Reason(self._code(name, columns[name][row], unseen), name, by_name[name])
            for name in (self._names[j] for j in found.leading(self._places))
        ]
        return Explanation(found.base, {name: by_name[name] for name in self._order}, reasons)

    def _code(self, name: str, value: object, unseen: list[str]) -> str:
        if value is None or value != value:  # NaN is the one value that differs from itself
            return f"{name}.not_provided"
        if name in unseen:
            return f"{name}.unseen_category"
        typical = self.reference[name]
        if isinstance(value, str) or typical is None or isinstance(typical, str):
            return f"{name}.category" if isinstance(value, str) else f"{name}.value"
        return f"{name}.{'above' if float(value) > typical else 'below'}_reference"  # type: ignore[arg-type]
