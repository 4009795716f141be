"""Scores carry the interval of their PD and their reasons; rows from before keep null."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("scores", sa.Column("pd_low", sa.Double()))
    op.add_column("scores", sa.Column("pd_high", sa.Double()))
    op.add_column("scores", sa.Column("reasons", JSONB()))


def downgrade() -> None:
    for name in ("reasons", "pd_high", "pd_low"):
        op.drop_column("scores", name)
