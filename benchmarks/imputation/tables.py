"""The tables of the GAIN paper's protocol, as far as they are at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from numpy.typing import NDArray

from benchmarks.few_shot.data import DataNotFound
from meta.imputers import Layout

FloatArray = NDArray[np.float64]
NOT_FEATURES = ["market", "product", "default", "issued"]
CODES = {  # of the public file; its 0, 5 and 6 of education and 0 of marriage are missing in this one
    "sex": ("male", "female"),
    "education": ("graduate_school", "university", "high_school", "other"),
    "marriage": ("married", "single", "other"),
}
CODE_RANGES = {"education": (0.0, 6.0), "marriage": (0.0, 3.0)}
PAYMENTS = ("pay_0", "pay_2", "pay_3", "pay_4", "pay_5", "pay_6")


@dataclass(frozen=True)
class Table:
    """A complete table, or nearly: gaps of its own are never judged.

    Shapes:  values (n_rows, n_columns), as ``Layout.values`` makes them; low, high (sum of layout.widths,): the range
             that scales a column of one-hot coding to [0, 1].
    """

    title: str
    layout: Layout
    values: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, title: str, layout: Layout, values: FloatArray) -> "Table":
        coded = layout.one_hot(values)
        low, high = np.nanmin(coded, axis=0), np.nanmax(coded, axis=0)
        starts = np.cumsum([0, *layout.widths])
        for name, known in CODE_RANGES.items():
            if name in layout.names and layout.categories[layout.names.index(name)] is None:
                low[starts[layout.names.index(name)]], high[starts[layout.names.index(name)]] = known
        return cls(title, layout, values, low, high)

    @property
    def owners(self) -> NDArray[np.int64]:
        """Which column each column of one-hot coding belongs to."""
        return np.repeat(np.arange(len(self.layout.names)), self.layout.widths)

    def scaled(self, coded: FloatArray) -> FloatArray:
        """One-hot coding (..., sum of widths) in [0, 1]."""
        return (coded - self.low) / np.where(self.high > self.low, self.high - self.low, 1.0)


def credit(folder: Path) -> Table:
    """Every column a number, categories by their codes: 23."""
    frame = _taiwan(folder)
    for name, known in CODES.items():
        places = {category: 1.0 + place for place, category in enumerate(known)}
        frame[name] = frame[name].map(places)
    values = frame.to_numpy(dtype=np.float64)
    return Table.of("Credit, 23 numeric columns", Layout(tuple(map(str, frame)), (None,) * frame.shape[1]), values)


def credit_one_hot(folder: Path) -> Table:
    """Sex, education, marriage and the six states of payment as categories: 87 columns in one-hot coding."""
    frame = _taiwan(folder)
    categories = tuple(_categories(frame, name) for name in map(str, frame))
    texts = {name: _texts(frame[name]) if known else frame[name] for name, known in zip(frame, categories, strict=True)}
    layout = Layout(tuple(map(str, frame)), categories)
    return Table.of("Credit, categories one-hot", layout, layout.values(texts))


def spam(folder: Path) -> Table:
    return _numbers("Spam", folder / "spam.csv")


def letter(folder: Path) -> Table:
    return _numbers("Letter", folder / "letter.csv")


TABLES: dict[str, Callable[[Path], Table]] = {
    "credit": credit,
    "credit_one_hot": credit_one_hot,
    "spam": spam,
    "letter": letter,
}


def _taiwan(folder: Path) -> pandas.DataFrame:
    return pandas.read_parquet(_found(folder / "taiwan.parquet")).drop(columns=NOT_FEATURES)


def _numbers(title: str, path: Path) -> Table:
    frame = pandas.read_csv(_found(path))
    names = tuple(str(name).strip() for name in frame)
    return Table.of(title, Layout(names, (None,) * len(names)), frame.to_numpy(dtype=np.float64))


def _found(path: Path) -> Path:
    if not path.is_file():
        raise DataNotFound(
            f"{path} does not exist. Name the folder with --data or THETAPRIME_DATA. Public originals: UCI 'default of "
            "credit card clients' (Credit), 'Spambase' (Spam) and 'Letter Recognition' (Letter)."
        )
    return path


def _categories(frame: pandas.DataFrame, name: str) -> tuple[str, ...] | None:
    if name in CODES:
        return CODES[name]
    return tuple(sorted(set(_texts(frame[name])) - {None}, key=float)) if name in PAYMENTS else None  # type: ignore[arg-type]


def _texts(column: pandas.Series) -> list[str | None]:
    return [None if pandas.isna(value) else f"{value:g}" if not isinstance(value, str) else value for value in column]
