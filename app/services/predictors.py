"""Predictors in memory, by the immutable ids of the versions they were loaded from, so that none is ever stale."""

from collections import OrderedDict
from threading import Lock

from app.domain.schema import FeatureSchema
from app.engine.contract import Artifact
from app.services.engine import Engine, Predictor, answering_engine_faults
from app.store import products, theta_primes, thetas
from app.store.database import Transaction

Key = tuple[int, int | None]  # theta id, theta_prime id


class Predictors:
    """A bounded cache, shared by all threads; the least recently used goes first."""

    def __init__(self, engine: Engine, *, capacity: int = 256) -> None:
        self._engine = engine
        self._capacity = capacity
        self._loaded: OrderedDict[Key, Predictor] = OrderedDict()
        self._lock = Lock()

    def get(self, tx: Transaction, product: str, theta_id: int, theta_prime_id: int | None) -> Predictor:
        """Take a predictor from memory or load it, its hash checked. Raises: StoredWeightsCorrupt."""
        key = (theta_id, theta_prime_id)
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
                return self._loaded[key]
        predictor = self._load(tx, _schema(tx, product), theta_id, theta_prime_id)
        with self._lock:
            self._loaded[key] = predictor
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
        return predictor

    def __contains__(self, key: Key) -> bool:
        """Is this version in memory?"""
        with self._lock:
            return key in self._loaded

    def _load(self, tx: Transaction, schema: FeatureSchema, theta_id: int, theta_prime_id: int | None) -> Predictor:
        theta = thetas.get_theta(tx, theta_id)
        theta_prime = None
        if theta_prime_id is not None:
            weights = theta_primes.get_weights(tx, theta_prime_id)
            theta_prime = Artifact(weights.weights, weights.sha256)
        with answering_engine_faults():
            return self._engine.load_predictor(schema, Artifact(theta.weights, theta.sha256), theta_prime)


def _schema(tx: Transaction, product: str) -> FeatureSchema:
    row = products.find_product(tx, product)
    assert row is not None, "a version was found, so its product is there"
    return row.product.feature_schema
