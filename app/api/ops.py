"""Operations: GET, as a table or as a picture."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.api.counter import TheCounter
from app.api.market_chart import draw_gains
from app.api.negotiation import choose_media_type, is_from_a_browser
from app.api.parts import AfterName
from app.api.strict_json import StrictRoute
from app.domain.operations import MarketStatus
from app.domain.pages import Page
from app.domain.products import Slug
from app.services import operations

router = APIRouter(prefix="/ops", tags=["operations"], route_class=StrictRoute)

JSON, SVG = "application/json", "image/svg+xml"
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {SVG: {"schema": {"type": "string"}}}, "description": "the table, or its picture"}
}

OneProduct = Annotated[Slug | None, Query(description="only this product's markets")]
Limit = Annotated[int, Query(ge=1, le=200, description="markets of a page, or of a picture")]


@router.get("/markets", response_model=Page[MarketStatus], responses=PICTURE, summary="See every market at once")
def list_market_status(
    request: Request,
    response: Response,
    counter: TheCounter,
    product: OneProduct = None,
    after: AfterName = None,
    limit: Limit = 50,
) -> Page[MarketStatus] | Response:
    """See what scores in each market, since when, on how many labelled accounts, what the newest theta_prime rests on,
    its verdict with the first reason, and what it gains over theta: log loss in nats an account, on accounts held out
    of the adaptation.

    Choose `image/svg+xml` as the media type of the response for a picture of the gains, in place of the table. A
    browser that opens the address is shown the picture.
    """
    accept = request.headers.get("accept")
    chosen = choose_media_type(accept, *((SVG, JSON) if is_from_a_browser(accept) else (JSON, SVG)))
    with counter.database.reading() as tx:
        page = operations.list_market_status(tx, product=product, after=after, limit=limit)
    headers = {"Vary": "Accept", "Cache-Control": "no-store"}
    if chosen == SVG:
        return Response(draw_gains(page.items), media_type=SVG, headers=headers)
    response.headers.update(headers)
    return page
