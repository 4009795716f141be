"""What the database refuses, whatever a program may ask of it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.errors import DatabaseUnavailable
from app.store.database import Database, rehearsal
from app.store.tables import IMMUTABLE_TABLES
from tests.app.bank import Bank, features, rows


@pytest.fixture(scope="module")
def lived_in(shared_bank: Bank) -> Bank:
    """A bank with a row in every immutable table."""
    assert shared_bank.post(rows(9)).status_code == 201
    assert shared_bank.score(features()).status_code == 200
    return shared_bank


@pytest.mark.parametrize("table", IMMUTABLE_TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_rows_never_change(lived_in: Bank, table: str, statement: str) -> None:
    database = lived_in.database
    n_rows = lived_in.count(table)
    assert n_rows > 0
    with pytest.raises(DBAPIError, match="never change"), database.writing() as tx:
        tx.execute(text(statement.format(table)))
    assert lived_in.count(table) == n_rows


def test_no_market_points_at_a_version_that_is_not_there(shared_bank: Bank) -> None:
    with pytest.raises(DBAPIError, match="fk_markets_active_version"), shared_bank.database.writing() as tx:
        tx.execute(text("UPDATE markets SET active_version = 99"))


def test_no_product_points_at_a_theta_that_is_not_there(shared_bank: Bank) -> None:
    with pytest.raises(DBAPIError, match="fk_products_active_theta_version"), shared_bank.database.writing() as tx:
        tx.execute(text("UPDATE products SET active_theta_version = 99"))


def test_a_rehearsal_leaves_nothing(bank: Bank) -> None:
    with bank.database.writing() as tx, rehearsal(tx):
        tx.execute(text("UPDATE markets SET currency = 'USD'"))
    assert bank.client.get(bank.market).json()["currency"] == "EUR"


def test_a_database_that_is_not_there_is_said_to_be_unavailable() -> None:
    database = Database("postgresql://nobody@/nothing?host=/nonexistent")
    with pytest.raises(DatabaseUnavailable), database.reading():
        raise AssertionError("not reached")
    database.close()
