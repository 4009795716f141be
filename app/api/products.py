"""Products: POST, GET."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from app.api import examples
from app.api.counter import Answer, TheCounter, WithKey
from app.api.parts import AfterName, Limit, ProductSlug
from app.api.strict_json import StrictRoute
from app.domain.pages import Page
from app.domain.products import Product, ProductDraft
from app.services import products
from app.store.database import Transaction

router = APIRouter(prefix="/products", tags=["products"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    response_model=Product,
    responses={200: {"model": Product, "description": "declared the very same before"}},
    summary="Declare a product",
)
def declare_product(draft: Annotated[ProductDraft, Body(examples=[examples.DECLARATION])], once: WithKey) -> Response:
    """Declare a card product: its feature schema, what default means (window in days), and its points scale
    (`base_points` at `base_odds` goods to one bad, `pdo` points double the odds).

    A product never changes, since every theta is bound to its schema. Declaring the very same again answers 200.
    """

    def work(tx: Transaction) -> Answer:
        product, is_new = products.declare_product(tx, draft)
        headers = {"Location": f"/v1/products/{product.slug}"}
        return Answer(product, status=201 if is_new else 200, headers=headers)

    return once.run(work)


@router.get("", summary="List products")
def list_products(counter: TheCounter, after: AfterName = None, limit: Limit = 100) -> Page[Product]:
    """List products by slug."""
    with counter.database.reading() as tx:
        return products.list_products(tx, after=after, limit=limit)


@router.get("/{product}", summary="Read a product")
def get_product(product: ProductSlug, counter: TheCounter) -> Product:
    """Read a product's declaration and which theta serves it."""
    with counter.database.reading() as tx:
        return products.get_product(tx, product)
