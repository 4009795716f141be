"""Real processes for tests that kill them: an API, a worker, clients that go on posting until nobody answers."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.worker import WorkerSettings, start_worker

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0

Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], what: str) -> Found:
    """Look until there is something to see."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE_S:g} s in vain: {what}")
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Does a process run? One that has ended and is not yet waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return shown.strip()[:1] not in ("", "Z")


def children_of(pid: int) -> list[int]:
    shown = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in shown.splitlines()]
    return [child for child, parent in pairs if parent == pid]


@contextmanager
def worker(settings: WorkerSettings) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, stopped in good order at the end unless it was killed before."""
    with start_worker(settings) as process:
        try:
            yield process
        finally:
            process.terminate()


class Api:
    """The real service as a process of its own, always at the same address."""

    def __init__(self, database_url: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = os.environ | {"DATABASE_URL": database_url, "OMP_NUM_THREADS": "1"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--port", str(self.port)]
        self._process = subprocess.Popen([*command, "--no-access-log"], cwd=ROOT, env=self._environment)
        eventually(self._answers, "the service answers")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the service ended; its log says why"
        with self.client() as client:
            try:
                return client.get("/v1/products").status_code == 200
            except httpx.TransportError:
                return False


@dataclass
class Sent:
    """A POST, and its answer if there came one."""

    path: str
    key: str
    body: dict[str, Any]
    answer: httpx.Response | None = None

    @property
    def accounts(self) -> list[str]:
        return [row["account"] for row in self.body["rows"]]

    def post(self, client: httpx.Client) -> httpx.Response:
        return client.post(self.path, json=self.body, headers={"Idempotency-Key": self.key})


@dataclass
class Posters:
    """Threads that post without a pause, each until it gets no answer or an answer other than ``status``.

    ``make(name)`` makes the next POST; a name is never used twice.
    """

    api: Api
    make: Callable[[str], Sent]
    status: int
    sent: list[Sent] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, name: str, *, n_threads: int = 4) -> None:
        for number in range(n_threads):
            thread = threading.Thread(target=self._post, args=(f"{name}-{number}",))
            thread.start()
            self._threads.append(thread)

    def wait_until_acknowledged(self, n: int) -> None:
        def look() -> bool:
            failed = [sent.answer.text for sent in self.unanswered if sent.answer is not None]
            assert not failed, failed
            return len(self.acknowledged) >= n

        eventually(look, f"{n} posts are acknowledged")

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    @property
    def acknowledged(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.answer is not None and sent.answer.status_code == self.status]

    @property
    def unanswered(self) -> list[Sent]:
        return [sent for sent in self.sent if sent not in self.acknowledged]

    def _post(self, name: str) -> None:
        with self.api.client() as client:
            for number in range(10_000):
                sent = self.make(f"{name}-{number}")
                self.sent.append(sent)
                try:
                    sent.answer = sent.post(client)
                except httpx.TransportError:
                    return
                if sent.answer.status_code != self.status:
                    return
