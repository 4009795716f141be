"""Outcomes of scored accounts: the ledger has the features, the body the labels; together they are samples."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from app.domain.outcomes import OutcomeRow, OutcomesDraft
from app.domain.samples import SampleRow
from app.domain.theta_primes import SamplesReceipt
from app.errors import Fault
from app.services import adaptation, checking, intake, markets, products
from app.services.engine import Engine
from app.store import scores
from app.store.database import Transaction
from app.store.scores import Opening, ScoredFeatures

Sought = UUID | Opening | None
"""What a row is looked up by: a score's id, or else an account and the day it was opened."""


def post_outcomes(
    tx: Transaction, engine: Engine, product: str, market: str, draft: OutcomesDraft, *, dry_run: bool, today: date
) -> SamplesReceipt:
    """Make samples of what became of scored accounts, and go on as with all samples.

    Raises: UnknownProduct, UnknownMarket, InvalidRows, NoActiveTheta, MixedDesigns, BaseRateRequired, DefaultsRequired,
            EngineRefused.
    """
    product_row = products.get_row(tx, product)
    market_row = markets.get_row(tx, product_row, market)
    rows = _read_rows(tx, market_row.id, draft.rows, today=today)
    return adaptation.take_in(tx, engine, product_row, market, rows, draft, dry_run=dry_run)


def _read_rows(tx: Transaction, market_id: int, raw_rows: Sequence[Any], *, today: date) -> list[SampleRow]:
    """Read rows and look up what was scored, all or none. Raises: InvalidRows: with every fault of every row."""
    outcomes, faults = intake.read_forms(OutcomeRow, raw_rows, today=today)
    ledger = _look_up(tx, market_id, outcomes.values())
    samples = []
    for position, outcome in outcomes.items():
        made = _make_sample(outcome, ledger.get(_sought(outcome)))
        if isinstance(made, SampleRow):
            samples.append(made)
        else:
            faults.append(Fault(*made, row=position))
    checking.refuse(faults)
    return samples


def _look_up(tx: Transaction, market_id: int, outcomes: Collection[OutcomeRow]) -> dict[Sought, ScoredFeatures]:
    sought = {_sought(outcome) for outcome in outcomes}
    by_id = scores.find_scored(tx, market_id, [key for key in sought if isinstance(key, UUID)])
    by_account = scores.find_scored_at_opening(tx, market_id, [key for key in sought if isinstance(key, Opening)])
    return dict([*by_id.items(), *by_account.items()])


def _sought(outcome: OutcomeRow) -> Sought:
    if outcome.score is not None:
        return outcome.score
    return None if outcome.account is None else Opening(outcome.account, outcome.opened_on)


def _make_sample(outcome: OutcomeRow, scored: ScoredFeatures | None) -> SampleRow | tuple[str, str]:
    """Put label and features together; or name (field, rule) of what forbids it."""
    if outcome.score is None and outcome.account is None:
        return "score", "is required, or else account"
    if scored is None and outcome.score is not None:
        return "score", "is not the id of a score in this market"
    if scored is None:
        return "account", "has no score in this market"
    account = outcome.account or scored.account
    if account is None:
        return "account", "is required: this score was recorded without one"
    if scored.account not in (None, account):
        return "account", "is not the account of this score"
    labels = outcome.model_dump(exclude={"score", "account"})
    return SampleRow(account=account, features=scored.features, **labels)
