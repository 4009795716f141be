"""Why an embedded PostgreSQL can't be had, one class per fault; each message says the rule and the remedy."""


class EmbeddedPostgresError(Exception):
    """Root of this package's faults."""


class NoPostgresBinaries(EmbeddedPostgresError):
    """No PostgreSQL of the right major version is installed where the server's user can run it."""


class DataFolderInUse(EmbeddedPostgresError):
    """Another process owns the data folder, or a server that one left behind does not end."""


class UnusableDataFolder(EmbeddedPostgresError):
    """The data folder is out of reach, holds something else, belongs to somebody else or lost its password."""


class PostgresDidNotStart(EmbeddedPostgresError):
    """A PostgreSQL program failed; the message ends with its own words."""
