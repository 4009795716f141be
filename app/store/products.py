"""Rows of products."""

from typing import Any, NamedTuple

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert

from app.domain.products import OutcomeDefinition, PointsScale, Product, ProductDraft
from app.domain.schema import FeatureSchema
from app.store.database import Transaction
from app.store.tables import products


class ProductRow(NamedTuple):
    id: int
    product: Product


def insert_product(tx: Transaction, draft: ProductDraft) -> bool:
    """Keep a new product; False, and nothing kept, where its slug is taken (also by a transaction under way)."""
    statement = (
        insert(products)
        .values(
            slug=draft.slug,
            title=draft.title,
            feature_schema=draft.feature_schema.model_dump(mode="json"),
            schema_sha256=draft.feature_schema.sha256(),
            outcome=draft.outcome.model_dump(mode="json"),
            points_scale=draft.points_scale.model_dump(mode="json"),
        )
        .on_conflict_do_nothing()
    )
    return tx.execute(statement.returning(products.c.id)).one_or_none() is not None


def find_product(tx: Transaction, slug: str) -> ProductRow | None:
    row = tx.execute(select(products).where(products.c.slug == slug)).one_or_none()
    return None if row is None else _read(row)


def get_product(tx: Transaction, product_id: int) -> ProductRow:
    """Read a product by its id. Raises: sqlalchemy's NoResultFound: there is none."""
    return _read(tx.execute(select(products).where(products.c.id == product_id)).one())


def list_products(tx: Transaction, *, after: str | None, limit: int) -> list[Product]:
    statement = select(products).where(products.c.slug > (after or "")).order_by(products.c.slug).limit(limit)
    return [_read(row).product for row in tx.execute(statement)]


def lock_product(tx: Transaction, product_id: int) -> int | None:
    """Wait for the product's row, hold it until the end of the transaction, read the active theta's version."""
    statement = (
        select(products.c.active_theta_version).where(products.c.id == product_id).with_for_update(key_share=True)
    )
    active: int | None = tx.execute(statement).scalar_one()
    return active


def set_active_theta(tx: Transaction, product_id: int, version: int) -> None:
    tx.execute(update(products).where(products.c.id == product_id).values(active_theta_version=version))


def _read(row: Row[Any]) -> ProductRow:
    product = Product(
        slug=row.slug,
        title=row.title,
        feature_schema=FeatureSchema.model_validate(row.feature_schema),
        outcome=OutcomeDefinition.model_validate(row.outcome),
        points_scale=PointsScale.model_validate(row.points_scale),
        schema_sha256=row.schema_sha256,
        active_theta_version=row.active_theta_version,
        created_at=row.created_at,
    )
    return ProductRow(row.id, product)
