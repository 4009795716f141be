"""``thetaprime demo`` as its users meet it: a process, what it prints, and where it serves."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import ROOT

DEMO = [sys.executable, "-m", "app.cli", "demo", "--quick", "--threads", "1"]
PATIENCE_S = 300


@dataclass(frozen=True)
class RunningDemo:
    """A demo that has come to serving; ``output`` is what it has printed so far."""

    process: "subprocess.Popen[str]"
    data_dir: Path
    address: str
    output: str


def environment(database_url: str = "") -> dict[str, str]:
    return os.environ | {"DATABASE_URL": database_url, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def run_to_its_end(*arguments: str, database_url: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*DEMO, "--port", "0", "--exit", *arguments],
        cwd=ROOT,
        env=environment(database_url),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def running_demo(data_dir: Path) -> Iterator[RunningDemo]:
    """Run the demo on made-up data until it serves; killed at the end if it still runs."""
    command = [*DEMO, "--port", "0", "--data-dir", str(data_dir)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "curl -s" in line:
                    break
            found = re.search(r"curl -s (http://[^/]+)/", lines[-1])
            assert found is not None, "".join(lines)
            yield RunningDemo(process, data_dir, found.group(1), "".join(lines))
        finally:
            process.kill()
