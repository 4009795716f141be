"""Adaptation: theta and all usable samples of a market make the market's next theta_prime."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date
from typing import NamedTuple

from app.domain.outcomes import OutcomesDraft
from app.domain.recipes import AdaptationRecipe
from app.domain.samples import Design, SampleRow, SamplesDraft
from app.domain.theta_primes import ActivationDraft, AdaptationOutcome, AdaptationReceipt, SamplesReceipt
from app.engine.contract import Adaptation, Artifact
from app.errors import BaseRateRequired, DefaultsRequired, NoActiveTheta, NoSamples
from app.services import activation, intake, markets, products
from app.services.engine import Engine, answering_engine_faults
from app.services.supports import belief_of, reference_for, support_of
from app.software import software_versions
from app.store import markets as markets_store
from app.store import samples as samples_store
from app.store import theta_primes as store
from app.store import thetas as thetas_store
from app.store.database import Transaction, rehearsal
from app.store.markets import MarketRow
from app.store.products import ProductRow
from app.store.samples import LabelledFeatures
from app.store.thetas import ThetaRow

AUTOMATIC = ActivationDraft(activated_by="automatic", note="verdict activate")


class Bench(NamedTuple):
    """What one adaptation works with; the market is held until the transaction ends."""

    tx: Transaction
    engine: Engine
    product: ProductRow
    market: MarketRow
    theta: ThetaRow


def post_samples(
    tx: Transaction, engine: Engine, product: str, market: str, draft: SamplesDraft, *, dry_run: bool, today: date
) -> SamplesReceipt:
    """Store a market's labelled accounts and adapt theta on all it has; a dry run does the same and keeps nothing.

    Raises: UnknownProduct, UnknownMarket, InvalidRows, NoActiveTheta, MixedDesigns, BaseRateRequired, DefaultsRequired,
            EngineRefused.
    """
    product_row = products.get_row(tx, product)
    markets.get_row(tx, product_row, market)
    rows = intake.read_rows(product_row.product, draft.rows, today=today)
    return take_in(tx, engine, product_row, market, rows, draft, dry_run=dry_run)


def take_in(
    tx: Transaction,
    engine: Engine,
    product: ProductRow,
    market: str,
    rows: Sequence[SampleRow],
    draft: SamplesDraft | OutcomesDraft,
    *,
    dry_run: bool,
) -> SamplesReceipt:
    """Store the usable ones of a body's rows, which keep the rules, and adapt.

    Raises: NoActiveTheta, MixedDesigns, BaseRateRequired, DefaultsRequired, EngineRefused.
    """
    with rehearsal(tx) if dry_run else nullcontext():
        bench = _open_bench(tx, engine, product, market)
        intake.require_one_design(tx, bench.market.id, draft.design)
        used, report = intake.part_rows(tx, product.product, bench.market.id, rows, draft.design)
        outcome, active_version = None, bench.market.market.active_version
        if used:
            batch = bench.market.market.last_version + 1
            samples_store.insert_samples(tx, bench.market.id, used, design=draft.design, batch=batch)
            outcome, active_version = _adapt(bench, draft.design, draft.recipe)
    return SamplesReceipt(dry_run=dry_run, rows=report, adaptation=outcome, active_version=active_version)


def adapt_again(
    tx: Transaction, engine: Engine, product: str, market: str, recipe: AdaptationRecipe
) -> AdaptationReceipt:
    """Make the market's next version from the samples it has: after a new theta, say, or by another recipe.

    Raises: UnknownProduct, UnknownMarket, NoActiveTheta, NoSamples, BaseRateRequired, DefaultsRequired,
            EngineRefused.
    """
    bench = _open_bench(tx, engine, products.get_row(tx, product), market)
    design = samples_store.find_design(tx, bench.market.id)
    if design is None:
        raise NoSamples(f"Market '{market}' has no samples to adapt on; POST some.")
    outcome, active_version = _adapt(bench, design, recipe)
    return AdaptationReceipt(adaptation=outcome, active_version=active_version)


def _open_bench(tx: Transaction, engine: Engine, product: ProductRow, market: str) -> Bench:
    """Hold the market first, then read theta in a statement of its own, which sees what was committed meanwhile."""
    market_row = markets.get_locked_row(tx, product, market)
    theta = thetas_store.find_active_theta(tx, product.id)
    if theta is None:
        raise NoActiveTheta(f"Product '{product.product.slug}' has no active theta; train one and activate it.")
    return Bench(tx, engine, product, market_row, theta)


def _adapt(bench: Bench, design: Design, recipe: AdaptationRecipe) -> tuple[AdaptationOutcome, int | None]:
    samples = samples_store.fetch_labelled(bench.tx, bench.market.id)
    n_defaults = sum(sample.defaulted for sample in samples)
    _require_a_level(bench, design, n_samples=len(samples), n_defaults=n_defaults)
    adaptation = _ask_engine(bench, samples, design, recipe)
    version = _keep(bench, adaptation, samples, design, recipe)
    outcome = AdaptationOutcome(
        version=version,
        verdict=adaptation.verdict,
        reasons=adaptation.reasons,
        theta_version=bench.theta.version,
        n_samples=len(samples),
        n_defaults=n_defaults,
        report=adaptation.report,
    )
    if adaptation.verdict == "activate" and bench.market.market.activation == "automatic":
        activation.put_in_service(bench.tx, bench.product, bench.market, version, AUTOMATIC)
        return outcome, version
    return outcome, bench.market.market.active_version


def _require_a_level(bench: Bench, design: Design, *, n_samples: int, n_defaults: int) -> None:
    """Some samples cannot say how many accounts default; then the market must."""
    if bench.market.market.base_rate is None:
        if design == "case_control":
            raise BaseRateRequired("Rows drawn by label say nothing about the level; declare the market's base rate.")
        if n_defaults == n_samples:
            raise BaseRateRequired("Defaulters alone say nothing about the level; declare the market's base rate.")
    if design == "case_control" and n_defaults == 0:
        raise DefaultsRequired("Goods alone, drawn by label, say nothing about ranking or level; send defaulters too.")


def _ask_engine(
    bench: Bench, samples: Sequence[LabelledFeatures], design: Design, recipe: AdaptationRecipe
) -> Adaptation:
    schema, theta = bench.product.product.feature_schema, Artifact(bench.theta.weights, bench.theta.sha256)
    support, belief = support_of(schema, samples, design), belief_of(bench.market.market.base_rate)
    with answering_engine_faults():
        reference = reference_for(bench.tx, bench.engine, schema, theta, support)
        return bench.engine.adapt(schema, theta, support, base_rate=belief, recipe=recipe, reference=reference)


def _keep(
    bench: Bench,
    adaptation: Adaptation,
    samples: Sequence[LabelledFeatures],
    design: Design,
    recipe: AdaptationRecipe,
) -> int:
    """Store the next version and move the market's counter; both under the market's lock, so none is skipped."""
    version = bench.market.market.last_version + 1
    base_rate = bench.market.market.base_rate
    store.insert_theta_prime(
        bench.tx,
        market_id=bench.market.id,
        version=version,
        theta_id=bench.theta.id,
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        design=design,
        base_rate=None if base_rate is None else base_rate.model_dump(mode="json"),
        sample_ids=[sample.id for sample in samples],
        n_defaults=sum(sample.defaulted for sample in samples),
        verdict=adaptation.verdict,
        reasons=adaptation.reasons,
        report=adaptation.report,
        weights=adaptation.artifact.weights,
        sha256=adaptation.artifact.sha256,
        software=software_versions(),
    )
    markets_store.set_last_version(bench.tx, bench.market.id, version)
    return version
