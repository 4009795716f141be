"""Generated characters where the Omniglot archives are absent: a few strokes each, twenty hands that draw them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.papers.images import N_DRAWINGS, SIDE, Drawings

FloatArray = NDArray[np.float64]

N_CHARACTERS = 1623  # as many as Omniglot has
CANVAS = 105  # pixels a side, as in Omniglot; made smaller by nearest neighbour, as there
N_STROKES = (1, 4)
PEN = 3  # pixels
ALONG = np.linspace(0.0, 1.0, 160)[:, None]


@dataclass(frozen=True)
class Hand:
    """How far a drawing strays from its character; lengths in shares of the canvas."""

    control_sd: float = 0.03
    stroke_sd: float = 0.03  # a whole stroke moves
    rotation_sd: float = 0.12  # radians
    scale_sd: float = 0.10
    shear_sd: float = 0.12
    shift_sd: float = 0.05


def load_glyphs(folder: Path, seed: int = 0, n_characters: int = N_CHARACTERS) -> Drawings:
    """Give the generated set, made once and kept in a file: (n_characters, N_DRAWINGS, SIDE, SIDE), ink = 1."""
    file = folder / f"glyphs.{n_characters}.{seed}.npz"
    if file.exists():
        with np.load(file) as kept:
            return np.unpackbits(kept["bits"], axis=-1).reshape(n_characters, N_DRAWINGS, SIDE, SIDE)
    drawings = generate_glyphs(n_characters, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, bits=np.packbits(drawings.reshape(n_characters, N_DRAWINGS, -1), axis=-1))
    return drawings


def generate_glyphs(n_characters: int, seed: int, hand: Hand | None = None) -> Drawings:
    """Draw every character N_DRAWINGS times; character number i is the same however many there are."""
    hand = hand or Hand()
    return np.stack([_character(np.random.default_rng([seed, i]), hand) for i in range(n_characters)])


def _character(rng: np.random.Generator, hand: Hand) -> Drawings:
    """One character: cubic Bezier curves that begin where one may have ended, or anywhere."""
    strokes: list[FloatArray] = []
    for _ in range(rng.integers(N_STROKES[0], N_STROKES[1] + 1)):
        points = rng.uniform(0.15, 0.85, (4, 2))
        if strokes and rng.random() < 0.5:  # joined to a stroke before
            points[0] = strokes[-1][rng.choice((0, 3))]
        if rng.random() < 0.4:  # straight
            points[1:3] = points[0] + np.array([[1 / 3], [2 / 3]]) * (points[3] - points[0])
        strokes.append(points)
    return np.stack([_drawing(np.stack(strokes), rng, hand) for _ in range(N_DRAWINGS)])


def _drawing(strokes: FloatArray, rng: np.random.Generator, hand: Hand) -> Drawings:
    moved = strokes + hand.control_sd * rng.standard_normal(strokes.shape)
    moved = moved + hand.stroke_sd * rng.standard_normal((len(strokes), 1, 2))
    angle, shear = hand.rotation_sd * rng.standard_normal(), hand.shear_sd * rng.standard_normal()
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag(1.0 + hand.scale_sd * rng.standard_normal(2)) @ np.array([[1.0, shear], [0.0, 1.0]])
    moved = (moved - 0.5) @ (turn @ stretch).T + 0.5 + hand.shift_sd * rng.standard_normal(2)
    return _ink(_curves(moved).reshape(-1, 2))


def _curves(control: FloatArray) -> FloatArray:
    """Points along cubic Bezier curves: (n_strokes, 4, 2) -> (n_strokes, n_points, 2)."""
    back = 1.0 - ALONG
    share = np.concatenate([back**3, 3 * back**2 * ALONG, 3 * back * ALONG**2, ALONG**3], axis=-1)
    return share @ control


def _ink(points: FloatArray) -> Drawings:
    """Draw points with a square pen on the canvas, then make it smaller by nearest neighbour."""
    canvas = np.zeros((CANVAS, CANVAS), dtype=np.uint8)
    corner = np.floor(points * CANVAS).astype(np.int64) - PEN // 2
    for dx in range(PEN):
        for dy in range(PEN):
            x, y = np.clip(corner + np.array([dx, dy]), 0, CANVAS - 1).T
            canvas[y, x] = 1
    kept = ((np.arange(SIDE) + 0.5) * CANVAS / SIDE).astype(np.int64)
    return canvas[np.ix_(kept, kept)]
