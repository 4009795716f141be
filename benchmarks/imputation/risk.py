"""What filling does for default risk: theta with each imputer, and boosted trees that split on gaps themselves."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.engine.adapter import adapt
from app.engine.contract import Support
from app.engine.predictor import Predictor
from app.engine.training import train_theta
from benchmarks.few_shot.data import (
    DATASETS,
    DataNotFound,
    Dataset,
    Rows,
    categorical,
    load,
    numeric,
    schema_of,
    with_gaps_named,
)
from benchmarks.few_shot.design import Design, held_out_markets, source_of
from benchmarks.few_shot.thetaprime import as_source_data, columns_of
from benchmarks.imputation.gaps import make_gaps
from meta.imputers import Layout
from meta.level import fit_level, learn_level_prior
from meta.metrics import auc, log_loss

CONDITIONS = (
    ("sba_states", "MCAR", 0.3),
    ("taiwan", "MCAR", 0.3),
    ("lendingclub_states", "MCAR", 0.3),
    ("taiwan", "MNAR", 0.3),
    ("sba_states", "MAR", 0.3),
    ("taiwan", "MCAR", 0.5),
    ("sba_states", "MCAR", 0.1),
)
WAYS = ("none", "conditional", "trees", "gain", "mean", "logistic")
SIZES = (0, 20, 50, 200)
N_MARKETS, N_DRAWS, N_QUERY = 8, 2, 250
Score = Callable[[pandas.DataFrame], NDArray[np.float64]]
TAIWAN = Dataset("taiwan", "Taiwan, dealt into 24 markets", "taiwan.parquet", "market", ("market", "product"))


@dataclass(frozen=True)
class RiskJob:
    """A world, its gaps, and one way to deal with them; each leaves a file."""

    world: str
    mechanism: str
    rate: float
    way: str
    data: Path
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / f"risk.{self.world}.{self.mechanism}{round(100 * self.rate)}.{self.way}.json"


def plan_risk(data: Path, folder: Path) -> list[RiskJob]:
    return [RiskJob(*condition, way, data, folder) for condition in CONDITIONS for way in WAYS]


def run_risk(job: RiskJob) -> None:
    """Run one job unless it has been: train on source markets with gaps, post and ask in held-out ones."""
    if job.file.exists():
        return
    torch.set_num_threads(1)
    try:
        rows = _world(job)
    except DataNotFound as fault:
        print(fault)
        return
    held_out = held_out_markets(rows, Design())[0]
    source, markets = source_of(rows, held_out), held_out[:N_MARKETS]
    seed = zlib.crc32(f"{job.world}{job.mechanism}{job.rate}".encode())
    strongest = _strongest(source)
    source = Rows(_with_gaps(source.features, job, np.random.default_rng(seed)), source.y, source.market)
    with threadpool_limits(1):
        model = POOLED[job.way](source) if job.way in POOLED else Ours(source, job.way)
        found = [row for name in markets for row in _in_market(job, model, rows.of([name]), name, strongest)]
    unfinished = job.file.with_suffix(".part")
    unfinished.write_text(json.dumps({"strongest": strongest, "rows": found}))
    unfinished.replace(job.file)
    print(f"{job.file.stem}: log loss {np.mean([row['log_loss'] for row in found]):.4f}", flush=True)


def _world(job: RiskJob) -> Rows:
    if job.world != "taiwan":
        return load(DATASETS[job.world], job.data)
    rows = load(TAIWAN, job.data)
    dealt = np.random.default_rng(0).integers(24, size=len(rows))
    return Rows(rows.features, rows.y, np.array([f"T{number:02d}" for number in dealt]))


def _in_market(job: RiskJob, model: "Pooled | Ours", rows: Rows, name: str, strongest: str) -> list[dict[str, Any]]:
    """n = 0: theta as it is, every column there. n > 0: the strongest column is wholly absent in this market."""
    found = []
    for draw in range(N_DRAWS):
        rng = np.random.default_rng([draw, zlib.crc32(name.encode())])
        gapped = _with_gaps(rows.features, job, rng)
        order = rng.permutation(len(rows))
        query, pool = order[:N_QUERY], order[N_QUERY:]
        for n in SIZES:
            features = gapped if n == 0 else gapped.assign(**{strongest: _nothing(gapped[strongest])})
            support = pool[:n]
            pd = model.pds(features.iloc[support], rows.y[support], features.iloc[query])
            y = rows.y[query]
            ranked = auc(y, pd) if 0 < y.sum() < len(y) else None
            row = {"market": name, "draw": draw, "n": n, "log_loss": log_loss(y, pd), "auc": ranked}
            found.append(row | {"slope": _slope(y, pd)})
    return found


class Ours:
    """theta with one imputer, adapted as the service does."""

    def __init__(self, source: Rows, imputer: str) -> None:
        self.schema = schema_of(source.features)
        recipe = ThetaRecipe.model_validate({"imputer": imputer})
        trained = train_theta(self.schema, as_source_data(source), recipe, on_progress=lambda event: None)
        self.theta = trained.artifact
        self.resting = Predictor(self.schema, self.theta)

    def pds(self, support: pandas.DataFrame, y: NDArray[np.float64], query: pandas.DataFrame) -> NDArray[np.float64]:
        predictor = self.resting
        if len(y):
            posted = Support(columns_of(support), [bool(label) for label in y], "random")
            moved = adapt(self.schema, self.theta, posted, base_rate=None, recipe=AdaptationRecipe())
            predictor = Predictor(self.schema, self.theta, moved.artifact)
        return predictor.pd(columns_of(query))


class Pooled:
    """A model of the pooled source rows whose level moves under a prior learned from markets it has not seen."""

    def __init__(self, source: Rows) -> None:
        names = np.unique(source.market)
        fold = np.searchsorted(names, source.market) % 4
        logits = np.empty(len(source))
        for part in range(4):
            score = self.fitted(source.at(fold != part))
            logits[fold == part] = score(source.features[fold == part])
        self.prior = learn_level_prior([(logits[source.market == m], source.y[source.market == m]) for m in names])
        self.score = self.fitted(source)

    def fitted(self, rows: Rows) -> Score:
        """Fit on rows; what is returned gives logits (n_rows,) of features."""
        raise NotImplementedError

    def pds(self, support: pandas.DataFrame, y: NDArray[np.float64], query: pandas.DataFrame) -> NDArray[np.float64]:
        level = self.prior.mean
        if len(y):
            level = fit_level(self.score(support), y, self.prior.mean, self.prior.sd)
        return expit(self.score(query) + level)


class Trees(Pooled):
    """LightGBM that splits on gaps itself."""

    def fitted(self, rows: Rows) -> Score:
        levels = {name: sorted(set(rows.features[name].dropna())) for name in categorical(rows.features)}

        def plain(features: pandas.DataFrame) -> pandas.DataFrame:
            seen = {name: features[name].where(features[name].isin(known)) for name, known in levels.items()}
            return features.assign(**{n: pandas.Categorical(seen[n], categories=known) for n, known in levels.items()})

        model = _fitted(plain(rows.features), rows.y)
        return lambda features: _logits(model, plain(features))


class Logistic(Pooled):
    """Medians and indicators of gaps, flags of categories, of which a gap is one, and a logistic regression of them."""

    def fitted(self, rows: Rows) -> Score:
        median = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        columns = [
            ("numbers", make_pipeline(median, StandardScaler()), numeric(rows.features)),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categorical(rows.features)),
        ]
        model = make_pipeline(ColumnTransformer(columns), LogisticRegression(C=0.1, max_iter=1000))
        model.fit(with_gaps_named(rows.features), rows.y)
        return lambda features: np.asarray(model.decision_function(with_gaps_named(features)), dtype=np.float64)


POOLED: dict[str, type[Pooled]] = {"trees": Trees, "logistic": Logistic}


def _fitted(x: pandas.DataFrame, y: NDArray[np.float64]) -> LGBMClassifier:
    trees = {"n_estimators": 200, "learning_rate": 0.04, "num_leaves": 15, "min_child_samples": 40, "reg_lambda": 5.0}
    return LGBMClassifier(**trees, colsample_bytree=0.7, n_jobs=1, verbose=-1, random_state=0).fit(x, y)


def _logits(model: LGBMClassifier, x: pandas.DataFrame) -> NDArray[np.float64]:
    return np.asarray(model.predict(x, raw_score=True), dtype=np.float64)


def _strongest(source: Rows) -> str:
    """The numeric column that boosted trees gain most from."""
    numbers = source.features.select_dtypes("number")
    model = _fitted(numbers, source.y)
    gains = model.booster_.feature_importance("gain")
    return str(numbers.columns[int(np.argmax(gains))])


def _with_gaps(features: pandas.DataFrame, job: RiskJob, rng: np.random.Generator) -> pandas.DataFrame:
    layout = layout_of(features)
    gaps = make_gaps(values_of(layout, features), job.mechanism, job.rate, rng)
    absent = [np.nan if is_numeric else None for is_numeric in layout.is_numeric]
    return features.assign(**{name: features[name].mask(gaps[:, i], absent[i]) for i, name in enumerate(layout.names)})


def layout_of(features: pandas.DataFrame) -> Layout:
    """The columns as an imputer wants them, each text one with the categories that are there."""
    names, texts = tuple(map(str, features)), set(categorical(features))
    return Layout(names, tuple(tuple(sorted(set(features[n].dropna()))) if n in texts else None for n in names))


def values_of(layout: Layout, features: pandas.DataFrame) -> NDArray[np.float64]:
    """The columns as one matrix (n_rows, n_columns), NaN where unknown."""
    return layout.values({name: features[name].tolist() for name in layout.names})


def _nothing(column: pandas.Series) -> pandas.Series:
    return pandas.Series([None if column.dtype == object else np.nan] * len(column), column.index, column.dtype)


def _slope(y: NDArray[np.float64], pd: NDArray[np.float64]) -> float:
    """Of the outcome on the logit of PD by Newton's method, intercept beside it; 1 is right."""
    z = np.stack([np.log(pd) - np.log1p(-pd), np.ones_like(pd)])
    beta = np.array([1.0, 0.0])
    for _ in range(20):
        p = expit(beta @ z)
        beta += np.linalg.solve((z * (p * (1 - p))) @ z.T + 1e-6 * np.eye(2), z @ (y - p))
    return float(beta[0])
