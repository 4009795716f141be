"""Rows of accounts: features kept by reference, so that none is ever in an address."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Transaction
from app.store.tables import accounts


class AccountRow(NamedTuple):
    features: dict[str, Any]
    updated_at: datetime


def put_account(tx: Transaction, market_id: int, account: str, features: dict[str, Any]) -> AccountRow:
    statement = insert(accounts).values(market_id=market_id, account=account, features=features)
    replacing = statement.on_conflict_do_update(
        index_elements=["market_id", "account"], set_={"features": features, "updated_at": func.now()}
    )
    return AccountRow(*tx.execute(replacing.returning(accounts.c.features, accounts.c.updated_at)).one())


def find_account(tx: Transaction, market_id: int, account: str) -> AccountRow | None:
    statement = select(accounts.c.features, accounts.c.updated_at)
    row = tx.execute(statement.where(accounts.c.market_id == market_id, accounts.c.account == account)).one_or_none()
    return None if row is None else AccountRow(*row)
