"""COPY: the fast way in for many rows, in the caller's transaction."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Table

from app.store.database import Transaction


def copy_rows(tx: Transaction, table: Table, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
    """Write records, one value a column, in order. JSON columns take text."""
    connection = tx.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    names = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, columns))
    statement = psycopg.sql.SQL("COPY {} ({}) FROM STDIN").format(psycopg.sql.Identifier(table.name), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for record in records:
            copy.write_row(record)
