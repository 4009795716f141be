"""optbinning's scorecard: optimal bins, weights of evidence, logistic regression; what a risk team builds by hand."""

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from benchmarks.few_shot.data import Rows, categorical
from benchmarks.few_shot.pooled import leave_markets_out
from meta.metrics import log_loss

with contextlib.redirect_stdout(io.StringIO()):  # ropwr, on which it rests, prints the state of its solvers
    from optbinning import BinningProcess

FloatArray = NDArray[np.float64]


class Scorecard:
    """Bins and their weights of evidence, and an L2-penalised logistic regression on them.

    optbinning's own ``Scorecard`` is these two and a scale of points, which changes no PD. Gaps have the weight of
    evidence of the missing rows; a category that the bins do not know has none.
    """

    def __init__(self, rows: Rows, strength: float, bins: BinningProcess | None = None) -> None:
        self.bins = bins or fit_bins(rows)
        self.model = LogisticRegression(C=strength, max_iter=2000).fit(woe(self.bins, rows.features), rows.y)

    def logits(self, features: pandas.DataFrame) -> FloatArray:
        return np.asarray(self.model.decision_function(woe(self.bins, features)))


class PooledScorecard:
    """The scorecard of the source markets; L2 tuned by leaving markets out."""

    STRENGTHS = (0.001, 0.01, 0.1, 1.0)

    def __init__(self, source: Rows) -> None:
        folds = [(source.at(train), source.at(test), test) for train, test in leave_markets_out(source)]
        bins = [fit_bins(mature) for mature, _, _ in folds]
        tried = []
        for strength in self.STRENGTHS:
            logits = np.empty(len(source))
            for (mature, unseen, place), known in zip(folds, bins, strict=True):
                logits[place] = Scorecard(mature, strength, known).logits(unseen.features)
            tried.append((log_loss(source.y, expit(logits)), strength, logits))
        loss, strength, self.unseen_logits = min(tried, key=lambda trial: trial[0])
        self.chosen: dict[str, Any] = {"C": strength, "log_loss": loss}
        self.model = Scorecard(source, strength)

    def logits(self, features: pandas.DataFrame) -> FloatArray:
        return self.model.logits(features)


def fit_bins(rows: Rows) -> BinningProcess:
    """Optimal binning of every feature that has a value anywhere, with optbinning's own settings.

    On a few rows optbinning 1.0 fails at features whose bins it finds empty: those are left out, as by hand.
    Raises:  ValueError: no feature can be binned.
    """
    known = rows.features.loc[:, rows.features.notna().any()]
    try:
        return _binned(known, rows.y)
    except ValueError:
        fit = [name for name in known if _can_be_binned(known[[name]], rows.y)]
        return _binned(known[fit], rows.y)


def _can_be_binned(feature: pandas.DataFrame, y: FloatArray) -> bool:
    try:
        _binned(feature, y)
    except ValueError:
        return False
    return True


def _binned(features: pandas.DataFrame, y: FloatArray) -> BinningProcess:
    if features.empty:
        raise ValueError("no feature can be binned")
    process = BinningProcess(list(features), categorical_variables=categorical(features))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return process.fit(features, y)


def woe(bins: BinningProcess, features: pandas.DataFrame) -> FloatArray:
    """Weights of evidence (n_rows, n_features) of goods, higher = safer; a bin of one class has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = bins.transform(features[bins.variable_names], metric="woe", metric_missing="empirical")
    return np.nan_to_num(np.asarray(values, dtype=np.float64), posinf=0.0, neginf=0.0)
