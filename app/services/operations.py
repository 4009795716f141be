"""The operations desk's view: every market on one page."""

from typing import Any, Literal

from app.domain.operations import CrossFittedGain, MarketStatus
from app.domain.pages import Page
from app.services import products
from app.store import operations as store
from app.store.database import Transaction
from app.store.operations import MarketState

SECONDS_A_DAY = 86_400


def list_market_status(tx: Transaction, *, product: str | None, after: str | None, limit: int) -> Page[MarketStatus]:
    """Read one page of markets, ordered by product and market; `after` is `product/market`, as pages give it.

    Raises: UnknownProduct: the one to filter by does not exist.
    """
    if product is not None:
        products.get_row(tx, product)
    after_product, _, after_market = (after or "").partition("/")
    states = store.list_market_states(tx, product=product, after=(after_product, after_market), limit=limit)
    return Page.of([_status(state) for state in states], limit, lambda status: f"{status.product}/{status.market}")


def _status(state: MarketState) -> MarketStatus:
    return MarketStatus(
        product=state.product,
        market=state.market,
        activation=state.activation,
        basis=_basis(state),
        active_version=state.active_version,
        age_days=None if state.age_s is None else float(state.age_s) / SECONDS_A_DAY,
        latest_version=state.latest_version,
        latest_verdict=state.latest_verdict,
        latest_reason=state.latest_reason,
        latest_evidence=state.latest_evidence,
        latest_at=state.latest_at,
        n_support=state.n_support,
        n_defaults=state.n_defaults,
        cross_fitted=_gain(state.cross_fitted),
    )


def _basis(state: MarketState) -> Literal["theta_prime", "theta"] | None:
    if state.active_version is not None:
        return "theta_prime"
    return None if state.active_theta_version is None else "theta"


def _gain(cross_fitted: dict[str, Any] | None) -> CrossFittedGain | None:
    """Read the report's comparison; supports too small to be split have none.

    Versions never change, and those from before the ladder have their one gain beside the losses.
    """
    if not cross_fitted:
        return None
    gain = cross_fitted["theta_prime"].get("gain") or cross_fitted["gain"]
    return CrossFittedGain(
        theta_log_loss=cross_fitted["theta"]["log_loss"],
        theta_prime_log_loss=cross_fitted["theta_prime"]["log_loss"],
        gain=gain["mean"],
        gain_low=gain["low"],
        gain_high=gain["high"],
    )
