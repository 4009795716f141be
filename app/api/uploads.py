"""Bodies that are tables: streamed to a file on disk, never held whole in memory."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, BinaryIO

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from app.api.counter import IdempotencyKey, Once, TheCounter, fingerprint
from app.api.strict_json import require_media_type
from app.services.tables import TableFormat

FORMATS: dict[str, TableFormat] = {
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
}


@dataclass(frozen=True)
class Upload:
    """A table on disk, gone when its request ends."""

    file: BinaryIO
    table_format: TableFormat
    once: Once


async def _receive(request: Request, counter: TheCounter, key: IdempotencyKey = None) -> AsyncIterator[Upload]:
    table_format = FORMATS[require_media_type(request, *FORMATS)]
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as file:

        def take(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        async for chunk in request.stream():
            await run_in_threadpool(take, chunk)  # a slow disk holds up nobody else
        file.seek(0)
        once = Once(counter.database, key, fingerprint(request, digest.hexdigest()))
        yield Upload(file, table_format, once)


TheUpload = Annotated[Upload, Depends(_receive)]
