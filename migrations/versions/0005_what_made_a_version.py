"""Versions say which software made them, and thetas which source rows; versions from before keep null."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("thetas", sa.Column("software", JSONB()))
    op.add_column("thetas", sa.Column("source_data", JSONB()))
    op.add_column("theta_primes", sa.Column("software", JSONB()))


def downgrade() -> None:
    op.drop_column("theta_primes", "software")
    op.drop_column("thetas", "source_data")
    op.drop_column("thetas", "software")
