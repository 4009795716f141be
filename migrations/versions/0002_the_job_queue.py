"""The job queue, in a PostgreSQL schema of its own, and what a training needs to be a job."""

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trainings", sa.Column("crashes", sa.Integer(), server_default="0", nullable=False))
    op.add_column("trainings", sa.Column("activate_if_first", sa.Boolean(), server_default="false", nullable=False))
    op.execute("CREATE SCHEMA jobs")
    op.execute("SET LOCAL search_path TO jobs")
    # The library's own text: many statements at once, percent signs meant literally.
    op.get_bind().exec_driver_sql(SchemaManager.get_schema(), execution_options={"no_parameters": True})
    op.execute("SET LOCAL search_path TO DEFAULT")


def downgrade() -> None:
    op.execute("DROP SCHEMA jobs CASCADE")
    op.drop_column("trainings", "activate_if_first")
    op.drop_column("trainings", "crashes")
