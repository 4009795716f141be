"""TabPFN, where a user brings the package and its weights; nothing is downloaded."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy.special import expit, logit

from benchmarks.few_shot.data import with_gaps_named
from benchmarks.few_shot.design import Posted
from benchmarks.few_shot.optional import Skipped
from benchmarks.few_shot.rehearsal import rehearse
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets

WEIGHTS_VARIABLE = "TABPFN_WEIGHTS"


class TabPfn:
    """The market's support as TabPFN's context; logits corrected for a label-selected support."""

    names = ("TabPFN",)
    n_draws = 1

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        self.weights = find_weights()
        losses = rehearse(source.rehearsals, lambda m, p, q: self._pds(m.rows.features, p, q), self.n_draws)
        return {"weights": self.weights.name, "rehearsed": {self.names[0]: losses.tolist()}}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.accounts = accounts

    def pds(self, posted: Posted, query: Positions) -> PDs:
        return {self.names[0]: self._pds(self.accounts, posted, query)}

    def _pds(self, accounts: pandas.DataFrame, posted: Posted, query: Positions) -> FloatArray:
        from tabpfn import TabPFNClassifier  # an optional package, and slow to import

        if not 0 < posted.y.sum() < len(posted.y):
            return np.full(len(query), (posted.y.sum() + 0.5) / (len(posted.y) + 1))  # Jeffreys' rate
        model = TabPFNClassifier(model_path=self.weights, device="cpu", random_state=0)
        frame = with_gaps_named(accounts)
        model.fit(frame.iloc[posted.support], posted.y.astype(int))
        pd = np.clip(model.predict_proba(frame.iloc[query])[:, 1], 1e-6, 1 - 1e-6)
        return expit(logit(pd) - posted.correction)


def find_weights() -> Path:
    """Path of the weights. Raises Skipped: they or the package are not there."""
    named = os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        raise Skipped(f"no weights: {WEIGHTS_VARIABLE} does not name a file")
    if not Path(named).is_file():
        raise Skipped(f"no weights: the file that {WEIGHTS_VARIABLE} names does not exist")
    if importlib.util.find_spec("tabpfn") is None:
        raise Skipped("the package tabpfn is not installed")
    return Path(named)
