"""First answers by Idempotency-Key, kept in the same transaction as the work that they answer."""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Transaction
from app.store.tables import idempotency_keys

REMEMBERED_FOR = timedelta(days=7)
"""How long a key is sure to be known; later it may be taken for a new one."""
_FORGOTTEN_AT_ONCE = 20  # each new key clears away this many old ones, so that the table stays small by itself


class FirstAnswer(NamedTuple):
    """An answer as it was sent, and the fingerprint of the request it belongs to."""

    fingerprint: str
    status: int
    headers: dict[str, str]
    body: bytes


def claim_key(tx: Transaction, key: str, fingerprint: str) -> FirstAnswer | None:
    """Take a key for this transaction's work; or wait for the transaction that has it, and return its answer.

    The insert waits where another transaction has inserted the key and not ended. If that one rolls back, the key
    is ours; if it commits, its answer is there for the second statement to see.
    """
    claim = insert(idempotency_keys).values(key=key, fingerprint=fingerprint).on_conflict_do_nothing()
    if tx.execute(claim.returning(idempotency_keys.c.key)).one_or_none() is not None:
        _forget_old_keys(tx)
        return None
    columns = [idempotency_keys.c[name] for name in FirstAnswer._fields]
    return FirstAnswer(*tx.execute(select(*columns).where(idempotency_keys.c.key == key)).one())


def keep_answer(tx: Transaction, key: str, *, status: int, headers: dict[str, str], body: bytes) -> None:
    """Store the answer of the transaction that claimed the key."""
    answer = update(idempotency_keys).where(idempotency_keys.c.key == key)
    tx.execute(answer.values(status=status, headers=headers, body=body))


def _forget_old_keys(tx: Transaction) -> None:
    old = select(idempotency_keys.c.key).where(idempotency_keys.c.created_at < func.now() - REMEMBERED_FOR)
    unclaimed = old.limit(_FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
    tx.execute(delete(idempotency_keys).where(idempotency_keys.c.key.in_(unclaimed)))
