"""Real portfolios, cut into markets; the files are not part of the repository."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from app.domain.schema import Feature, FeatureSchema

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLIC_ORIGINALS = """\
The files are made from public originals:
  lendingclub.parquet  LoanStats3a.csv, Lending Club's loans of 2007-2011 (on Kaggle as "Lending Club loan data")
  sba.parquet          SBAnational.csv of Li, Mickel & Taylor 2018, "Should This Loan be Approved or Denied?",
                       Journal of Statistics Education 26(1)
Each needs the columns `market` (US state), `product` (loan purpose; NAICS sector), `default` (0/1), and features
known at application; `issued` (date or year of approval; the eras of SBA's loans are cut by it), `zip3` and `lender_*`
may be there and are left out of the features."""
ERAS = {"1990s": (1990, 1999), "2003-04": (2003, 2004), "2005-06": (2005, 2006)}  # first and last year


class DataNotFound(Exception):
    """A data file is not where it was looked for; the message says where to get it."""


@dataclass(frozen=True)
class Dataset:
    """One benchmark world: a file, the column whose values are its markets, and whether eras cut them further.

    A market of a state's era is named "STATE ERA"; ``unit_of`` tells which markets are only held out together.
    """

    name: str
    title: str
    file: str
    market_column: str
    left_out: tuple[str, ...]
    by_era: bool = False


DATASETS = {
    world.name: world
    for world in (
        Dataset("lendingclub_states", "Lending Club, US states", "lendingclub.parquet", "market", ("market",)),
        Dataset(
            "lendingclub_purposes", "Lending Club, purposes", "lendingclub.parquet", "product", ("market", "product")
        ),
        Dataset("sba_states", "SBA, US states", "sba.parquet", "market", ("market",)),
        Dataset("sba_state_eras", "SBA, US states by era", "sba.parquet", "market", ("market",), by_era=True),
    )
}


@dataclass(frozen=True)
class Rows:
    """Labelled accounts: features as they come (floats with NaN, strings with None), outcomes and markets.

    Shapes:  features (n_rows, n_features) frame; y (n_rows,), 1.0 = default; market (n_rows,) names.
    """

    features: pandas.DataFrame
    y: NDArray[np.float64]
    market: NDArray[np.str_]

    @property
    def unit(self) -> NDArray[np.str_]:
        """What each row's market is held out with, (n_rows,)."""
        names, place = np.unique(self.market, return_inverse=True)
        return np.array([unit_of(str(name)) for name in names], dtype=str)[place]

    def __len__(self) -> int:
        return len(self.y)

    def at(self, chosen: NDArray[Any]) -> "Rows":
        """Keep rows by position or by a mask, in that order."""
        place = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Rows(self.features.iloc[place], self.y[place], self.market[place])

    def of(self, markets: Sequence[str]) -> "Rows":
        return self.at(np.isin(self.market, list(markets)))

    def beside(self, more: "Rows") -> "Rows":
        """These rows and then ``more``."""
        features = pandas.concat([self.features, more.features], ignore_index=True)
        return Rows(features, np.concatenate([self.y, more.y]), np.concatenate([self.market, more.market]))


def unit_of(market: str) -> str:
    """The state of a state's era, so that no state is both source and held out; any other market itself."""
    state, _, era = market.rpartition(" ")
    return state if era in ERAS else market


def numeric(features: pandas.DataFrame) -> list[str]:
    """Names of the numeric columns; all others hold categories."""
    return [str(name) for name in features if features[name].dtype == np.float64]


def categorical(features: pandas.DataFrame) -> list[str]:
    return [str(name) for name in features if features[name].dtype != np.float64]


def find_folder(given: Path | None) -> Path:
    """Folder of the data files: as given, else THETAPRIME_DATA, else ``shared/data`` beside the checkout."""
    from_environment = os.environ.get("THETAPRIME_DATA")
    return given or (Path(from_environment) if from_environment else REPOSITORY.parent / "shared" / "data")


def load(world: Dataset, folder: Path) -> Rows:
    """Read a world's rows. Raises DataNotFound."""
    path = folder / world.file
    if not path.is_file():
        raise DataNotFound(
            f"{path} does not exist. Name the folder with --data or THETAPRIME_DATA.\n{PUBLIC_ORIGINALS}"
        )
    frame = pandas.read_parquet(path)
    market = frame[world.market_column].astype(str)
    if world.by_era:
        era = era_of(frame["issued"])
        frame, market = frame[era.notna()], (market + " " + era)[era.notna()]
    unwanted = {"default", "issued", "zip3", *world.left_out}
    names = [name for name in map(str, frame) if name not in unwanted and not name.startswith("lender_")]
    features = pandas.DataFrame({name: _plain(frame[name]) for name in names}).reset_index(drop=True)
    return Rows(features, frame["default"].to_numpy(np.float64), market.to_numpy(dtype=str))


def count_rows(world: Dataset, folder: Path) -> int:
    """Number of rows in a world's file, those of no era included."""
    return len(pandas.read_parquet(folder / world.file, columns=["default"]))


def era_of(issued: pandas.Series) -> pandas.Series:
    """Name each row's era by its year, None outside all eras; a date starts with its year."""
    year = issued.astype(str).str[:4].astype(int)
    era = pandas.Series(None, index=issued.index, dtype=object)
    for name, (first, last) in ERAS.items():
        era[year.between(first, last)] = name
    return era


def schema_of(features: pandas.DataFrame) -> FeatureSchema:
    """Declare no more than kinds, as a user would who posts the file as it is."""
    numbers = set(numeric(features))
    names = [str(name) for name in features]
    return FeatureSchema(
        features=tuple(Feature(name=n, kind="numeric" if n in numbers else "categorical") for n in names)
    )


def _plain(values: pandas.Series) -> pandas.Series:
    if pandas.api.types.is_numeric_dtype(values):
        return values.astype(np.float64)
    return values.astype(object).where(values.notna(), None)


def with_gaps_named(features: pandas.DataFrame) -> pandas.DataFrame:
    """Categories as models take them that want strings: a missing one is a category of its own."""
    return features.assign(**{name: features[name].fillna("missing").astype(str) for name in categorical(features)})
