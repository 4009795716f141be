"""Source markets of each world as one encoded table; markets that other benchmarks hold out are never touched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas

from app.engine.columns import columns_of
from benchmarks.few_shot.data import DATASETS, load, schema_of
from benchmarks.few_shot.design import Design, held_out_markets, source_of
from benchmarks.trust.measure import SCHEMA
from benchmarks.trust.world import draw_source
from meta.source import SourceTable

SPREAD = 0.25  # of the synthetic world's coefficients
LENDING_CLUB = {
    "dti": 1,
    "inq_last_6mths": 1,
    "delinq_2yrs": 1,
    "pub_rec": 1,
    "revol_util": 1,
    "annual_inc": -1,
}
SYNTHETIC = {"utilisation": 1, "inquiries": 1, "debt_to_income": 1, "late_payments": 1, "income": -1}


@dataclass(frozen=True)
class World:
    """Markets to learn from. signs: columns whose direction a credit officer would swear to; 1: risk rises with it."""

    title: str
    read: Callable[[Path, int], SourceTable]
    signs: Mapping[str, int]


def _portfolio(name: str) -> Callable[[Path, int], SourceTable]:
    def read(folder: Path, seed: int) -> SourceTable:
        """Rows of the source markets of the few-shot benchmark's first split. Raises DataNotFound."""
        rows = load(DATASETS[name], folder)
        source = source_of(rows, held_out_markets(rows, Design(seed=seed))[0])
        frame = source.features.assign(row_id=range(len(source)), market=source.market, defaulted=source.y == 1.0)
        return SourceTable.from_frame(columns_of(schema_of(source.features)), frame)

    return read


def _synthetic(folder: Path, seed: int) -> SourceTable:
    frame: pandas.DataFrame = draw_source(SPREAD, seed)
    return SourceTable.from_frame(columns_of(SCHEMA), frame)


WORLDS = {
    "lendingclub_purposes": World("Lending Club, purposes", _portfolio("lendingclub_purposes"), LENDING_CLUB),
    "lendingclub_states": World("Lending Club, US states", _portfolio("lendingclub_states"), LENDING_CLUB),
    "sba_states": World("SBA, US states", _portfolio("sba_states"), {"employees": -1}),
    "synthetic": World(f"Synthetic, spread {SPREAD}", _synthetic, SYNTHETIC),
}
