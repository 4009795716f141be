"""Files of accounts as pandas frames: read, checked column by column, written."""

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas
import pyarrow

from app.user_fault import UnusableTable

LABELS = {"1": True, "true": True, "yes": True, "y": True, "0": False, "false": False, "no": False, "n": False}
_STRANGE = "?"

_READERS: dict[str, Callable[[Path], pandas.DataFrame]] = {
    ".csv": lambda path: pandas.read_csv(path, low_memory=False),
    ".gz": lambda path: pandas.read_csv(path, low_memory=False),
    ".parquet": pandas.read_parquet,
}
_WRITERS: dict[str, Callable[[pandas.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
}
_BROKEN = (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError, pyarrow.ArrowException, OSError)


def read_frame(path: Path) -> pandas.DataFrame:
    """Read a CSV (also gzipped) or Parquet file. Raises: UnusableTable."""
    if not path.is_file():
        raise UnusableTable(f"There is no file {path}.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UnusableTable(f"{path.name} is neither CSV nor Parquet; name it .csv, .csv.gz or .parquet.")
    try:
        frame = reader(path)
    except (*_BROKEN, zipfile.BadZipFile) as fault:
        raise UnusableTable(f"{path} cannot be read: {_first_line(fault)}") from fault
    if frame.empty:
        raise UnusableTable(f"{path} has no rows.")
    return frame.reset_index(drop=True)


def require_writable(path: Path) -> None:
    """Raises: UnusableTable: the path names no format that can be written, or no folder that is there."""
    if path.suffix.lower() not in _WRITERS:
        raise UnusableTable(f"{path.name}: scores are written as .csv or .parquet.")
    if not path.parent.is_dir():
        raise UnusableTable(f"There is no folder {path.parent}.")


def write_frame(frame: pandas.DataFrame, path: Path) -> None:
    """Write a frame as its path's suffix says. Raises: UnusableTable."""
    require_writable(path)
    try:
        _WRITERS[path.suffix.lower()](frame, path)
    except OSError as fault:
        raise UnusableTable(f"{path} cannot be written: {_first_line(fault)}") from fault


def require_columns(frame: pandas.DataFrame, names: Iterable[str]) -> None:
    """Raises: UnusableTable: names every missing column and those that are there."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns[:40]))
        raise UnusableTable(f"The file has no column {' and no column '.join(missing)}; it has: {there}.")


def read_labels(column: "pandas.Series[Any]") -> "pandas.Series[Any]":
    """Read a target: 1, true and yes are defaults; 0, false and no are goods; empty stays empty (pandas.NA).

    Raises: UnusableTable: it holds anything else.
    """
    labels = column.astype(object).map(_label, na_action="ignore")
    n_strange = int((labels == _STRANGE).sum())
    if n_strange:
        raise UnusableTable(
            f"The target column {column.name} is not binary: it must hold 1 (default) and 0 (good) alone, "
            f"or true and false, or yes and no; {n_strange} rows hold something else."
        )
    return labels.astype("boolean")


def _label(value: object) -> bool | str:
    return LABELS.get(plain_text(value).lower(), _STRANGE)


def read_days(column: "pandas.Series[Any]") -> "pandas.Series[Any]":
    """Read dates as timestamps at midnight: dates, texts such as 2024-03-31 or 2024-03, whole numbers such as 20240331
    or 2024 (a period counts from its first day); empty stays empty (NaT).

    Raises: UnusableTable: it holds anything else.
    """
    if pandas.api.types.is_datetime64_any_dtype(column):
        days: pandas.Series[Any] = column.dt.tz_localize(None).dt.normalize()
        return days
    text = column.map(_day_text, na_action="ignore")
    read = pandas.to_datetime(text, errors="coerce", format="ISO8601")
    strange = read.isna() & column.notna()
    if strange.any():
        raise UnusableTable(f"The date column {column.name} holds {int(strange.sum())} values that read as no date.")
    return read.dt.normalize()


def _day_text(value: object) -> str:
    text = plain_text(value)
    if len(text) == 8 and text.isdigit():
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return text


def plain_text(value: object) -> str:
    """Write a cell; a whole number read as a float, as pandas does beside empty cells, is whole again."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _first_line(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0]
