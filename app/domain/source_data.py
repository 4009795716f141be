"""Source data: which column of a table says what, and what came of loading it."""

from typing import Self

from pydantic import Field, model_validator

from app.domain.schema import Noun


class SourceColumns(Noun):
    """The columns of a table that are no features."""

    market: str
    target: str
    opened_on: str | None = None
    observed_on: str | None = None
    ignored: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _dates_come_together(self) -> Self:
        if (self.opened_on is None) is not (self.observed_on is None):
            raise ValueError("opened_on_column and observed_on_column are named together or not at all")
        return self

    @property
    def named(self) -> set[str]:
        """Columns that are read, features apart."""
        return {name for name in (self.market, self.target, self.opened_on, self.observed_on) if name is not None}


class SourceMarket(Noun):
    """A market of the source data."""

    market: str
    n_rows: int
    n_defaults: int


class SourceSummary(Noun):
    """The source rows that a theta was learned from."""

    n_rows: int
    n_defaults: int
    n_markets: int
    first_vintage: str | None = Field(description="month of the earliest opening, YYYY-MM; null: no row has a date")
    last_vintage: str | None = Field(description="month of the latest opening, YYYY-MM; null: no row has a date")
    n_undated: int = Field(description="rows without dates, which were declared resolved")
    markets: list[SourceMarket]


class SourceDataReceipt(Noun):
    """What came of loading a table."""

    n_rows: int = Field(description="rows of the table")
    n_stored: int
    n_immature: int = Field(description="rows left out because their performance window was still open")
    n_defaults: int = Field(description="defaulted accounts among the stored")
    markets: list[SourceMarket] = Field(description="the stored rows of this table by market")
