"""A row's worker process, seen from the command."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.engine.rows import Row
from benchmarks.engine.task import Array
from benchmarks.engine.worker import ONE_THREAD

REPOSITORY = Path(__file__).resolve().parents[2]


class RowFailed(Exception):
    """The row's worker could not do what was asked; the message says why."""


class Worker:
    """One process for one row at one precision; a context manager that ends it."""

    def __init__(self, row: Row, python: Path, dtype: str = "float32", log: int = subprocess.DEVNULL) -> None:
        interpreter = Path(sys.executable) if row.is_ours else python
        if not interpreter.exists():
            raise RowFailed("the peers' environment was not made")
        self._process = subprocess.Popen(
            [str(interpreter), "-m", "benchmarks.engine.worker", row.name, dtype],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | ONE_THREAD,
        )

    def describe(self) -> Mapping[str, str]:
        return self._ask({"do": "describe"})

    def meta_gradient(self) -> dict[str, Array]:
        return {name: np.asarray(value) for name, value in self._ask({"do": "gradient"}).items()}

    def seconds(self, n_meta_batches: int) -> float:
        """Wall-clock seconds per meta-batch."""
        return float(self._ask({"do": "run", "n": n_meta_batches})["seconds"]) / n_meta_batches

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has failed before it was asked; its last line says how
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"error": "the worker ended without a word"}
        if "error" in found:
            raise RowFailed(found["error"])
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()
