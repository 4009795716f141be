"""Scores as bytes: JSON rows or columns, CSV, Arrow stream or Parquet."""

import csv
import io
from types import GenericAlias
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
from pydantic import Field, create_model
from pydantic_core import to_json

from app.domain.scores import Score, reasons_as_text
from app.services.scoring import ScoredRows

JSON, CSV = "application/json", "text/csv"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"

_ARROW_SCHEMA = pyarrow.schema(
    {
        "id": pyarrow.string(),
        "product": pyarrow.string(),
        "market": pyarrow.string(),
        "account": pyarrow.string(),
        "pd": pyarrow.float64(),
        "pd_low": pyarrow.float64(),
        "pd_high": pyarrow.float64(),
        "reasons": pyarrow.list_(
            pyarrow.struct({"code": pyarrow.string(), "feature": pyarrow.string(), "points": pyarrow.float64()})
        ),
        "points": pyarrow.float64(),
        "basis": pyarrow.string(),
        "theta_version": pyarrow.int64(),
        "theta_prime_version": pyarrow.int64(),
        "n_defaults": pyarrow.int64(),
        "unseen": pyarrow.list_(pyarrow.string()),
        "filled": pyarrow.list_(pyarrow.string()),
        "scored_at": pyarrow.timestamp("us", tz="UTC"),
    }
)


_LISTS: dict[str, Any] = {
    name: (GenericAlias(list, field.annotation), Field(description=field.description))
    for name, field in Score.model_fields.items()
}
ScoreColumns = create_model(
    "ScoreColumns",
    __doc__="The scores of a batch sent as columns: a list for each field of a score, in the order of the rows.",
    columns=create_model("ColumnsOfScores", **_LISTS),
)


def write_scores(scored: ScoredRows, media_type: str, *, as_columns: bool) -> bytes:
    """Write scores in one of the four media types; ``as_columns`` chooses between the two forms of JSON."""
    if media_type == JSON:
        return to_json({"columns": scored.columns()} if as_columns else {"scores": scored.records()})
    if media_type == CSV:
        return _write_csv(scored.columns())
    return _write_arrow(scored.columns(), media_type)


def _write_csv(columns: dict[str, list[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    flat = columns | {
        "reasons": [reasons_as_text(reasons) for reasons in columns["reasons"]],
        **{name: [" ".join(names) for names in columns[name]] for name in ("unseen", "filled")},
        "scored_at": [moment.isoformat() for moment in columns["scored_at"]],
    }
    writer.writerows(zip(*flat.values(), strict=True))
    return text.getvalue().encode()


def _write_arrow(columns: dict[str, list[Any]], media_type: str) -> bytes:
    plain = columns | {
        "id": [str(score_id) for score_id in columns["id"]],
        "reasons": [
            None if reasons is None else [reason.model_dump() for reason in reasons] for reasons in columns["reasons"]
        ],
    }
    table = pyarrow.table(plain, schema=_ARROW_SCHEMA)
    sink = io.BytesIO()
    if media_type == PARQUET:
        pyarrow.parquet.write_table(table, sink)
    else:
        with pyarrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()
