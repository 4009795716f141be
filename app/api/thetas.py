"""thetas of a product: POST (a durable job), GET, activate."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from app.api import examples
from app.api.counter import Answer, TheCounter, WithKey
from app.api.parts import AfterNumber, AfterVersion, Limit, ProductSlug, Version
from app.api.strict_json import StrictRoute
from app.api.theta_primes import UNNAMED
from app.domain.pages import Page
from app.domain.recipes import ThetaRecipe
from app.domain.theta_primes import ActivationDraft, ActivationRecord
from app.domain.thetas import Theta
from app.services import activation, training
from app.store.database import Transaction

router = APIRouter(prefix="/products/{product}/thetas", tags=["thetas"], route_class=StrictRoute)

USUAL_RECIPE = ThetaRecipe()
Activate = Annotated[bool, Query(description="true: serve when learned, if the product has no active theta by then")]


@router.post("", status_code=202, response_model=Theta, summary="Train a theta")
def request_theta(
    product: ProductSlug,
    once: WithKey,
    recipe: Annotated[ThetaRecipe, Body(examples=[{"learner": "meta_sgd", "seed": 0}])] = USUAL_RECIPE,
    activate: Activate = False,
) -> Response:
    """Ask for a theta to be learned from the product's source data: a durable job that a worker takes. Follow its
    progress (steps, losses, seconds to go) at `Location`; activate it when its report convinces."""

    def work(tx: Transaction) -> Answer:
        theta = training.request_theta(tx, product, recipe, activate=activate)
        return Answer(theta, status=202, headers={"Location": f"/v1/products/{product}/thetas/{theta.version}"})

    return once.run(work)


@router.get("", summary="List a product's thetas")
def list_thetas(product: ProductSlug, counter: TheCounter, after: AfterVersion = 0, limit: Limit = 100) -> Page[Theta]:
    """List versions, oldest first, trained or still in training."""
    with counter.database.reading() as tx:
        return training.list_thetas(tx, product, after=after, limit=limit)


@router.get("/activations", summary="Which theta served when")
def list_activations(
    product: ProductSlug, counter: TheCounter, after: AfterNumber = 0, limit: Limit = 100
) -> Page[ActivationRecord]:
    """Read the append-only history of activations, oldest first."""
    with counter.database.reading() as tx:
        return activation.list_theta_activations(tx, product, after=after, limit=limit)


@router.get("/{version}", summary="Read a theta, or how its training comes along")
def get_theta(product: ProductSlug, version: Version, counter: TheCounter) -> Theta:
    """Read status, progress (steps, losses, seconds), recipe and report of a version."""
    with counter.database.reading() as tx:
        return training.get_theta(tx, product, version)


@router.post("/{version}/activate", response_model=Theta, summary="Let a theta serve")
def activate_theta(
    product: ProductSlug,
    version: Version,
    once: WithKey,
    draft: Annotated[ActivationDraft, Body(examples=[examples.WHO])] = UNNAMED,
) -> Response:
    """Let a trained theta serve: markets without a version of their own are scored by it at once, and adaptations
    start from it. Markets with an active theta_prime keep it until they are adapted again."""

    def work(tx: Transaction) -> Answer:
        who, note = draft.activated_by, draft.note
        return Answer(training.activate_theta(tx, product, version, activated_by=who, note=note), status=200)

    return once.run(work)
