"""What the documents say is run: every code block against the demo, every make line, every path and link."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.demo import RunningDemo
from tests.e2e.documents import DEMO_ADDRESS, assert_like, blocks_of, commands_of, last_json, run_shell_blocks
from tests.e2e.processes import ROOT

RUN = ("README.md", "docs/api.md")
LINKED = ("README.md", "docs/api.md", "docs/tour.md", "docs/glossary.md")


@pytest.mark.parametrize("name", RUN)
def test_every_block_runs_and_answers_as_shown(demo: RunningDemo, name: str, tmp_path: Path) -> None:
    blocks = blocks_of(ROOT / name)
    assert {block.language for block in blocks} <= {"sh", "json", "python"}
    printed = iter(run_shell_blocks(blocks, demo.address, tmp_path))
    answers = [next(printed) if block.language == "sh" else "" for block in blocks]
    for (before, answer), (after, _) in pairwise([*zip(blocks, answers, strict=True), (None, "")]):
        is_shown = after is not None and after.language == "json"
        if before.language == "sh" and is_shown:
            import json

            assert_like(last_json(answer), json.loads(after.text))
        assert is_shown or '"errors":' not in answer, answer


@pytest.mark.parametrize("name", RUN)
def test_every_python_block_runs(demo: RunningDemo, name: str, tmp_path: Path) -> None:
    for block in blocks_of(ROOT / name):
        if block.language == "python":
            program = block.text.replace(DEMO_ADDRESS, demo.address)
            subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", [line for line in commands_of(ROOT / "README.md") if "make " in line])
def test_every_make_line_names_a_target_and_variables_that_there_are(line: str) -> None:
    done = subprocess.run(["bash", "-c", f"{line} --dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text()
    for variable in re.findall(r"\b([A-Z_]+)=", line.partition("make ")[2]):
        assert f"$${{{variable}:+" in makefile


def test_the_readme_s_first_screen_has_the_two_commands() -> None:
    first_screen = (ROOT / "README.md").read_text().splitlines()[:24]
    assert {"make demo", "make test"} <= {line.split("#")[0].strip() for line in first_screen}


@pytest.mark.parametrize("name", LINKED)
def test_every_link_leads_somewhere(name: str) -> None:
    document = ROOT / name
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text())
    assert targets or name == "docs/glossary.md"
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_guide_speaks_of_every_path_of_the_api(demo: RunningDemo) -> None:
    """By its last fixed step: `samples`, `theta-primes`, `replay` and so on."""
    import httpx

    guide = (ROOT / "docs/api.md").read_text()
    paths = httpx.get(f"{demo.address}/openapi.json", trust_env=False).json()["paths"]
    steps = {[step for step in path.split("/") if not step.startswith("{")][-1] for path in paths}
    assert {step for step in steps if step not in guide} == set()
