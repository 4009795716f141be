"""Create and drop databases on any PostgreSQL server from version 15 on."""

import psycopg
from psycopg import sql
from sqlalchemy import make_url


def create_database(server_url: str, name: str, *, template: str = "template1") -> str:
    """Create a database on the server at ``server_url`` and return its URL.

    Args:
        template: the database to copy, tables and rows included; nobody may be connected to it.
    """
    # Copying files takes 0.6 of the time of the default, copying through the log: every test has its own database.
    command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    _execute(server_url, command.format(sql.Identifier(name), sql.Identifier(template)))
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, name: str) -> None:
    """Drop a database and end the sessions in it."""
    _execute(server_url, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, command: sql.Composed) -> None:
    conninfo = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(command)
