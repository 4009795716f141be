"""What the engine is given of a market: its support, its declared rate, and goods that stand in for missing ones."""

from collections.abc import Sequence

from app.domain.markets import BaseRate
from app.domain.samples import Design
from app.domain.schema import FeatureSchema
from app.engine.contract import Artifact, BaseRateBelief, Support
from app.services import checking
from app.services.engine import Engine
from app.store import source_rows
from app.store.database import Transaction
from app.store.samples import LabelledFeatures
from app.store.source_rows import SourceRow


def support_of(schema: FeatureSchema, rows: Sequence[LabelledFeatures | SourceRow], design: Design) -> Support:
    """Turn labelled rows into columns, in their order."""
    columns = checking.columns_of(schema, [row.features for row in rows])
    return Support(columns, [row.defaulted for row in rows], design)


def belief_of(base_rate: BaseRate | None) -> BaseRateBelief | None:
    """Tell the engine what a market has declared."""
    return None if base_rate is None else BaseRateBelief(base_rate.value, base_rate.low, base_rate.high)


def reference_for(
    tx: Transaction, engine: Engine, schema: FeatureSchema, theta: Artifact, support: Support
) -> Support | None:
    """Read source rows of theta's choosing, where a market has sent defaulters alone; None: it has sent goods too.

    Raises: CorruptArtifact: theta's bytes have changed.
    """
    if not all(support.defaulted):
        return None
    return support_of(schema, source_rows.fetch_by_ids(tx, engine.reference_row_ids(theta)), "random")
