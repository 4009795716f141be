"""Model cards of thetas and theta_primes: GET."""

from fastapi import APIRouter

from app.api.counter import TheCounter
from app.api.parts import MarketSlug, ProductSlug, Version
from app.api.strict_json import StrictRoute
from app.domain.cards import ThetaCard, ThetaPrimeCard
from app.services import cards

router = APIRouter(prefix="/products/{product}", route_class=StrictRoute)


@router.get("/thetas/{version}/card", tags=["thetas"], summary="Read a theta's model card")
def get_theta_card(product: ProductSlug, version: Version, counter: TheCounter) -> ThetaCard:
    """Read on one page what a theta is for, which rows taught it, by which recipe and software, how it did on markets
    left out, when it served, what was adapted from it, and what its numbers do not say. A theta that is not learned
    yet has none: 409."""
    with counter.database.reading() as tx:
        card = cards.get_theta_card(tx, product, version)
    path = f"/v1/products/{product}"
    links = {"self": f"{path}/thetas/{version}/card", "theta": f"{path}/thetas/{version}", "product": path}
    return card.model_copy(update={"links": links})


@router.get(
    "/markets/{market}/theta-primes/{version}/card", tags=["theta-primes"], summary="Read a version's model card"
)
def get_theta_prime_card(
    product: ProductSlug, market: MarketSlug, version: Version, counter: TheCounter
) -> ThetaPrimeCard:
    """Read on one page what a market's version is for, from which samples and theta, base rate, recipe and software it
    came, its verdict with reasons and results, when it served, and what its numbers do not say."""
    with counter.database.reading() as tx:
        card = cards.get_theta_prime_card(tx, product, market, version)
    path = f"/v1/products/{product}"
    place = f"{path}/markets/{market}"
    links = {
        "self": f"{place}/theta-primes/{version}/card",
        "theta_prime": f"{place}/theta-primes/{version}",
        "influence": f"{place}/theta-primes/{version}/influence",
        "theta": f"{path}/thetas/{card.theta.version}/card",
        "market": place,
        "product": path,
    }
    return card.model_copy(update={"links": links})
