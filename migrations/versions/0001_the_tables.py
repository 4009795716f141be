"""The tables of the service; versions, samples, activations and scores refuse UPDATE, DELETE and TRUNCATE."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

IMMUTABLE = ("scores", "activations", "theta_primes", "samples", "thetas")


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("headers", JSONB),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_table(
        "products",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("feature_schema", JSONB, nullable=False),
        sa.Column("schema_sha256", sa.Text(), nullable=False),
        sa.Column("outcome", JSONB, nullable=False),
        sa.Column("points_scale", JSONB, nullable=False),
        sa.Column("last_theta_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("active_theta_version", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_products"),
        sa.UniqueConstraint("slug", name="uq_products_slug"),
    )
    op.create_table(
        "markets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("title", sa.Text()),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("base_rate", JSONB),
        sa.Column("activation", sa.Text(), nullable=False),
        sa.Column("last_version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("active_version", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("activation IN ('automatic', 'approval')", name=op.f("ck_markets_activation")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name="fk_markets_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_markets"),
        sa.UniqueConstraint("product_id", "slug", name="uq_markets_product_id_slug"),
    )
    op.create_table(
        "source_rows",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("market", sa.Text(), nullable=False),
        sa.Column("defaulted", sa.Boolean(), nullable=False),
        sa.Column("opened_on", sa.Date()),
        sa.Column("observed_on", sa.Date()),
        sa.Column("features", JSONB, nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name="fk_source_rows_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_source_rows"),
    )
    op.create_index("ix_source_rows_product_id_id", "source_rows", ["product_id", "id"], unique=False)
    op.create_table(
        "thetas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("recipe", JSONB, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("schema_sha256", sa.Text(), nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("report", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name="fk_thetas_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_thetas"),
        sa.UniqueConstraint("product_id", "version", name="uq_thetas_product_id_version"),
    )
    op.create_table(
        "trainings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("recipe", JSONB, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("progress", JSONB),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("checkpoint", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed')", name=op.f("ck_trainings_status")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name="fk_trainings_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trainings"),
        sa.UniqueConstraint("product_id", "version", name="uq_trainings_product_id_version"),
    )
    op.create_table(
        "accounts",
        sa.Column("market_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("features", JSONB, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["market_id"], ["markets.id"], name="fk_accounts_market_id"),
        sa.PrimaryKeyConstraint("market_id", "account", name="pk_accounts"),
    )
    op.create_table(
        "activations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=False),
        sa.Column("market_id", sa.BigInteger()),
        sa.Column("version", sa.Integer()),
        sa.Column("replaced_version", sa.Integer()),
        sa.Column("activated_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["market_id"], ["markets.id"], name="fk_activations_market_id"),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name="fk_activations_product_id"),
        sa.PrimaryKeyConstraint("id", name="pk_activations"),
    )
    op.create_index(
        "ix_activations_product_id_market_id_id", "activations", ["product_id", "market_id", "id"], unique=False
    )
    op.create_table(
        "samples",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("market_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("features", JSONB, nullable=False),
        sa.Column("defaulted", sa.Boolean(), nullable=False),
        sa.Column("opened_on", sa.Date(), nullable=False),
        sa.Column("observed_on", sa.Date(), nullable=False),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("design IN ('random', 'case_control')", name=op.f("ck_samples_design")),
        sa.ForeignKeyConstraint(["market_id"], ["markets.id"], name="fk_samples_market_id"),
        sa.PrimaryKeyConstraint("id", name="pk_samples"),
        sa.UniqueConstraint("market_id", "account", name="uq_samples_market_id_account"),
    )
    op.create_table(
        "theta_primes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("market_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("theta_id", sa.BigInteger(), nullable=False),
        sa.Column("recipe", JSONB, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("base_rate", JSONB),
        sa.Column("sample_ids", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("n_defaults", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reasons", JSONB, nullable=False),
        sa.Column("report", JSONB, nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict IN ('activate', 'hold', 'refuse')", name=op.f("ck_theta_primes_verdict")),
        sa.ForeignKeyConstraint(["market_id"], ["markets.id"], name="fk_theta_primes_market_id"),
        sa.ForeignKeyConstraint(["theta_id"], ["thetas.id"], name="fk_theta_primes_theta_id"),
        sa.PrimaryKeyConstraint("id", name="pk_theta_primes"),
        sa.UniqueConstraint("market_id", "version", name="uq_theta_primes_market_id_version"),
    )
    op.create_table(
        "scores",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("market_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.Text()),
        sa.Column("features", JSONB, nullable=False),
        sa.Column("unseen", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("pd", sa.Double(), nullable=False),
        sa.Column("points", sa.Double(), nullable=False),
        sa.Column("theta_id", sa.BigInteger(), nullable=False),
        sa.Column("theta_prime_id", sa.BigInteger()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["market_id"], ["markets.id"], name="fk_scores_market_id"),
        sa.ForeignKeyConstraint(["theta_id"], ["thetas.id"], name="fk_scores_theta_id"),
        sa.ForeignKeyConstraint(["theta_prime_id"], ["theta_primes.id"], name="fk_scores_theta_prime_id"),
        sa.PrimaryKeyConstraint("id", name="pk_scores"),
    )
    op.create_index("ix_scores_market_id_created_at", "scores", ["market_id", "created_at"], unique=False)
    op.create_foreign_key(
        "fk_products_active_theta_version",
        "products",
        "thetas",
        ["id", "active_theta_version"],
        ["product_id", "version"],
    )
    op.create_foreign_key(
        "fk_markets_active_version", "markets", "theta_primes", ["id", "active_version"], ["market_id", "version"]
    )
    _refuse_changes()


def _refuse_changes() -> None:
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'rows of % never change: % is refused', TG_TABLE_NAME, TG_OP
                USING ERRCODE = 'integrity_constraint_violation';
        END $$
    """)
    for table in IMMUTABLE:
        op.execute(f"""
            CREATE TRIGGER {table}_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)


def downgrade() -> None:
    op.drop_constraint("fk_products_active_theta_version", "products")
    op.drop_constraint("fk_markets_active_version", "markets")
    for table in (*IMMUTABLE, "accounts", "trainings", "source_rows", "markets", "products", "idempotency_keys"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_change()")
