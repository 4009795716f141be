"""Scoring: PDs by the version that serves the market, in the ledger before anybody sees them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.domain.products import PointsScale
from app.domain.schema import FeatureSchema
from app.domain.scorecard import points_from_pd, points_of_contribution
from app.domain.scores import Basis, Score, ScoreReason
from app.engine.contract import Explanation, FeatureColumns
from app.errors import NoActiveTheta, UnknownAccount
from app.services import checking, markets, products
from app.services.engine import answering_engine_faults
from app.services.predictors import Predictors
from app.services.score_batches import ScoreBatch
from app.store import accounts
from app.store import scores as store
from app.store.database import Transaction
from app.store.scores import ScoreRow, Serving


@dataclass(frozen=True)
class ScoredRows:
    """What was scored by one version at one moment, as the ledger has it."""

    product: str
    market: str
    serving: Serving
    rows: list[ScoreRow]

    @property
    def basis(self) -> Basis:
        """Which of the two models scored."""
        return "theta" if self.serving.theta_prime_id is None else "theta_prime"

    def columns(self) -> dict[str, list[Any]]:
        """Write the fields of ``Score`` as one list each, in the order of the rows."""
        serving, n_rows = self.serving, len(self.rows)
        found: dict[str, list[Any]] = {
            "id": [row.id for row in self.rows],
            "product": [self.product] * n_rows,
            "market": [self.market] * n_rows,
            "account": [row.account for row in self.rows],
            "pd": [row.pd for row in self.rows],
            "pd_low": [row.pd_low for row in self.rows],
            "pd_high": [row.pd_high for row in self.rows],
            "reasons": [row.reasons for row in self.rows],
            "points": [row.points for row in self.rows],
            "basis": [self.basis] * n_rows,
            "theta_version": [serving.theta_version] * n_rows,
            "theta_prime_version": [serving.theta_prime_version] * n_rows,
            "n_defaults": [serving.n_defaults] * n_rows,
            "unseen": [row.unseen for row in self.rows],
            "filled": [row.filled for row in self.rows],
            "scored_at": [row.created_at for row in self.rows],
        }
        return found

    def records(self) -> list[dict[str, Any]]:
        """Write one ``Score`` a row, as plain values."""
        return checking.rows_of(self.columns(), len(self.rows))


def score_account(tx: Transaction, predictors: Predictors, product: str, market: str, account: str) -> Score:
    """Score a stored account, with reasons.

    Raises: UnknownProduct, UnknownMarket, UnknownAccount, NoActiveTheta, StoredWeightsCorrupt, EngineRefused.
    """
    serving = _get_serving(tx, product, market)
    found = accounts.find_account(tx, serving.market_id, account)
    if found is None:
        raise UnknownAccount("The market has no account of this reference; PUT its features first.")
    columns = {name: [value] for name, value in found.features.items()}
    scored = _score(tx, predictors, product, market, serving, columns, [account], with_reasons=True)
    store.insert_score(tx, scored.rows[0])
    return Score(**scored.records()[0])


def score_batch(
    tx: Transaction,
    predictors: Predictors,
    product: str,
    market: str,
    read: Callable[[FeatureSchema], ScoreBatch],
    *,
    with_reasons: bool,
) -> ScoredRows:
    """Score a batch, which ``read`` reads by the product's schema; all rows or none.

    with_reasons: explain each row too, which costs about a millisecond a row.

    Raises: UnknownProduct, UnknownMarket, NoActiveTheta, StoredWeightsCorrupt, EngineRefused; what ``read`` raises.
    """
    schema = products.get_product(tx, product).feature_schema
    serving = _get_serving(tx, product, market)
    batch = read(schema)
    scored = _score(tx, predictors, product, market, serving, batch.columns, batch.accounts, with_reasons=with_reasons)
    store.copy_scores(tx, scored.rows)
    return scored


def _get_serving(tx: Transaction, product: str, market: str) -> Serving:
    serving = store.find_serving(tx, product, market)
    if serving is None:
        markets.get_market(tx, product, market)  # says which of the two is unknown
        raise NoActiveTheta(f"Product '{product}' has no active theta; train one and activate it.")
    return serving


def reasons_of(explanation: Explanation, scale: PointsScale) -> list[ScoreReason]:
    """Write the engine's reasons in points; its order is kept."""
    return [
        ScoreReason(code=reason.code, feature=reason.feature, points=points_of_contribution(reason.contribution, scale))
        for reason in explanation.reasons
    ]


def _score(
    tx: Transaction,
    predictors: Predictors,
    product: str,
    market: str,
    serving: Serving,
    columns: FeatureColumns,
    accounts: Sequence[str | None],
    *,
    with_reasons: bool,
) -> ScoredRows:
    predictor, n_rows = predictors.get(tx, product, serving.theta_id, serving.theta_prime_id), len(accounts)
    scored_at = datetime.now(UTC)
    with answering_engine_faults():
        unseen_by_row, filled_by_row = predictor.unseen(columns), predictor.filled(columns)
        pds = predictor.score(columns)
        explanations = predictor.explain(columns) if with_reasons else [None] * n_rows
    intervals = zip(pds.pd.tolist(), pds.pd_low.tolist(), pds.pd_high.tolist(), strict=True)
    given = zip(accounts, checking.rows_of(columns, n_rows), unseen_by_row, filled_by_row, strict=True)
    inputs = zip(given, intervals, explanations, strict=True)
    rows = [
        ScoreRow(
            id=uuid4(),
            market_id=serving.market_id,
            account=account,
            features=features,
            unseen=unseen,
            filled=filled,
            pd=pd,
            pd_low=pd_low,
            pd_high=pd_high,
            reasons=None if explanation is None else reasons_of(explanation, serving.points_scale),
            points=points_from_pd(pd, serving.points_scale),
            theta_id=serving.theta_id,
            theta_prime_id=serving.theta_prime_id,
            created_at=scored_at,
        )
        for (account, features, unseen, filled), (pd, pd_low, pd_high), explanation in inputs
    ]
    return ScoredRows(product, market, serving, rows)
