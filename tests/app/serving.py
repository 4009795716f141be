"""Any app of ours behind a real uvicorn on a real socket, as users meet it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from app.api.logging_config import LOGGING

PATIENCE_S = 30


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """Yield a client of `app`, which listens on a port of its own until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=LOGGING))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with httpx.Client(base_url=_url(server, thread), timeout=PATIENCE_S, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def _url(server: uvicorn.Server, thread: threading.Thread) -> str:
    deadline = time.monotonic() + PATIENCE_S
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise AssertionError("the service did not start; its log says why")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}"
