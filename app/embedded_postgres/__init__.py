"""An embedded PostgreSQL: no server to install, no TCP port, and gone when its owner is gone.

    with EmbeddedPostgres() as server:
        engine = sqlalchemy.create_engine(server.url)

Why it is built as it is: docs/decisions/0002-embedded-postgres.md.
"""

from app.embedded_postgres.databases import create_database, drop_database
from app.embedded_postgres.errors import (
    DataFolderInUse,
    EmbeddedPostgresError,
    NoPostgresBinaries,
    PostgresDidNotStart,
    UnusableDataFolder,
)
from app.embedded_postgres.folder import default_data_dir
from app.embedded_postgres.server import EmbeddedPostgres

__all__ = [
    "DataFolderInUse",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "NoPostgresBinaries",
    "PostgresDidNotStart",
    "UnusableDataFolder",
    "create_database",
    "default_data_dir",
    "drop_database",
]
