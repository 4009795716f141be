"""Documents whose code blocks are run: shell blocks in one shell, Python blocks one by one, answers compared."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEMO_ADDRESS = "http://127.0.0.1:8000"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
_END = "--- end of a block ---"


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    language: str
    text: str


def blocks_of(document: Path) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(document.read_text())]


def commands_of(document: Path) -> list[str]:
    """The lines of indented blocks, without their remarks."""
    lines = _INDENTED.findall(_BLOCK.sub("", document.read_text()))
    return [line.split("  #")[0].strip() for line in lines]


def run_shell_blocks(blocks: list[Block], address: str, folder: Path) -> list[str]:
    """Run all shell blocks in one shell against the demo at ``address``; returns what each printed."""
    scripts = [block.text.replace(DEMO_ADDRESS, address) for block in blocks if block.language == "sh"]
    script = "set -euo pipefail\n" + "".join(f"{text}\necho; echo '{_END}'\n" for text in scripts)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(_END)[:-1]


def last_json(printed: str) -> Any:
    """The last JSON document among what was printed, one after the other."""
    decoder, place, found = json.JSONDecoder(), 0, None
    while place < len(printed):
        if printed[place] in "{[":
            found, place = decoder.raw_decode(printed, place)
        else:
            place += 1
    return found


def assert_like(answer: Any, shown: Any, where: str = "answer") -> None:
    """Everything that a document shows is in the answer: the same keys and kinds; texts of the demo's own are equal."""
    if isinstance(shown, dict):
        assert isinstance(answer, dict), where
        for key, value in shown.items():
            assert key in answer, f"{where}.{key}"
            assert_like(answer[key], value, f"{where}.{key}")
    elif isinstance(shown, list):
        assert isinstance(answer, list), where
        assert len(answer) >= len(shown), where
        for position, value in enumerate(shown):
            assert_like(answer[position], value, f"{where}[{position}]")
    elif isinstance(shown, float):
        assert isinstance(answer, int | float), where
    elif shown != "...":
        assert answer == shown, where
