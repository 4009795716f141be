"""theta_primes of a market: GET, POST, activate."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from app.api import examples
from app.api.counter import Answer, TheCounter, WithKey
from app.api.parts import AfterNumber, AfterVersion, Limit, MarketSlug, ProductSlug, Version
from app.api.strict_json import StrictRoute
from app.domain.markets import Market
from app.domain.pages import Page
from app.domain.recipes import AdaptationRecipe
from app.domain.theta_primes import (
    ActivationDraft,
    ActivationRecord,
    AdaptationReceipt,
    InfluenceReport,
    ThetaPrime,
    ThetaPrimeDetail,
)
from app.services import activation, adaptation, influence, theta_primes
from app.store.database import Transaction

router = APIRouter(
    prefix="/products/{product}/markets/{market}/theta-primes", tags=["theta-primes"], route_class=StrictRoute
)

VersionOrZero = Annotated[
    int, Path(ge=0, lt=2**31, description="version, counted from 1; 0: back to the product's theta", examples=[1])
]
USUAL_RECIPE = AdaptationRecipe()
UNNAMED = ActivationDraft()


@router.post("", status_code=201, response_model=AdaptationReceipt, summary="Adapt again to the stored samples")
def adapt_again(
    product: ProductSlug,
    market: MarketSlug,
    counter: TheCounter,
    once: WithKey,
    recipe: Annotated[AdaptationRecipe, Body(examples=[{"seed": 0}])] = USUAL_RECIPE,
) -> Response:
    """Make the market's next version from the active theta and all samples that are stored: after a new theta, which
    by itself moves no market, or by another recipe."""

    def work(tx: Transaction) -> Answer:
        receipt = adaptation.adapt_again(tx, counter.engine, product, market, recipe)
        return Answer(receipt, on_commit=partial(counter.metrics.count_adaptation, receipt.adaptation.verdict))

    return once.run(work)


@router.get("", summary="List a market's versions")
def list_theta_primes(
    product: ProductSlug, market: MarketSlug, counter: TheCounter, after: AfterVersion = 0, limit: Limit = 100
) -> Page[ThetaPrime]:
    """List versions, oldest first, with verdicts and reports."""
    with counter.database.reading() as tx:
        return theta_primes.list_theta_primes(tx, product, market, after=after, limit=limit)


@router.get("/activations", summary="What served this market when")
def list_activations(
    product: ProductSlug, market: MarketSlug, counter: TheCounter, after: AfterNumber = 0, limit: Limit = 100
) -> Page[ActivationRecord]:
    """Read the append-only history of activations, oldest first."""
    with counter.database.reading() as tx:
        return activation.list_theta_prime_activations(tx, product, market, after=after, limit=limit)


@router.get("/{version}", summary="Read a version")
def get_theta_prime(
    product: ProductSlug, market: MarketSlug, version: Version, counter: TheCounter
) -> ThetaPrimeDetail:
    """Read a version with its report and the ids of the samples that made it."""
    with counter.database.reading() as tx:
        return theta_primes.get_theta_prime(tx, product, market, version)


@router.get("/{version}/influence", summary="See what each sample did to a version")
def get_influence(product: ProductSlug, market: MarketSlug, version: Version, counter: TheCounter) -> InfluenceReport:
    """See how a version would differ without each of its samples, the largest difference first: in level and ranking
    (logits) and in the sample's own log loss (nats). Computed when asked for, one adaptation a sample, from the stored
    samples by the version's theta, recipe and recorded base rate; so a version of too many samples is refused: 409."""
    max_samples = counter.settings.max_influence_samples
    with counter.database.reading() as tx:
        return influence.compute_influence(tx, counter.engine, product, market, version, max_samples=max_samples)


@router.post("/{version}/activate", response_model=Market, summary="Promote a version, or roll back to one")
def activate_theta_prime(
    product: ProductSlug,
    market: MarketSlug,
    version: VersionOrZero,
    once: WithKey,
    draft: Annotated[ActivationDraft, Body(examples=[examples.WHO])] = UNNAMED,
) -> Response:
    """Let a version score its market, seen by every process at once. An earlier version rolls back; 0 goes back to
    the product's theta. A refused version cannot serve: 409."""
    return once.run(lambda tx: Answer(activation.activate_theta_prime(tx, product, market, version, draft), status=200))
