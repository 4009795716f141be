"""Every table of the service, as SQLAlchemy Core; the migrations build exactly this (a test compares them)."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

IMMUTABLE_TABLES = ("thetas", "samples", "theta_primes", "activations", "scores")


def _identity() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


def _product() -> Column[int]:
    return Column("product_id", ForeignKey("products.id"), nullable=False)


def _market() -> Column[int]:
    return Column("market_id", ForeignKey("markets.id"), nullable=False)


products = Table(
    "products",
    metadata,
    _identity(),
    Column("slug", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("feature_schema", JSONB, nullable=False),
    Column("schema_sha256", Text, nullable=False),
    Column("outcome", JSONB, nullable=False),
    Column("points_scale", JSONB, nullable=False),
    Column("last_theta_version", Integer, nullable=False, server_default="0"),
    Column("active_theta_version", Integer),
    _created_at(),
    ForeignKeyConstraint(
        ["id", "active_theta_version"],
        ["thetas.product_id", "thetas.version"],
        name="fk_products_active_theta_version",
        use_alter=True,
    ),
)

source_rows = Table(
    "source_rows",
    metadata,
    _identity(),
    _product(),
    Column("market", Text, nullable=False),
    Column("defaulted", Boolean, nullable=False),
    Column("opened_on", Date),
    Column("observed_on", Date),
    Column("features", JSONB, nullable=False),
    Index(None, "product_id", "id"),
)

# One row per requested training; mutable while it runs. A succeeded training has a theta of the same version.
# `attempts` counts starts and fences: a run whose number is not the latest writes nothing. `crashes` counts runs that
# ended without a word since the last checkpoint.
trainings = Table(
    "trainings",
    metadata,
    _identity(),
    _product(),
    Column("version", Integer, nullable=False),
    Column("recipe", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("status", Text, nullable=False, server_default="queued"),
    Column("progress", JSONB),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("activate_if_first", Boolean, nullable=False, server_default="false"),
    Column("checkpoint", LargeBinary),
    _created_at(),
    Column("started_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    UniqueConstraint("product_id", "version"),
    CheckConstraint("status IN ('queued', 'running', 'succeeded', 'failed')", name="status"),
)

# `software` and `source_data`, here and below, are null of versions from before they were recorded.
thetas = Table(
    "thetas",
    metadata,
    _identity(),
    _product(),
    Column("version", Integer, nullable=False),
    Column("recipe", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("schema_sha256", Text, nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("report", JSONB, nullable=False),
    _created_at(),
    Column("software", JSONB(none_as_null=True)),
    Column("source_data", JSONB(none_as_null=True)),
    UniqueConstraint("product_id", "version"),
)

# `active_version` is null while the market is served by theta.
markets = Table(
    "markets",
    metadata,
    _identity(),
    _product(),
    Column("slug", Text, nullable=False),
    Column("title", Text),
    Column("currency", Text, nullable=False),
    Column("base_rate", JSONB(none_as_null=True)),
    Column("activation", Text, nullable=False),
    Column("last_version", Integer, nullable=False, server_default="0"),
    Column("active_version", Integer),
    _created_at(),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("product_id", "slug"),
    ForeignKeyConstraint(
        ["id", "active_version"],
        ["theta_primes.market_id", "theta_primes.version"],
        name="fk_markets_active_version",
        use_alter=True,
    ),
    CheckConstraint("activation IN ('automatic', 'approval')", name="activation"),
)

accounts = Table(
    "accounts",
    metadata,
    Column("market_id", ForeignKey("markets.id"), primary_key=True),
    Column("account", Text, primary_key=True),
    Column("features", JSONB, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# `batch` is the version of the theta_prime that these rows were posted for: the first to have seen them.
samples = Table(
    "samples",
    metadata,
    _identity(),
    _market(),
    Column("account", Text, nullable=False),
    Column("features", JSONB, nullable=False),
    Column("defaulted", Boolean, nullable=False),
    Column("opened_on", Date, nullable=False),
    Column("observed_on", Date, nullable=False),
    Column("design", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    _created_at(),
    UniqueConstraint("market_id", "account"),
    CheckConstraint("design IN ('random', 'case_control')", name="design"),
)

theta_primes = Table(
    "theta_primes",
    metadata,
    _identity(),
    _market(),
    Column("version", Integer, nullable=False),
    Column("theta_id", ForeignKey("thetas.id"), nullable=False),
    Column("recipe", JSONB, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("design", Text, nullable=False),
    Column("base_rate", JSONB(none_as_null=True)),
    Column("sample_ids", ARRAY(BigInteger), nullable=False),
    Column("n_defaults", Integer, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("report", JSONB, nullable=False),
    Column("weights", LargeBinary, nullable=False),
    Column("sha256", Text, nullable=False),
    _created_at(),
    Column("software", JSONB(none_as_null=True)),
    UniqueConstraint("market_id", "version"),
    CheckConstraint("verdict IN ('activate', 'hold', 'refuse')", name="verdict"),
)

# What was put in service, where, by whom: of a product's theta where market_id is null, else of a market's
# theta_prime. `version` null: the market went back to theta.
activations = Table(
    "activations",
    metadata,
    _identity(),
    _product(),
    Column("market_id", ForeignKey("markets.id")),
    Column("version", Integer),
    Column("replaced_version", Integer),
    Column("activated_by", Text, nullable=False),
    Column("note", Text),
    _created_at(),
    Index(None, "product_id", "market_id", "id"),
)

# Scores from before intervals have neither; `reasons` is null too where they were not asked for.
scores = Table(
    "scores",
    metadata,
    Column("id", Uuid, primary_key=True),
    _market(),
    Column("account", Text),
    Column("features", JSONB, nullable=False),
    Column("unseen", ARRAY(Text), nullable=False),
    Column("filled", ARRAY(Text), nullable=False, server_default="{}"),
    Column("pd", Double, nullable=False),
    Column("points", Double, nullable=False),
    Column("theta_id", ForeignKey("thetas.id"), nullable=False),
    Column("theta_prime_id", ForeignKey("theta_primes.id")),
    _created_at(),
    Column("pd_low", Double),
    Column("pd_high", Double),
    Column("reasons", JSONB(none_as_null=True)),
    Index(None, "market_id", "created_at"),
    Index(None, "market_id", "account", postgresql_where=text("account IS NOT NULL")),
)

# The first answer to each Idempotency-Key, byte for byte; `status` is null only inside the first transaction.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    _created_at(),
    Index(None, "created_at"),
)
