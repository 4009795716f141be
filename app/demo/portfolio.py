"""A table of accounts parted for the demo: mature markets, and a held-out market's first accounts and later ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas

from app.domain.schema import FeatureSchema
from app.frames import read_days, read_labels, require_columns
from app.schema_inference import InferredSchema, infer_schema
from app.user_fault import UnusableTable

N_FIRST = 50
MIN_ROWS = 200  # of the held-out market: the first accounts, and enough later ones to compare on
MIN_OF_A_CLASS = 10  # defaults, and goods, among the later accounts
MIN_MATURE_MARKETS = 6
MIN_MATURE_ROWS = 100
SEED = 0
WINDOW_DAYS = 365


@dataclass(frozen=True)
class TableChoice:
    """What its owner says about a table."""

    market_column: str
    target_column: str
    product_column: str | None = None
    product: str | None = None
    date_column: str | None = None
    exclude: Sequence[str] = ()
    holdout: str | None = None

    @property
    def roles(self) -> list[str]:
        """The columns that are something else than a feature."""
        roles = (self.market_column, self.target_column, self.product_column, self.date_column)
        return [name for name in roles if name is not None]


@dataclass(frozen=True)
class Portfolio:
    """What the demo shows: accounts as frames with a column a feature, ``defaulted`` and, where needed, more.

    mature: ``market``; first, later: ``account``; first: ``opened_on``, ``observed_on`` as dates.
    order: how the first accounts were chosen. true_pds: of the later accounts, where the data are made up.
    """

    slug: str
    title: str
    schema: FeatureSchema
    window_days: int
    market: str
    order: str
    mature: pandas.DataFrame
    first: pandas.DataFrame
    later: pandas.DataFrame
    notes: list[str] = field(default_factory=list)
    true_pds: "np.ndarray[Any, np.dtype[np.float64]] | None" = None


def prepare_portfolio(frame: pandas.DataFrame, choice: TableChoice, *, name: str, today: date) -> Portfolio:
    """Part a table. Raises: UnusableTable: columns are missing, or there is too little of something."""
    require_columns(frame, [*choice.roles, *choice.exclude])
    notes: list[str] = []
    frame, product = _one_product(frame.drop(columns=list(choice.exclude)), choice, notes)
    frame = _labelled(frame, choice, notes)
    inferred = infer_schema(frame, not_features=[*choice.roles, "market", "defaulted"])
    notes += [f"column {column} left out: {reason}" for column, reason in inferred.left_out.items()]
    notes += [f"column {column} is named {name}" for column, name in inferred.renamed.items()]
    held_out = _choose_holdout(frame, choice)
    rows, order = _in_order(frame[frame["market"] == held_out], choice.date_column)
    accounts, window_days = _accounts(rows, inferred, today)
    first, later = accounts.iloc[:N_FIRST], accounts.iloc[N_FIRST:].drop(columns=["opened_on", "observed_on"])
    _require_both_classes(held_out, later)
    return Portfolio(
        slug=slug_of(name if product is None else f"{name}-{product}"),
        title=name if product is None else f"{name}, {product}",
        schema=inferred.schema,
        window_days=window_days,
        market=slug_of(held_out),
        order=order,
        mature=_mature(frame[frame["market"] != held_out], inferred),
        first=first.reset_index(drop=True),
        later=later.reset_index(drop=True),
        notes=notes,
    )


def slug_of(name: str) -> str:
    """Write a name as an address can have it."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", name).strip("-._")[:60] or "demo"


def _one_product(frame: pandas.DataFrame, choice: TableChoice, notes: list[str]) -> tuple[pandas.DataFrame, str | None]:
    """Keep the rows of the named product, else those of the largest."""
    if choice.product_column is None:
        return frame, None
    names = frame[choice.product_column].astype(str).where(frame[choice.product_column].notna())
    counts = names.value_counts()
    product = str(counts.index[0]) if choice.product is None else choice.product
    if product not in counts:
        raise UnusableTable(f"No row has product {product}; there are: {', '.join(map(str, counts.index[:20]))}.")
    notes.append(f"product {product}: {counts[product]:,} of {len(frame):,} rows")
    return frame[names == product], product


def _labelled(frame: pandas.DataFrame, choice: TableChoice, notes: list[str]) -> pandas.DataFrame:
    """Read market and label of every row; rows that lack one are left out."""
    labels, markets = read_labels(frame[choice.target_column]), frame[choice.market_column]
    known = labels.notna() & markets.notna()
    if not known.all():
        notes.append(f"{int((~known).sum()):,} rows without a label or a market are left out")
    frame, labels, markets = frame[known], labels[known].astype(bool), markets[known].astype(str)
    if labels.nunique() < 2:
        raise UnusableTable(f"The target column {choice.target_column} holds one class only; both are needed.")
    roles = {"market", "defaulted"} & set(frame.columns) - {choice.market_column, choice.target_column}
    frame = frame.rename(columns={role: f"x_{role}" for role in roles})
    return frame.assign(market=markets, defaulted=labels)


