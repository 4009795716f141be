"""The append-only history of what served when, and the word to every process that it changed."""

from sqlalchemy import func, insert, or_, select

from app.domain.theta_primes import ActivationRecord
from app.store.database import Transaction
from app.store.tables import activations

CHANNEL = "thetaprime_activations"


def record_activation(
    tx: Transaction,
    product_id: int,
    market_id: int | None,
    *,
    version: int | None,
    replaced_version: int | None,
    activated_by: str,
    note: str | None,
) -> None:
    """Write history and NOTIFY listeners, both when the transaction commits. ``market_id`` None: a product's theta."""
    tx.execute(
        insert(activations).values(
            product_id=product_id,
            market_id=market_id,
            version=version,
            replaced_version=replaced_version,
            activated_by=activated_by,
            note=note,
        )
    )
    notify(tx)


def notify(tx: Transaction) -> None:
    """Wake those who listen, when the transaction commits."""
    tx.execute(select(func.pg_notify(CHANNEL, "")))


def list_activations(
    tx: Transaction, product_id: int, market_id: int | None, *, after: int, limit: int
) -> list[ActivationRecord]:
    """Read the history of a market, or of the product's theta where ``market_id`` is None, oldest first."""
    columns = [activations.c[name] for name in ActivationRecord.model_fields]
    statement = select(*columns).where(
        activations.c.product_id == product_id,
        activations.c.market_id.is_not_distinct_from(market_id),
        activations.c.id > after,
    )
    return [ActivationRecord(**row._mapping) for row in tx.execute(statement.order_by(activations.c.id).limit(limit))]


def list_activations_of(
    tx: Transaction, product_id: int, market_id: int | None, version: int, *, limit: int
) -> list[ActivationRecord]:
    """Read when one version came into service and when it went, oldest first; the latest entries, where limited."""
    columns = [activations.c[name] for name in ActivationRecord.model_fields]
    statement = select(*columns).where(
        activations.c.product_id == product_id,
        activations.c.market_id.is_not_distinct_from(market_id),
        or_(activations.c.version == version, activations.c.replaced_version == version),
    )
    latest = tx.execute(statement.order_by(activations.c.id.desc()).limit(limit)).all()
    return [ActivationRecord(**row._mapping) for row in reversed(latest)]
