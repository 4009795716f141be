"""Tables as they come in: CSV, Parquet, Arrow or JSON lines, read in batches and never held whole."""

import csv
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from io import TextIOWrapper
from itertools import islice
from typing import Any, BinaryIO, Literal, NamedTuple

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from app.domain.schema import FeatureSchema
from app.errors import CorruptTable, Fault, InvalidJson, InvalidRows

TableFormat = Literal["csv", "parquet", "arrow", "jsonl"]
ParseJson = Callable[[bytes], Any]
Columns = tuple[int, dict[str, list[Any]]]  # how many rows, and their values by column

BATCH_ROWS = 5_000
MAX_LINE_BYTES = 2**20


class Batch(NamedTuple):
    """Some rows of a table as columns of plain values; ``is_text``: of CSV, where all values are texts."""

    first_row: int
    n_rows: int
    columns: dict[str, list[Any]]
    is_text: bool


def read_table(file: BinaryIO, table_format: TableFormat, *, parse_json: ParseJson) -> Generator[Batch]:
    """Read a table batch by batch, in order; ``parse_json`` reads one line of JSON lines.

    Who stops early closes the generator, while the file is still open.

    Raises: CorruptTable: the file ends early, is damaged or is not of its format; InvalidRows: a line is no row.
    """
    if table_format == "jsonl":
        batches = _read_json_lines(file, parse_json)
    elif table_format == "csv":
        batches = _read_csv(file)
    else:
        batches = _read_arrow(file, table_format)
    return _numbered(batches, is_text=table_format == "csv")


def feature_columns(schema: FeatureSchema, batch: Batch) -> dict[str, list[Any]]:
    """Take the features' columns out of a batch, in the schema's order; an absent one is all missing.

    Numbers of CSV are read; a text that is none stays text, for the schema to refuse.
    """
    found = {name: batch.columns.get(name) or [None] * batch.n_rows for name in schema.names}
    if batch.is_text:
        numeric = (feature.name for feature in schema.features if feature.kind == "numeric")
        found |= {name: [_number(text) for text in found[name]] for name in numeric}
    return found


def _number(text: str | None) -> float | str | None:
    if text is None or "_" in text:  # Python reads 1_000 as a number; nobody means one
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _numbered(batches: Generator[Columns], *, is_text: bool) -> Generator[Batch]:
    first_row = 0
    with closing(batches):
        for n_rows, columns in batches:
            yield Batch(first_row, n_rows, columns, is_text)
            first_row += n_rows


def _read_csv(file: BinaryIO) -> Generator[Columns]:
    with _corruption("CSV"), _as_text(file) as text:
        reader = filter(None, csv.reader(text, strict=True))
        names = _require_distinct(next(reader, []))
        first_row = 0
        while rows := list(islice(reader, BATCH_ROWS)):
            _require_width(rows, len(names), first_row)
            cells = zip(*rows, strict=True)
            yield (
                len(rows),
                {name: [cell or None for cell in column] for name, column in zip(names, cells, strict=True)},
            )
            first_row += len(rows)


@contextmanager
def _as_text(file: BinaryIO) -> Iterator[TextIOWrapper]:
    text = TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()  # the file is the caller's to close


def _require_width(rows: Sequence[Sequence[str]], width: int, first_row: int) -> None:
    faults = [
        Fault("row", f"must have {width} cells as the header has, not {len(row)}", row=first_row + position)
        for position, row in enumerate(rows)
        if len(row) != width
    ]
    if faults:
        raise InvalidRows("Lines do not match the header; nothing was stored.", faults=faults)


def _read_arrow(file: BinaryIO, table_format: TableFormat) -> Generator[Columns]:
    with _corruption("Parquet" if table_format == "parquet" else "Arrow stream"):
        for batch in _record_batches(file, table_format):
            batch.validate(full=True)  # offsets and lengths come from outside; unchecked they reach beyond memory
            names = _require_distinct(batch.schema.names)
            yield batch.num_rows, {name: _plain(column) for name, column in zip(names, batch.columns, strict=True)}


def _record_batches(file: BinaryIO, table_format: TableFormat) -> Iterator[pyarrow.RecordBatch]:
    if table_format == "parquet":
        yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS)
    else:
        yield from pyarrow.ipc.open_stream(file)


def _plain(column: pyarrow.Array) -> list[Any]:
    if pyarrow.types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    values: list[Any] = column.to_pylist()
    return values


def _read_json_lines(file: BinaryIO, parse_json: ParseJson) -> Generator[Columns]:
    lines = enumerate(_bounded_lines(file))
    while batch := [_row(line, number, parse_json) for number, line in islice(lines, BATCH_ROWS)]:
        names = dict.fromkeys(name for row in batch for name in row)
        yield len(batch), {name: [row.get(name) for row in batch] for name in names}


def _bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise CorruptTable(f"A line is longer than {MAX_LINE_BYTES:,} bytes.")
        if line.strip():
            yield line


def _row(line: bytes, number: int, parse_json: ParseJson) -> dict[str, Any]:
    try:
        row = parse_json(line.strip())
    except InvalidJson as fault:
        raise CorruptTable(f"Row {number} is not JSON: {fault.detail}") from None
    if not isinstance(row, dict):
        raise InvalidRows(
            "A line is not a row; nothing was stored.", faults=[Fault("row", "must be an object", number)]
        )
    return row


def _require_distinct(names: Sequence[str]) -> Sequence[str]:
    if not names:
        raise CorruptTable("The table has no columns.")
    if len(set(names)) != len(names):
        raise CorruptTable("Two columns have the same name.")
    return names


@contextmanager
def _corruption(kind: str) -> Iterator[None]:
    """Answer what readers raise on a damaged file; their own words may quote what stood there."""
    try:
        yield
    except (pyarrow.ArrowException, csv.Error, UnicodeDecodeError, EOFError, OSError, OverflowError) as fault:
        raise CorruptTable(f"The {kind} cannot be read to its end.") from fault
