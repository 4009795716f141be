"""A market's labelled accounts -> theta_prime with its report and verdict."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from app.domain.recipes import AdaptationRecipe
from app.domain.schema import FeatureSchema
from app.engine.contract import Adaptation, Artifact, BaseRateBelief, RowInfluence, Support
from app.engine.reports import report_of
from meta.adaptation import DeclaredRate, MarketRows, adapt_markets, posterior_of
from meta.checkpoint import sha256, unpack_arrays
from meta.expectation import nearest
from meta.guard import Case, GuardRule, judge
from meta.influence import leave_one_out
from meta.thetas import Theta, pack_theta_prime


class PostedRows(NamedTuple):
    """A support as encoded and as posted, completed with reference goods where it had none of its own."""

    rows: MarketRows
    columns: Mapping[str, Sequence[Any]]
    n_completed: int


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
    posted = posted_rows(loaded, support, base_rate, reference)
    (adapted,) = adapt_markets(
        loaded, [posted.rows], inner_steps=recipe.inner_steps, minimum_defaults=recipe.minimum_defaults
    )
    rules = [GuardRule(rule.n_defaults, rule.hold_below, rule.refuse_below) for rule in recipe.guard]
    judgement = judge(
        Case(
            loaded,
            posted.rows,
            posted.columns,
            adapted,
            recipe.seed,
            recipe.inner_steps,
            recipe.minimum_defaults,
            rules,
            posted.n_completed,
        )
    )
    posterior = posterior_of(loaded, posted.rows, adapted)
    weights = pack_theta_prime(adapted.theta_prime, posterior, theta.sha256)
    expected = nearest(loaded.expected, posted.rows.design, int(posted.rows.y.sum()))
    n_filled = loaded.reading.n_filled(posted.columns)
    report = report_of(posted.rows, posted.n_completed, adapted, posterior, judgement, base_rate, expected, n_filled)
    return Adaptation(Artifact(weights, sha256(weights)), judgement.verdict, judgement.reasons, report)


def influence(
    schema: FeatureSchema,
    theta: Artifact,
    support: Support,
    *,
    base_rate: BaseRateBelief | None,
    recipe: AdaptationRecipe,
    reference: Support | None = None,
) -> list[RowInfluence]:
    """Say what each row of a support did to the adaptation: adapted with it and without it.

    Raises:  as ``adapt``.
    """
    loaded = load_theta(theta.weights, theta.sha256, schema.sha256())
    posted = posted_rows(loaded, support, base_rate, reference)
    found = leave_one_out(loaded, posted.rows, len(support.defaulted), recipe.inner_steps, recipe.minimum_defaults)
    return [RowInfluence(row.level, row.ranking, row.loss) for row in found]


def reference_row_ids(theta: Artifact) -> list[int]:
    """Ids of the source rows that theta may complete a support of defaulters with. Raises CorruptArtifact."""
    arrays, _ = unpack_arrays(theta.weights, theta.sha256)
    return [int(row_id) for row_id in arrays["reference_row_ids"]]


def posted_rows(
    theta: Theta, support: Support, base_rate: BaseRateBelief | None, reference: Support | None = None
) -> PostedRows:
    """Encode a support, completed with reference goods (four a defaulter) where it has none of its own."""
    columns: Mapping[str, Sequence[Any]] = support.columns
    y, n_completed = np.asarray(support.defaulted, dtype=np.float64), 0
    if reference is not None and len(y) and y.all():
        n_completed = min(4 * len(y), len(reference.defaulted))
        columns = {name: [*values, *reference.columns[name][:n_completed]] for name, values in columns.items()}
        y = np.concatenate([y, np.zeros(n_completed)])
    declared = DeclaredRate(base_rate.value, base_rate.low, base_rate.high) if base_rate else None
    return PostedRows(MarketRows(theta.reading.encode(columns), y, support.design, declared), columns, n_completed)
