"""Runs migrations on the connection that ``app.store.migrations`` hands over; all of them in one transaction."""

from alembic import context

from app.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
