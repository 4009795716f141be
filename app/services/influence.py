"""Influence: what each sample did to a version, by adapting without it."""

from collections.abc import Sequence
from math import hypot

from app.domain.theta_primes import InfluenceReport, SampleInfluence, ThetaPrimeDetail
from app.engine.contract import Artifact, RowInfluence
from app.errors import TooManySamples
from app.services import products, theta_primes
from app.services.engine import Engine, answering_engine_faults
from app.services.supports import belief_of, reference_for, support_of
from app.store import samples as samples_store
from app.store import thetas as thetas_store
from app.store.database import Transaction
from app.store.products import ProductRow
from app.store.samples import LabelledFeatures


def compute_influence(
    tx: Transaction, engine: Engine, product: str, market: str, version: int, *, max_samples: int
) -> InfluenceReport:
    """Adapt the version's theta to its samples again, each left out once, by its own recipe and recorded base rate.

    Raises: UnknownProduct, UnknownMarket, UnknownThetaPrime, TooManySamples, StoredWeightsCorrupt, EngineRefused.
    """
    owner = products.get_row(tx, product)
    found = theta_primes.get_theta_prime(tx, product, market, version)
    if found.n_samples > max_samples:
        raise TooManySamples(
            f"Version {version} has {found.n_samples:,} samples; at most {max_samples:,} are left out."
        )
    samples = samples_store.fetch_labelled_by_ids(tx, found.sample_ids)
    influences = _leave_each_out(tx, engine, owner, found, samples)
    return _report(found, [_influence(*pair) for pair in zip(samples, influences, strict=True)])


def _leave_each_out(
    tx: Transaction, engine: Engine, owner: ProductRow, version: ThetaPrimeDetail, samples: Sequence[LabelledFeatures]
) -> list[RowInfluence]:
    theta = thetas_store.find_theta(tx, owner.id, version.theta_version)
    assert theta is not None, "a version refers to its theta"
    schema, artifact = owner.product.feature_schema, Artifact(theta.weights, theta.sha256)
    support, belief = support_of(schema, samples, version.design), belief_of(version.base_rate)
    with answering_engine_faults():
        reference = reference_for(tx, engine, schema, artifact, support)
        return engine.influence(schema, artifact, support, base_rate=belief, recipe=version.recipe, reference=reference)


def _influence(sample: LabelledFeatures, found: RowInfluence) -> SampleInfluence:
    return SampleInfluence(
        sample_id=sample.id,
        defaulted=sample.defaulted,
        move=hypot(found.level, found.ranking),
        level=found.level,
        ranking=found.ranking,
        loss=found.loss,
    )


def _report(version: ThetaPrimeDetail, samples: list[SampleInfluence]) -> InfluenceReport:
    return InfluenceReport(
        product=version.product,
        market=version.market,
        version=version.version,
        theta_version=version.theta_version,
        n_samples=version.n_samples,
        n_defaults=version.n_defaults,
        samples=sorted(samples, key=lambda sample: (-sample.move, sample.sample_id)),
    )
