"""Samples: POST, GET."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from app.api import examples
from app.api.counter import Answer, TheCounter, WithKey
from app.api.parts import AfterNumber, Limit, MarketSlug, ProductSlug, today
from app.api.strict_json import StrictRoute
from app.domain.pages import Page
from app.domain.samples import Sample, SamplesDraft
from app.domain.theta_primes import SamplesReceipt
from app.services import adaptation, theta_primes
from app.store.database import Transaction

router = APIRouter(prefix="/products/{product}/markets/{market}/samples", tags=["samples"], route_class=StrictRoute)

DryRun = Annotated[bool, Query(description="true: check, adapt and report as ever, and keep nothing")]


@router.post("", status_code=201, response_model=SamplesReceipt, summary="Post labelled accounts; adapt")
def post_samples(
    product: ProductSlug,
    market: MarketSlug,
    draft: Annotated[SamplesDraft, Body(examples=[examples.SAMPLES])],
    counter: TheCounter,
    once: WithKey,
    dry_run: DryRun = False,
) -> Response:
    """Store a market's labelled accounts and adapt theta on all usable samples it has: the next theta_prime, its
    verdict (`activate`, `hold` or `refuse`) and its report come back; where the market's `activation` is `automatic`
    and the verdict `activate`, it scores from now on.

    Malformed rows: 422, every fault listed, nothing stored. Immature rows (a good whose performance window is open;
    under `random` any row whose window is open) and accounts that are sampled already are set aside and reported.
    `case_control` rows say nothing about the level: they need the market's declared base rate.
    """

    def work(tx: Transaction) -> Answer:
        counter.refuse_too_many(len(draft.rows))
        receipt = adaptation.post_samples(tx, counter.engine, product, market, draft, dry_run=dry_run, today=today())
        return Answer(receipt, on_commit=partial(counter.metrics.count_samples, receipt))

    return once.run(work)


@router.get("", summary="List a market's samples")
def list_samples(
    product: ProductSlug, market: MarketSlug, counter: TheCounter, after: AfterNumber = 0, limit: Limit = 100
) -> Page[Sample]:
    """List samples by id, without their features; a theta_prime names its samples by these ids."""
    with counter.database.reading() as tx:
        return theta_primes.list_samples(tx, product, market, after=after, limit=limit)
