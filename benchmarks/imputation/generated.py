"""Accounts that never were: how like real ones they are, and what a model that saw no others is worth."""

import json
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from benchmarks.imputation.metrics import two_sample_auc
from benchmarks.imputation.tables import Table, credit_one_hot
from meta.generator import fit_generator
from meta.metrics import auc

FloatArray = NDArray[np.float64]
TEACHING = 15_000  # rows; the others judge
TITLES = {
    "generator": "Generator (ours)",
    "columns": "Columns shuffled within a label",
    "ctgan": "CTGAN",
}


def measure_generated(data: Path, file: Path) -> dict[str, Any]:
    """Fit on half of Credit with its labels, draw as many accounts, and compare; kept in ``file``."""
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text())
        return found
    table = credit_one_hot(data)
    y = pandas.read_parquet(data / "taiwan.parquet", columns=["default"])["default"].to_numpy(np.float64)
    order = np.random.default_rng(0).permutation(len(y))
    teach, judge = order[:TEACHING], order[TEACHING:]
    real, labels = table.values[teach], y[teach]
    started = time.process_time()
    generator = fit_generator(table.layout, real, labels, 0)
    fitted_s = time.process_time() - started
    made = generator.sample(labels, np.random.default_rng(1))
    others = table.values[judge]
    tests = {"generator": made, "columns": _shuffled(real, labels)}
    rows = {name: _judged(table, x, labels, others, y[judge]) for name, x in tests.items()}
    result = {"real": _judged(table, real, labels, others, y[judge]), **rows, "fit_s": fitted_s}
    if find_spec("ctgan") is None:
        result["ctgan"] = {"skipped": "the package ctgan is not installed"}
    else:
        x, its_labels = _of_ctgan(table, real, labels)
        result["ctgan"] = _judged(table, x, its_labels, others, y[judge])
    file.write_text(json.dumps(result))
    return result


def _judged(table: Table, x: FloatArray, y: FloatArray, others: FloatArray, other_y: FloatArray) -> dict[str, float]:
    numeric = table.layout.is_numeric
    complete = ~np.isnan(x).any(axis=1), ~np.isnan(others).any(axis=1)
    apart = [ks_2samp(x[complete[0], i], others[complete[1], i], method="asymp").statistic for i in range(x.shape[1])]
    correlations = [np.corrcoef(rows[whole][:, numeric].T) for rows, whole in zip((x, others), complete, strict=True)]
    model = LGBMClassifier(n_estimators=200, learning_rate=0.05, num_leaves=15, n_jobs=1, verbose=-1, random_state=0)
    pd = model.fit(x, y).predict_proba(others)[:, 1]
    return {
        "marginals": float(np.mean(apart)),
        "correlations": float(np.abs(correlations[0] - correlations[1]).mean()),
        "told_apart": two_sample_auc(others, x, 0),
        "auc": auc(other_y, pd),
    }


def _of_ctgan(table: Table, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """As many rows of CTGAN with its usual settings, the label a column like others; its licence is BUSL 1.1.

    Source:  Xu, Skoularidou, Cuesta-Infante & Veeramachaneni 2019, arXiv:1907.00503, by the authors' package.
    """
    from ctgan import CTGAN  # optional, and no open-source licence: never more than a rival here

    names, is_numeric = table.layout.names, table.layout.is_numeric
    columns = {n: x[:, i] if is_numeric[i] else _as_texts(x[:, i]) for i, n in enumerate(names)}
    frame = pandas.DataFrame(columns | {"default": y.astype(int).astype(str)})
    discrete = [*(n for i, n in enumerate(names) if not is_numeric[i]), "default"]
    torch.manual_seed(0)
    np.random.seed(0)
    model = CTGAN(enable_gpu=False)
    model.set_random_state(0)
    model.fit(frame, discrete)
    made = model.sample(len(frame))
    found = [made[n].to_numpy(np.float64) for n in names]  # a category's place, NaN where it made a gap
    return np.stack(found, axis=1), made["default"].astype(int).to_numpy(np.float64)


def _as_texts(places: FloatArray) -> list[str]:
    """Places of categories as texts that read back as numbers; a gap reads back as NaN."""
    return [str(place) for place in places]


def _shuffled(x: FloatArray, y: FloatArray) -> FloatArray:
    """Right marginals within each label, and nothing else."""
    rng, found = np.random.default_rng(2), x.copy()
    for label in (0.0, 1.0):
        rows = np.flatnonzero(y == label)
        for i in range(x.shape[1]):
            found[rows, i] = x[rng.permutation(rows), i]
    return found


def generated_section(found: Mapping[str, Any]) -> str:
    """The part of the page on generated accounts; empty where nothing was measured."""
    if not found:
        return ""
    rows = [_HEAD, "| accounts | marginals | correlations | told apart | AUC of a model that saw these |"]
    rows.append("|---|---|---|---|---|")
    for name, title in {"real": "Real ones", **TITLES}.items():
        row = found.get(name, {})
        if "skipped" in row:
            rows.append(f"| {title} | not run: {row['skipped']} | | | |")
        elif row:
            numbers = " | ".join(f"{row[key]:.3f}" for key in ("marginals", "correlations", "told_apart", "auc"))
            rows.append(f"| {title} | {numbers} |")
    return "\n".join(rows) + f"\n\nFitted in {found['fit_s']:.0f} processor seconds.\n"


_HEAD = f"""## Accounts that never were

`meta/generator.py` learns Credit's accounts with their labels from {TEACHING:,} rows and draws as many, label by label;
all are compared with the other 15,000 real ones. Marginals: mean Kolmogorov-Smirnov distance over columns.
Correlations: mean absolute difference between numeric columns. Told apart: AUC of boosted trees, 0.5 is not at all.
Last: LightGBM trained on these accounts, judged on the real ones. For comparison real accounts, and ones whose columns
were shuffled within each label.
"""
