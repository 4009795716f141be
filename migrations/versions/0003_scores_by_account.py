"""Find an account's scores without a walk through the whole ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_scores_market_id_account",
        "scores",
        ["market_id", "account"],
        postgresql_where=sa.text("account IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_scores_market_id_account", "scores")
