"""The ledger's scores: read one, compute it again, take it apart; each by the versions that made it."""

from math import fsum
from typing import Any
from uuid import UUID

from app.domain.products import PointsScale
from app.domain.scorecard import points_from_logit, points_of_contribution
from app.domain.scores import Amount, Contribution, RecordedScore, Replay, ScoreExplanation
from app.engine.contract import Explanation, PdColumns
from app.errors import UnknownScore
from app.services.engine import Predictor, answering_engine_faults
from app.services.predictors import Predictors
from app.services.scoring import reasons_of
from app.store import scores as store
from app.store.database import Transaction
from app.store.scores import LedgerInputs


def get_score(tx: Transaction, score_id: UUID) -> RecordedScore:
    """Raises: UnknownScore."""
    found = store.find_score(tx, score_id)
    if found is None:
        raise UnknownScore("The ledger holds no score of this id.")
    return found


def replay_score(tx: Transaction, predictors: Predictors, score_id: UUID) -> Replay:
    """Compute a recorded score again, by the versions that it names.

    Raises: UnknownScore, StoredWeightsCorrupt, EngineRefused.
    """
    inputs = _get_inputs(tx, score_id)
    predictor = _predictor(tx, predictors, inputs)
    with answering_engine_faults():
        return _compare(score_id, inputs, predictor.score(_columns(inputs)))


def explain_score(tx: Transaction, predictors: Predictors, score_id: UUID) -> ScoreExplanation:
    """Take a recorded score apart, by the versions that it names.

    Raises: UnknownScore, StoredWeightsCorrupt, EngineRefused.
    """
    inputs = _get_inputs(tx, score_id)
    predictor = _predictor(tx, predictors, inputs)
    with answering_engine_faults():
        replay = _compare(score_id, inputs, predictor.score(_columns(inputs)))
        (explanation,) = predictor.explain(_columns(inputs))
    return ScoreExplanation(
        id=score_id,
        product=inputs.product,
        market=inputs.market,
        account=inputs.account,
        theta_version=inputs.theta_version,
        theta_prime_version=inputs.theta_prime_version,
        recorded_pd=inputs.pd,
        replayed_pd=replay.replayed_pd,
        identical=replay.identical,
        recorded_points=inputs.points,
        base=_amount(explanation.base, inputs.points_scale),
        contributions=_contributions(explanation, inputs),
        total=_amount(fsum([explanation.base, *explanation.contributions.values()]), inputs.points_scale),
        reasons=reasons_of(explanation, inputs.points_scale),
    )


def _get_inputs(tx: Transaction, score_id: UUID) -> LedgerInputs:
    inputs = store.find_inputs(tx, score_id)
    if inputs is None:
        raise UnknownScore("The ledger holds no score of this id.")
    return inputs


def _predictor(tx: Transaction, predictors: Predictors, inputs: LedgerInputs) -> Predictor:
    return predictors.get(tx, inputs.product, inputs.theta_id, inputs.theta_prime_id)


def _columns(inputs: LedgerInputs) -> dict[str, list[Any]]:
    return {name: [value] for name, value in inputs.features.items()}


def _compare(score_id: UUID, inputs: LedgerInputs, computed: PdColumns) -> Replay:
    recorded = (inputs.pd, inputs.pd_low, inputs.pd_high)
    replayed = (float(computed.pd[0]), float(computed.pd_low[0]), float(computed.pd_high[0]))
    return Replay(
        id=score_id,
        recorded_pd=recorded[0],
        replayed_pd=replayed[0],
        recorded_pd_low=recorded[1],
        replayed_pd_low=replayed[1],
        recorded_pd_high=recorded[2],
        replayed_pd_high=replayed[2],
        identical=all(before is None or before == after for before, after in zip(recorded, replayed, strict=True)),
        theta_version=inputs.theta_version,
        theta_prime_version=inputs.theta_prime_version,
    )


def _amount(logit: float, scale: PointsScale) -> Amount:
    return Amount(logit=logit, points=points_from_logit(logit, scale))


def _contributions(explanation: Explanation, inputs: LedgerInputs) -> list[Contribution]:
    return [
        Contribution(
            feature=feature,
            value=inputs.features.get(feature),
            logit=logit,
            points=points_of_contribution(logit, inputs.points_scale),
        )
        for feature, logit in explanation.contributions.items()
    ]
