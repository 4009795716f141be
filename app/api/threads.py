"""Where the reading of a large body happens: not on the event loop, which every other request waits for."""

from collections.abc import Callable
from typing import TypeVar

from fastapi.concurrency import run_in_threadpool

from app.api.limits import LARGE_BODY_BYTES

Found = TypeVar("Found")


async def read_aside(read: Callable[[bytes], Found], body: bytes) -> Found:
    """Read a body; in a thread, where it is large enough for others to notice."""
    return await run_in_threadpool(read, body) if len(body) > LARGE_BODY_BYTES else read(body)
