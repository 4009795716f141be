"""The peers' environment: made once, a package that can't be installed leaves its row to say so."""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
FROM_SOURCE = "learn2learn"


def make_environment(folder: Path) -> Path:
    """Create ``folder`` with every peer of requirements.txt, unless it is there; returns its Python."""
    python = folder / "bin" / "python"
    if python.exists():
        return python
    _run(sys.executable, "-m", "venv", str(folder))
    for requirement in _requirements():
        print(f"installing {requirement}", file=sys.stderr)
        try:
            _install(python, requirement)
        except subprocess.CalledProcessError as fault:
            print(f"{requirement}: pip failed, its row will be empty\n{fault.stderr[-2000:]}", file=sys.stderr)
    return python


def _requirements() -> list[str]:
    lines = (line.strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _install(python: Path, requirement: str) -> None:
    if requirement.startswith(FROM_SOURCE):
        _install_from_source(python, requirement)
    else:
        _pip(python, "install", requirement)


def _install_from_source(python: Path, requirement: str) -> None:
    """Translate the package's ``.pyx`` files anew: the C it ships doesn't compile on Python 3.11."""
    with tempfile.TemporaryDirectory() as scratch:
        _pip(python, "download", "--no-deps", "--no-build-isolation", "--no-binary=:all:", "-d", scratch, requirement)
        archive = next(Path(scratch).glob("*.tar.gz"))
        with tarfile.open(archive) as source:
            source.extractall(scratch, filter="data")
        package = archive.with_name(archive.name.removesuffix(".tar.gz"))
        sources = [str(path) for path in package.glob(f"{FROM_SOURCE}/data/*.pyx")]
        _run(str(python.with_name("cython")), "-3", *sources)
        _pip(python, "install", "--no-deps", "--no-build-isolation", str(package))


def _pip(python: Path, *arguments: str) -> None:
    _run(str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
