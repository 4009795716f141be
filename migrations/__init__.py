"""Alembic migrations, one per change, each with its way back; run by ``app.store.migrations``."""