def _choose_holdout(frame: pandas.DataFrame, choice: TableChoice) -> str:
    """Take the named market; else the largest that holds at most a tenth of the rows, else the smallest that can."""
    counts = frame["market"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if choice.holdout is None:
        held_out = _usual_holdout(frame, counts)
    elif choice.holdout in counts:
        held_out = choice.holdout
    else:
        raise UnusableTable(f"There is no market {choice.holdout}; the largest are {', '.join(counts.index[:10])}.")
    if held_out is None or not _can_be_held_out(frame[frame["market"] == held_out]):
        which = "No market" if held_out is None else f"Market {held_out} has not enough: no market"
        raise UnusableTable(
            f"{which} can be held out with fewer than {MIN_ROWS} rows, {2 * MIN_OF_A_CLASS} defaults and as many goods."
        )
    _require_mature_markets(counts.drop(held_out), held_out)
    return held_out


def _usual_holdout(frame: pandas.DataFrame, counts: "pandas.Series[int]") -> str | None:
    able = [str(name) for name in counts.index if _can_be_held_out(frame[frame["market"] == name])]
    small = [name for name in able if counts[name] <= len(frame) / 10]
    return next(iter(small or able[-1:]), None)


def _require_mature_markets(counts: "pandas.Series[int]", held_out: str) -> None:
    n_mature = int((counts >= MIN_MATURE_ROWS).sum())
    if n_mature < MIN_MATURE_MARKETS:
        raise UnusableTable(
            f"Theta is learned from at least {MIN_MATURE_MARKETS} mature markets of {MIN_MATURE_ROWS} rows; "
            f"beside {held_out} the file has {n_mature}."
        )


def _can_be_held_out(rows: pandas.DataFrame) -> bool:
    n_defaults = int(rows["defaulted"].sum())
    return len(rows) >= MIN_ROWS and min(n_defaults, len(rows) - n_defaults) >= 2 * MIN_OF_A_CLASS


def _in_order(rows: pandas.DataFrame, date_column: str | None) -> tuple[pandas.DataFrame, str]:
    """Order a market's rows by date where dates tell them apart, else by a seeded draw; dates go into ``opened_on``."""
    days = pandas.Series(pandas.NaT, index=rows.index) if date_column is None else read_days(rows[date_column])
    rows = rows.assign(opened_on=days)
    if days.nunique() >= N_FIRST:
        return rows.sort_values("opened_on", kind="stable", na_position="last"), f"in order of {date_column}"
    return rows.sample(frac=1.0, random_state=SEED), f"drawn at random (seed {SEED})"


def _accounts(rows: pandas.DataFrame, inferred: InferredSchema, today: date) -> tuple[pandas.DataFrame, int]:
    """Make accounts of a market's rows, and say within how many days each outcome was known.

    A file has outcomes and no day on which they were known: each counts as known a year after opening, or as soon as
    the youngest of the first accounts allows. Undated accounts stand in as opened two years ago.
    """
    opened = [
        (today - timedelta(days=2 * WINDOW_DAYS)) if pandas.isna(day) else day.date() for day in rows["opened_on"]
    ]
    window_days = min(WINDOW_DAYS, (today - max(opened[:N_FIRST])).days)
    if window_days < 1:
        raise UnusableTable("The first accounts of the held-out market were opened today or later; outcomes take time.")
    accounts = inferred.features_of(rows).assign(
        account=[f"A-{1001 + position}" for position in range(len(rows))],
        defaulted=rows["defaulted"],
        opened_on=opened,
        observed_on=[day + timedelta(days=window_days) for day in opened],
    )
    return accounts, window_days


def _mature(rows: pandas.DataFrame, inferred: InferredSchema) -> pandas.DataFrame:
    features = inferred.features_of(rows)
    return features.assign(market=rows["market"].str[:100], defaulted=rows["defaulted"]).reset_index(drop=True)


def _require_both_classes(market: str, later: pandas.DataFrame) -> None:
    n_defaults = int(later["defaulted"].sum())
    if min(n_defaults, len(later) - n_defaults) < MIN_OF_A_CLASS:
        raise UnusableTable(f"The later accounts of market {market} hold {n_defaults} defaults; too few to compare on.")
