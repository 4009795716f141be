"""Model cards: all that is stored of a version, put together for those who must judge it."""

from app.domain import card_texts
from app.domain.cards import (
    CardMarket,
    CardProduct,
    CardTheta,
    Hashes,
    SampleSummary,
    ThetaCard,
    ThetaPrimeCard,
)
from app.domain.markets import Market
from app.domain.products import Product
from app.domain.samples import vintage
from app.domain.theta_primes import ThetaPrimeDetail
from app.errors import UntrainedTheta
from app.services import markets, products, theta_primes, training
from app.services.source_base_rate import observed_base_rate
from app.store import activations, thetas
from app.store import samples as samples_store
from app.store import theta_primes as theta_primes_store
from app.store.database import Transaction
from app.store.samples import SampleSpan

MAX_ACTIVATIONS = 100
MAX_THETA_PRIMES = 1_000


def get_theta_card(tx: Transaction, product: str, version: int) -> ThetaCard:
    """Write the card of a learned theta. Raises: UnknownProduct, UnknownTheta, UntrainedTheta."""
    owner = products.get_row(tx, product)
    status = training.get_theta(tx, product, version).status
    theta = thetas.find_theta(tx, owner.id, version)
    if theta is None:
        raise UntrainedTheta(f"The training of version {version} is {status}; it has a card when it has succeeded.")
    return ThetaCard(
        product=_product(owner.product),
        version=version,
        active=owner.product.active_theta_version == version,
        created_at=theta.created_at,
        purpose=card_texts.THETA_PURPOSE,
        intended_use=card_texts.THETA_USE,
        data=theta.source_data,
        base_rate=observed_base_rate(theta.source_data),
        recipe=theta.recipe,
        seed=theta.recipe.seed,
        results=theta.report,
        theta_primes=theta_primes_store.list_adapted(tx, theta.id, limit=MAX_THETA_PRIMES),
        activations=activations.list_activations_of(tx, owner.id, None, version, limit=MAX_ACTIVATIONS),
        limits=card_texts.limits_of_theta(has_imputer=(theta.report or {}).get("imputer") is not None),
        hashes=Hashes(weights=theta.sha256, feature_schema=theta.schema_sha256),
        software=theta.software,
    )


def get_theta_prime_card(tx: Transaction, product: str, market: str, version: int) -> ThetaPrimeCard:
    """Write the card of a market's version. Raises: UnknownProduct, UnknownMarket, UnknownThetaPrime."""
    owner = products.get_row(tx, product)
    place = markets.get_row(tx, owner, market)
    found = theta_primes.get_theta_prime(tx, product, market, version)
    theta = thetas.find_theta(tx, owner.id, found.theta_version)
    assert theta is not None, "a version refers to its theta"
    return ThetaPrimeCard(
        product=_product(owner.product),
        market=_market(place.market),
        version=version,
        active=place.market.active_version == version,
        created_at=found.created_at,
        purpose=card_texts.THETA_PRIME_PURPOSE,
        intended_use=card_texts.THETA_PRIME_USE,
        theta=CardTheta(version=theta.version, sha256=theta.sha256, created_at=theta.created_at),
        data=_samples(found, samples_store.find_span(tx, found.sample_ids)),
        base_rate=found.base_rate,
        recipe=found.recipe,
        seed=found.recipe.seed,
        verdict=found.verdict,
        reasons=found.reasons,
        results=found.report,
        activations=activations.list_activations_of(tx, owner.id, place.id, version, limit=MAX_ACTIVATIONS),
        limits=_limits(found),
        hashes=Hashes(weights=found.sha256, feature_schema=theta.schema_sha256),
        software=found.software,
    )


def _product(product: Product) -> CardProduct:
    return CardProduct(
        slug=product.slug,
        title=product.title,
        outcome=product.outcome,
        points_scale=product.points_scale,
        features=product.feature_schema.names,
    )


def _market(market: Market) -> CardMarket:
    return CardMarket(slug=market.slug, title=market.title, currency=market.currency)


def _samples(version: ThetaPrimeDetail, span: SampleSpan) -> SampleSummary:
    return SampleSummary(
        n_samples=version.n_samples,
        n_defaults=version.n_defaults,
        design=version.design,
        first_vintage=vintage(span.first_opened_on),
        last_vintage=vintage(span.last_opened_on),
        first_observed_on=span.first_observed_on,
        last_observed_on=span.last_observed_on,
    )


def _limits(version: ThetaPrimeDetail) -> list[str]:
    return card_texts.limits_of_theta_prime(
        design=version.design,
        n_samples=version.n_samples,
        n_defaults=version.n_defaults,
        base_rate=version.base_rate,
        expected=version.report.get("expected"),
    )
