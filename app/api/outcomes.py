"""Outcomes: POST."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Response

from app.api import examples
from app.api.counter import Answer, TheCounter, WithKey
from app.api.parts import MarketSlug, ProductSlug, today
from app.api.samples import DryRun
from app.api.strict_json import StrictRoute
from app.domain.outcomes import OutcomesDraft
from app.domain.theta_primes import SamplesReceipt
from app.services import outcomes
from app.store.database import Transaction

router = APIRouter(prefix="/products/{product}/markets/{market}/outcomes", tags=["samples"], route_class=StrictRoute)


@router.post("", status_code=201, response_model=SamplesReceipt, summary="Post what became of scored accounts; adapt")
def post_outcomes(
    product: ProductSlug,
    market: MarketSlug,
    draft: Annotated[OutcomesDraft, Body(examples=[examples.OUTCOMES])],
    counter: TheCounter,
    once: WithKey,
    dry_run: DryRun = False,
) -> Response:
    """Make samples of scored accounts: the features are those in the ledger, as scored, and the rows say what became
    of them. All else is as with samples: what is set aside, what is refused, and the next theta_prime with its verdict.

    A row names a `score` by its id, or an `account`, for which the last score up to its day of opening counts, or the
    first one after it. A score or account that the market's ledger does not hold: 422, every fault listed.
    """

    def work(tx: Transaction) -> Answer:
        counter.refuse_too_many(len(draft.rows))
        receipt = outcomes.post_outcomes(tx, counter.engine, product, market, draft, dry_run=dry_run, today=today())
        return Answer(receipt, on_commit=partial(counter.metrics.count_samples, receipt))

    return once.run(work)
