"""Scores: POST a batch, GET the record, a replay, an explanation."""

import io
from functools import partial
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api import examples
from app.api.counter import Answer, Counter, TheCounter, WithKey
from app.api.negotiation import choose_media_type
from app.api.parts import MarketSlug, ProductSlug
from app.api.score_media import ARROW, CSV, JSON, PARQUET, ScoreColumns, write_scores
from app.api.strict_json import StrictRoute, require_media_type
from app.api.uploads import FORMATS
from app.domain.schema import FeatureSchema
from app.domain.scores import RecordedScore, Replay, ScoreExplanation, ScoreList
from app.services import recorded_scores, scoring
from app.services.score_batches import ScoreBatch, read_batches, read_document
from app.services.tables import read_table
from app.store.database import Transaction

router = APIRouter(tags=["scores"], route_class=StrictRoute)

MEDIA_TYPES = (JSON, CSV, ARROW, PARQUET)
NO_STORE = {"Cache-Control": "no-store"}
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "rows, columns or a table, with features in the units of the product's schema",
        "content": {
            JSON: {
                "schema": {"type": "object"},
                "examples": {"rows": {"value": examples.SCORE_ROWS}, "columns": {"value": examples.SCORE_COLUMNS}},
            },
            CSV: {
                "schema": {"type": "string"},
                "example": examples.SCORE_CSV,
            },
            ARROW: BINARY,
            PARQUET: BINARY,
        },
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "scores in the order of the rows", "content": {CSV: BINARY, ARROW: BINARY, PARQUET: BINARY}}
}
WithReasons = Annotated[
    bool,
    Query(description="true: each score with its reasons, which costs about a millisecond an account; else null"),
]
ScoreId = Annotated[UUID, Path(description="the `id` of a score")]


class SentBatch(NamedTuple):
    """A body, not yet read, and how it wants to be answered."""

    media_type: str
    body: bytes
    answer_type: str


async def _receive(request: Request) -> SentBatch:
    media_type = require_media_type(request, *MEDIA_TYPES)
    answer_type = choose_media_type(request.headers.get("accept"), media_type, *MEDIA_TYPES)
    return SentBatch(media_type, await request.body(), answer_type)


@router.post(
    "/products/{product}/markets/{market}/scores",
    response_model=ScoreList | ScoreColumns,
    responses=RESPONSES,
    openapi_extra=BODY,
    summary="Score a batch",
)
def score_batch(
    product: ProductSlug,
    market: MarketSlug,
    sent: Annotated[SentBatch, Depends(_receive)],
    counter: TheCounter,
    once: WithKey,
    reasons: WithReasons = False,
) -> Response:
    """Score many accounts by the version that serves the market: JSON rows or columns, CSV, Arrow stream or Parquet,
    a column a feature and `account` where rows have one. The answer has the media type of the body unless `Accept`
    asks for another; JSON columns are answered as columns. The PD is a share from 0 to 1 with its 90 % interval;
    points are on the product's scale, more is safer. With `reasons=true` each score says what makes it riskier than
    the reference account; a cell of CSV writes them as `code:points`, parted by spaces, or `none`. All rows or none
    are scored, and all are in the ledger before the answer.
    """

    def work(tx: Transaction) -> Answer:
        document = counter.parse_json(sent.body) if sent.media_type == JSON else None
        read = partial(_read, counter, sent, document)
        scored = scoring.score_batch(tx, counter.predictors, product, market, read, with_reasons=reasons)
        as_columns = isinstance(document, dict) and "columns" in document
        content = write_scores(scored, sent.answer_type, as_columns=as_columns)
        counting = partial(counter.metrics.count_scores, scored.basis, len(scored.rows))
        return Answer(content, status=200, media_type=sent.answer_type, headers=NO_STORE, on_commit=counting)

    return once.run(work)


def _read(counter: Counter, sent: SentBatch, document: Any, schema: FeatureSchema) -> ScoreBatch:
    max_rows = counter.settings.max_rows
    if sent.media_type == JSON:
        return read_document(schema, document, max_rows=max_rows)
    batches = read_table(io.BytesIO(sent.body), FORMATS[sent.media_type], parse_json=counter.parse_json)
    return read_batches(schema, batches, max_rows=max_rows)


@router.get("/scores/{score_id}", summary="Read a recorded score")
def get_score(score_id: ScoreId, counter: TheCounter, response: Response) -> RecordedScore:
    """Read a score as it was recorded, with the inputs and the versions that made it."""
    response.headers.update(NO_STORE)
    with counter.database.reading() as tx:
        return recorded_scores.get_score(tx, score_id)


@router.get("/scores/{score_id}/replay", summary="Compute a recorded score again")
def replay_score(score_id: ScoreId, counter: TheCounter, response: Response) -> Replay:
    """Compute a score again from its recorded inputs by its recorded versions, and say whether PD and interval are the
    same to the last bit."""
    response.headers.update(NO_STORE)
    with counter.database.reading() as tx:
        return recorded_scores.replay_score(tx, counter.predictors, score_id)


@router.get("/scores/{score_id}/explanation", summary="Take a recorded score apart")
def explain_score(score_id: ScoreId, counter: TheCounter, response: Response) -> ScoreExplanation:
    """See what made a score, computed from its recorded inputs by its recorded versions: the reference account's score
    and what each feature's value adds to it, in logits of default (more is riskier) and in points (more is safer).
    They add up to the score, and `identical` says whether its PD came out the same to the last bit."""
    response.headers.update(NO_STORE)
    with counter.database.reading() as tx:
        return recorded_scores.explain_score(tx, counter.predictors, score_id)
