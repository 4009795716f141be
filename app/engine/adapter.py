"""A market's labelled accounts -> theta_prime with its report and verdict."""

from functools import lru_cache

import numpy as np

from app.domain.recipes import AdaptationRecipe
from app.domain.schema import FeatureSchema
from app.engine.contract import Adaptation, Artifact, BaseRateBelief, Support
from meta.adaptation import AdaptedMarket, DeclaredRate, MarketRows, adapt_markets
from meta.checkpoint import sha256, unpack_arrays
from meta.guard import Judgement, judge
from meta.thetas import Theta, pack_theta_prime


@lru_cache(maxsize=8)
def load_theta(weights: bytes, digest: str, schema_sha256: str) -> Theta:
    """Unpack a theta once; its hash, schema and finiteness are checked. Raises CorruptArtifact."""
    return Theta.unpack(weights, digest, schema_sha256)


def adapt(
    schema: FeatureSchema,
    theta: Artifact,
    support: Support,
    *,
    base_rate: BaseRateBelief | None,
    recipe: AdaptationRecipe,
    reference: Support | None = None,
) -> Adaptation:
    """Adapt theta to one market; equal inputs give equal bytes.

    reference: goods of source markets that complete a support of defaulters alone (four for each).
    Raises:  CorruptArtifact: theta's bytes have changed; InvalidEpisode: a label-selected support without base rate;
             InvalidColumns: the columns are not those of the schema.
    """
    loaded = load_theta(theta.weights, theta.sha256, schema.sha256())
    rows = market_rows(loaded, support, base_rate, reference)
    n_completed = len(rows.y) - len(support.defaulted)
    (adapted,) = adapt_markets(loaded, [rows], inner_steps=recipe.inner_steps, minimum_defaults=recipe.minimum_defaults)
    judgement = judge(loaded, rows, recipe.seed, recipe.inner_steps, recipe.minimum_defaults)
    weights = pack_theta_prime(adapted.theta_prime, theta.sha256)
    report = report_of(rows, n_completed, adapted, judgement, base_rate)
    return Adaptation(Artifact(weights, sha256(weights)), judgement.verdict, list(judgement.reasons), report)


def reference_row_ids(theta: Artifact) -> list[int]:
    """Ids of the source rows that theta may complete a support of defaulters with. Raises CorruptArtifact."""
    arrays, _ = unpack_arrays(theta.weights, theta.sha256)
    return [int(row_id) for row_id in arrays["reference_row_ids"]]


def market_rows(
    theta: Theta, support: Support, base_rate: BaseRateBelief | None, reference: Support | None = None
) -> MarketRows:
    """Encode a support, completed with reference goods (four a defaulter) where it has none of its own."""
    x = theta.encoder.encode(support.columns)
    y = np.asarray(support.defaulted, dtype=np.float64)
    if reference is not None and len(y) and y.all():
        goods = theta.encoder.encode(reference.columns)[: 4 * len(y)]
        x, y = np.concatenate([x, goods]), np.concatenate([y, np.zeros(len(goods))])
    declared = DeclaredRate(base_rate.value, base_rate.low, base_rate.high) if base_rate else None
    return MarketRows(x, y, support.design, declared)


def report_of(
    rows: MarketRows, n_completed: int, adapted: AdaptedMarket, judgement: Judgement, base_rate: BaseRateBelief | None
) -> dict[str, object]:
    """What the API says of an adaptation: counts, base rate, what moved, and the cross-fitted losses."""
    return {
        "n_support": len(rows.y) - n_completed,
        "n_defaults": int(rows.y.sum()),
        "n_reference_goods": n_completed,
        "design": rows.design,
        "base_rate": {
            "declared": vars(base_rate) if base_rate else None,
            "observed": float(rows.y.mean()) if rows.design == "random" and len(rows.y) else None,
        },
        "level": {"shift": adapted.level, "sd": adapted.level_sd, "unit": "logit"},
        "ranking_share_kept": adapted.share,
        "cross_fitted": judgement.cross_fitted,
    }
