"""Source data of a product: POST, GET."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import ValidationError

from app.api import examples
from app.api.counter import Answer, TheCounter
from app.api.parts import AfterName, Limit, ProductSlug, today
from app.api.strict_json import StrictRoute
from app.api.uploads import TheUpload
from app.domain.pages import Page
from app.domain.source_data import SourceColumns, SourceDataReceipt, SourceMarket
from app.errors import Fault, InvalidParameter
from app.services import source_data
from app.services.tables import read_table
from app.store.database import Transaction

router = APIRouter(prefix="/products/{product}/source-data", tags=["source data"], route_class=StrictRoute)

Column = Annotated[str, Query(min_length=1, max_length=100)]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "one row an account; features in the units of the product's schema; an empty cell is missing",
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": examples.SOURCE_CSV},
            "application/jsonl": {"schema": {"type": "string"}},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def _columns(
    market_column: Annotated[Column, Query(description="names the market of each row")] = "market",
    target_column: Annotated[Column, Query(description="true, false, 1 or 0: did it default?")] = "defaulted",
    opened_on_column: Annotated[
        Column | None, Query(description="day of opening; undated rows count as resolved")
    ] = None,
    observed_on_column: Annotated[Column | None, Query(description="day the outcome was looked at")] = None,
    ignore_column: Annotated[list[str] | None, Query(description="columns to leave out")] = None,
) -> SourceColumns:
    try:
        return SourceColumns(
            market=market_column,
            target=target_column,
            opened_on=opened_on_column,
            observed_on=observed_on_column,
            ignored=frozenset(ignore_column or ()),
        )
    except ValidationError as fault:
        rule = str(fault.errors()[0]["ctx"]["error"])
        raise InvalidParameter("The columns are not clear.", faults=[Fault("query", rule)]) from None


@router.post(
    "",
    status_code=201,
    response_model=SourceDataReceipt,
    openapi_extra=BODY,
    summary="Load labelled rows of mature markets",
)
def load_source_data(
    product: ProductSlug, columns: Annotated[SourceColumns, Depends(_columns)], upload: TheUpload, counter: TheCounter
) -> Response:
    """Load rows that theta is learned from: CSV, Parquet, Arrow stream or JSON lines, by Content-Type, streamed and
    checked against the product's schema. All rows or none: on a fault 422 lists every one with its row number.

    Rows with dates whose performance window is still open are left out and counted; undated rows are taken as
    resolved.
    """

    def work(tx: Transaction) -> Answer:
        batches = read_table(upload.file, upload.table_format, parse_json=counter.parse_json)
        return Answer(source_data.load_source_data(tx, product, batches, columns, today=today()))

    return upload.once.run(work)


@router.get("", summary="Count source rows by market")
def count_source_data(
    product: ProductSlug, counter: TheCounter, after: AfterName = None, limit: Limit = 100
) -> Page[SourceMarket]:
    """Count the rows that theta can be learned from, by market."""
    with counter.database.reading() as tx:
        return source_data.count_source_data(tx, product, after=after, limit=limit)
