"""Rows of trainings and of the thetas they end in; both count versions per product. See also ``training_runs``."""

from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Row, Select, func, insert, select, update

from app.domain.recipes import ThetaRecipe
from app.domain.source_data import SourceMarket, SourceSummary
from app.store.database import Transaction
from app.store.tables import products, thetas, trainings

TrainingStatus = Literal["queued", "running", "succeeded", "failed"]


class TrainingRow(NamedTuple):
    """A training without its checkpoint, which can be large, and what is known of the theta that it ended in."""

    id: int
    product_id: int
    version: int
    recipe: ThetaRecipe
    status: TrainingStatus
    progress: dict[str, Any] | None
    error: str | None
    attempts: int
    crashes: int
    activate_if_first: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    sha256: str | None
    report: dict[str, Any] | None


class ThetaRow(NamedTuple):
    """A theta with its weights."""

    id: int
    version: int
    recipe: ThetaRecipe
    schema_sha256: str
    weights: bytes
    sha256: str
    report: dict[str, Any]
    created_at: datetime
    software: dict[str, str] | None
    source_data: SourceSummary | None


_TRAININGS: Select[Any] = select(
    *(column for column in trainings.c if column.name not in ("seed", "checkpoint")), thetas.c.sha256, thetas.c.report
).outerjoin_from(
    trainings, thetas, (thetas.c.product_id == trainings.c.product_id) & (thetas.c.version == trainings.c.version)
)
_THETAS = select(*(column for column in thetas.c if column.name not in ("product_id", "seed")))


def insert_training(
    tx: Transaction, product_id: int, recipe: ThetaRecipe, *, activate_if_first: bool = False
) -> TrainingRow:
    """Queue a training under the product's next theta version."""
    counting = update(products).where(products.c.id == product_id)
    counting = counting.values(last_theta_version=products.c.last_theta_version + 1)
    version = tx.execute(counting.returning(products.c.last_theta_version)).scalar_one()
    tx.execute(
        insert(trainings).values(
            product_id=product_id,
            version=version,
            recipe=recipe.model_dump(mode="json"),
            seed=recipe.seed,
            activate_if_first=activate_if_first,
        )
    )
    return get_training(tx, product_id, version)


def find_training(tx: Transaction, product_id: int, version: int) -> TrainingRow | None:
    statement = _TRAININGS.where(trainings.c.product_id == product_id, trainings.c.version == version)
    row = tx.execute(statement).one_or_none()
    return None if row is None else _read_training(row)


def get_training(tx: Transaction, product_id: int, version: int) -> TrainingRow:
    """Raises: LookupError: there is none."""
    training = find_training(tx, product_id, version)
    if training is None:
        raise LookupError(f"product {product_id} has no training {version}")
    return training


def list_trainings(tx: Transaction, product_id: int, *, after: int, limit: int) -> list[TrainingRow]:
    statement = _TRAININGS.where(trainings.c.product_id == product_id, trainings.c.version > after)
    return [_read_training(row) for row in tx.execute(statement.order_by(trainings.c.version).limit(limit))]


def count_trainings(tx: Transaction) -> dict[TrainingStatus, int]:
    statement = select(trainings.c.status, func.count()).group_by(trainings.c.status)
    return {row[0]: row[1] for row in tx.execute(statement)}


def lock_training(tx: Transaction, training_id: int) -> TrainingRow | None:
    """Wait for the training's row, hold it until the end of the transaction, then read it by a second statement."""
    tx.execute(select(trainings.c.id).where(trainings.c.id == training_id).with_for_update())
    row = tx.execute(_TRAININGS.where(trainings.c.id == training_id)).one_or_none()
    return None if row is None else _read_training(row)


def insert_theta(
    tx: Transaction,
    training: TrainingRow,
    *,
    schema_sha256: str,
    weights: bytes,
    sha256: str,
    report: dict[str, Any],
    software: dict[str, str] | None = None,
    source_data: SourceSummary | None = None,
) -> int:
    """Keep a trained theta under its training's version; returns its id."""
    statement = insert(thetas).values(
        product_id=training.product_id,
        version=training.version,
        recipe=training.recipe.model_dump(mode="json"),
        seed=training.recipe.seed,
        schema_sha256=schema_sha256,
        weights=weights,
        sha256=sha256,
        report=report,
        software=software,
        source_data=None if source_data is None else source_data.model_dump(mode="json"),
    )
    theta_id: int = tx.execute(statement.returning(thetas.c.id)).scalar_one()
    return theta_id


def find_theta(tx: Transaction, product_id: int, version: int) -> ThetaRow | None:
    statement = _THETAS.where(thetas.c.product_id == product_id, thetas.c.version == version)
    row = tx.execute(statement).one_or_none()
    return None if row is None else _read_theta(row)


def get_theta(tx: Transaction, theta_id: int) -> ThetaRow:
    """Read a theta by its immutable id. Raises: sqlalchemy's NoResultFound: there is none."""
    return _read_theta(tx.execute(_THETAS.where(thetas.c.id == theta_id)).one())


def find_active_theta(tx: Transaction, product_id: int) -> ThetaRow | None:
    statement = _THETAS.join(products, products.c.id == thetas.c.product_id).where(
        products.c.id == product_id, products.c.active_theta_version == thetas.c.version
    )
    row = tx.execute(statement).one_or_none()
    return None if row is None else _read_theta(row)


def _read_training(row: Row[Any]) -> TrainingRow:
    return TrainingRow(**{**row._mapping, "recipe": ThetaRecipe.model_validate(row.recipe)})


def _read_theta(row: Row[Any]) -> ThetaRow:
    source_data = None if row.source_data is None else _read_summary(row.source_data)
    recipe = ThetaRecipe.model_validate(row.recipe)
    return ThetaRow(**{**row._mapping, "recipe": recipe, "source_data": source_data})


def _read_summary(stored: dict[str, Any]) -> SourceSummary:
    markets = [SourceMarket.model_validate(market) for market in stored["markets"]]
    return SourceSummary(**{**stored, "markets": markets})
