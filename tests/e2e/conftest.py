"""One demo for all that is tried against it: its own output, the README's walk, the guide's examples."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import throwaway_name
from tests.e2e.demo import RunningDemo, running_demo


@pytest.fixture
def demo_folder() -> Iterator[Path]:
    path = Path(tempfile.gettempdir()) / throwaway_name()  # root's PostgreSQL can't reach pytest's own folder
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def demo() -> Iterator[RunningDemo]:
    folder = Path(tempfile.gettempdir()) / throwaway_name()
    with running_demo(folder) as demo:
        yield demo
        demo.process.terminate()
        demo.process.wait()
    shutil.rmtree(folder)
