"""Tables on their way to the service: files as they are, frames as an Arrow stream; neither is held twice."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas
import pyarrow
import pyarrow.ipc

from app.client.errors import ThetaprimeError
from app.client.transport import MakeContent

ARROW = "application/vnd.apache.arrow.stream"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".arrows": ARROW,
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
}
CHUNK_BYTES = 2**18
CHUNK_ROWS = 2**14


@dataclass(frozen=True)
class TableBody:
    """A body that can be made anew for every try, and its media type."""

    content_type: str
    content: MakeContent


def body_of(table: Path | str | pandas.DataFrame) -> TableBody:
    """Make the body of a file, by its suffix, or of a frame. Raises: ThetaprimeError: no such file, unknown suffix."""
    if isinstance(table, pandas.DataFrame):
        return TableBody(ARROW, lambda: arrow_chunks(table))
    path = Path(table)
    if not path.is_file():
        raise ThetaprimeError(f"There is no file {path}.", code="unreadable_file")
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        known = ", ".join(MEDIA_TYPES)
        raise ThetaprimeError(f"The format of {path.name} is not known; name it {known}.", code="unreadable_file")
    return TableBody(media_type, lambda: file_chunks(path))


def file_chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def arrow_chunks(frame: pandas.DataFrame) -> Iterator[bytes]:
    """Write a frame as an Arrow IPC stream, some rows at a time; NaN is written as null."""
    written = _Written()
    schema = pyarrow.Schema.from_pandas(frame, preserve_index=False).remove_metadata()
    with pyarrow.ipc.new_stream(written, schema) as writer:
        for first in range(0, len(frame), CHUNK_ROWS):
            rows = frame.iloc[first : first + CHUNK_ROWS]
            writer.write_table(pyarrow.Table.from_pandas(rows, schema=schema, preserve_index=False))
            yield written.take()
    yield written.take()


class _Written:
    """A file for pyarrow to write to, emptied after every batch."""

    closed = False

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, piece: bytes) -> int:
        self._bytes += memoryview(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
