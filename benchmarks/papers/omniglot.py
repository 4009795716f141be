"""The public Omniglot archives, images_background.zip and images_evaluation.zip (github.com/brendenlake/omniglot)."""

from collections import defaultdict
from io import BytesIO
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import numpy as np
from PIL import Image

from benchmarks.papers.images import N_DRAWINGS, SIDE, Drawings

ARCHIVES = ("images_background.zip", "images_evaluation.zip")


def find_archives(folder: Path) -> list[Path]:
    """Name the archives in a folder.

    Raises:  FileNotFoundError: one of them is not there.
    """
    found = [folder / name for name in ARCHIVES]
    for file in found:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there; both are at https://github.com/brendenlake/omniglot")
    return found


def load_omniglot(archives: list[Path]) -> Drawings:
    """Read every character's drawings, resized by nearest neighbour: (n_characters, N_DRAWINGS, SIDE, SIDE), ink = 1.

    Raises:  ValueError: a character has another number of drawings.
    """
    characters = [np.stack(drawings) for archive in archives for drawings in _by_character(archive)]
    for drawings in characters:
        if len(drawings) != N_DRAWINGS:
            raise ValueError(f"a character has {len(drawings)} drawings, not {N_DRAWINGS}")
    return np.stack(characters)


def _by_character(archive: Path) -> list[list[Drawings]]:
    found: dict[PurePosixPath, list[Drawings]] = defaultdict(list)
    with ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            if name.endswith(".png") and not name.startswith("__MACOSX"):
                found[PurePosixPath(name).parent].append(_read(opened.read(name)))
    return list(found.values())


def _read(png: bytes) -> Drawings:
    with Image.open(BytesIO(png)) as image:
        small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.NEAREST)
        return (np.asarray(small) < 128).astype(np.uint8)
