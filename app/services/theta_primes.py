"""The history of a market's versions and of the samples behind them."""

from app.domain.pages import Page
from app.domain.samples import Sample
from app.domain.theta_primes import ThetaPrime, ThetaPrimeDetail
from app.errors import UnknownThetaPrime
from app.services import markets, products
from app.store import samples as samples_store
from app.store import theta_primes as store
from app.store.database import Transaction


def get_theta_prime(tx: Transaction, product: str, market: str, version: int) -> ThetaPrimeDetail:
    """Raises: UnknownProduct, UnknownMarket, UnknownThetaPrime."""
    found = store.find_theta_prime(tx, _market_id(tx, product, market), version)
    if found is None:
        raise UnknownThetaPrime(f"Market '{market}' has no theta_prime {version}.")
    return found


def list_theta_primes(tx: Transaction, product: str, market: str, *, after: int, limit: int) -> Page[ThetaPrime]:
    """Read one page of a market's versions, oldest first. Raises: UnknownProduct, UnknownMarket."""
    found = store.list_theta_primes(tx, _market_id(tx, product, market), after=after, limit=limit)
    return Page.of(found, limit, lambda theta_prime: theta_prime.version)


def list_samples(tx: Transaction, product: str, market: str, *, after: int, limit: int) -> Page[Sample]:
    """Read one page of a market's samples, oldest first. Raises: UnknownProduct, UnknownMarket."""
    found = samples_store.list_samples(tx, _market_id(tx, product, market), after=after, limit=limit)
    return Page.of(found, limit, lambda sample: sample.id)


def _market_id(tx: Transaction, product: str, market: str) -> int:
    return markets.get_row(tx, products.get_row(tx, product), market).id
