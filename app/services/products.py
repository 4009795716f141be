"""Products: declare one, read one, list them."""

from app.domain.pages import Page
from app.domain.products import Product, ProductDraft
from app.errors import ProductExists, UnknownProduct
from app.store import products as store
from app.store.database import Transaction
from app.store.products import ProductRow


def declare_product(tx: Transaction, draft: ProductDraft) -> tuple[Product, bool]:
    """Keep a product; returns it and whether it is new. Declaring the very same again changes nothing.

    Raises: ProductExists: its slug is taken by another declaration.
    """
    is_new = store.insert_product(tx, draft)
    product = get_product(tx, draft.slug)
    if not is_new and product.model_dump(include=set(ProductDraft.model_fields)) != draft.model_dump():
        raise ProductExists(f"'{draft.slug}' is declared otherwise; a product never changes, so choose another name.")
    return product, is_new


def get_row(tx: Transaction, slug: str) -> ProductRow:
    """Raises: UnknownProduct."""
    row = store.find_product(tx, slug)
    if row is None:
        raise UnknownProduct(f"There is no product '{slug}'.")
    return row


def get_product(tx: Transaction, slug: str) -> Product:
    """Raises: UnknownProduct."""
    return get_row(tx, slug).product


def list_products(tx: Transaction, *, after: str | None, limit: int) -> Page[Product]:
    """Read one page of products by slug."""
    return Page.of(store.list_products(tx, after=after, limit=limit), limit, lambda product: product.slug)
