"""Scores, explanations and reason codes, on a theta whose logits are worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.domain.schema import Feature, FeatureSchema
from app.engine.contract import Artifact, CorruptArtifact
from app.engine.predictor import Predictor
from meta.checkpoint import sha256
from meta.thetas import Theta, pack_theta_prime
from tests.meta.toy import slot_of, toy_theta

SCHEMA = FeatureSchema(
    features=(
        Feature(name="debt", kind="numeric", direction_of_risk="increases"),
        Feature(name="job", kind="categorical", categories=("clerk", "nurse")),
        Feature(name="income", kind="numeric", direction_of_risk="decreases"),
    )
)
# what theta_prime adds to the logit
NURSE, UNSEEN, NO_JOB, NO_DEBT, NO_INCOME = 0.5, 0.7, 0.4, 0.8, 0.3


@pytest.fixture(scope="module")
def theta() -> Theta:
    return replace(toy_theta(), schema_sha256=SCHEMA.sha256())


@pytest.fixture(scope="module")
def artifact(theta: Theta) -> Artifact:
    content = theta.pack()
    return Artifact(content, sha256(content))


@pytest.fixture(scope="module")
def predictor(theta: Theta, artifact: Artifact) -> Predictor:
    encoder = theta.encoder
    slope = torch.zeros(encoder.n_features)
    job = np.flatnonzero(encoder.column_of_slot == encoder.column_names.index("job"))
    frequent = encoder.categories[0].index(theta.profiles.typical["job"])
    slope[job] = torch.tensor([NURSE, NURSE, UNSEEN, NO_JOB])
    slope[job[frequent]] = 0.0
    n_numeric = len(encoder.center)
    slope[slot_of(encoder, "debt") + n_numeric] = NO_DEBT
    slope[slot_of(encoder, "income") + n_numeric] = NO_INCOME
    theta_prime = theta.at_rest() | {"slope": slope}
    content = pack_theta_prime(theta_prime, theta.posterior_at_rest(), artifact.sha256)
    return Predictor(SCHEMA, artifact, Artifact(content, sha256(content)))


def account(theta: Theta, **changes: object) -> dict:
    """The typical account, but for what is changed."""
    return {name: [changes.get(name, value)] for name, value in theta.profiles.typical.items()}


def reasons(predictor: Predictor, columns: dict) -> list[tuple[str, str]]:
    return [(reason.code, reason.feature) for reason in predictor.explain(columns)[0].reasons]


def other_job(theta: Theta) -> str:
    return {"clerk": "nurse", "nurse": "clerk"}[theta.profiles.typical["job"]]


def test_numbers_are_above_or_below_the_reference(predictor: Predictor, theta: Theta) -> None:
    assert reasons(predictor, account(theta, debt=0.7)) == [("debt.above_reference", "debt")]
    assert reasons(predictor, account(theta, income=2000.0)) == [("income.below_reference", "income")]
    assert reasons(predictor, account(theta, debt=0.3, income=4000.0)) == []


def test_categories_seen_and_unseen(predictor: Predictor, theta: Theta) -> None:
    assert reasons(predictor, account(theta, job=other_job(theta))) == [("job.category", "job")]
    assert reasons(predictor, account(theta, job="astronaut")) == [("job.unseen_category", "job")]


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_what_was_not_provided(nothing: object, predictor: Predictor, theta: Theta) -> None:
    assert reasons(predictor, account(theta, debt=nothing)) == [("debt.not_provided", "debt")]
    assert reasons(predictor, account(theta, job=nothing)) == [("job.not_provided", "job")]
    assert reasons(predictor, account(theta, income=nothing)) == [("income.not_provided", "income")]


def test_reasons_come_the_largest_first_with_what_they_add(predictor: Predictor, theta: Theta) -> None:
    (found,) = predictor.explain(account(theta, debt=None, job="astronaut", income=None))
    told = [(reason.code, pytest.approx(reason.contribution, abs=0.05)) for reason in found.reasons]
    # a missing number also loses its own part of the logit: the typical one's, which is next to nothing
    assert told == [("debt.not_provided", NO_DEBT), ("job.unseen_category", UNSEEN), ("income.not_provided", NO_INCOME)]
    assert all(found.contributions[reason.feature] == reason.contribution for reason in found.reasons)


def test_the_reference_account_has_no_reasons(predictor: Predictor, theta: Theta) -> None:
    (found,) = predictor.explain(account(theta))
    assert list(found.reasons) == []
    assert set(found.contributions.values()) == {0.0}


def test_contributions_are_in_the_schemas_order_and_add_up_to_the_score(predictor: Predictor) -> None:
    columns = {
        "debt": [0.3, 0.72, None, 0.55],
        "job": ["clerk", "nurse", None, "astronaut"],
        "income": [2500.0, None, 3500.0, 1.0],
    }
    pd = predictor.pd(columns)
    for p, found in zip(pd, predictor.explain(columns), strict=True):
        assert list(found.contributions) == ["debt", "job", "income"]
        total = found.base + sum(found.contributions.values())
        assert total == pytest.approx(np.log(p / (1 - p)), abs=1e-6)
        assert all(reason.contribution > 0 for reason in found.reasons)


def test_a_row_is_explained_the_same_alone_and_in_a_batch(predictor: Predictor, theta: Theta) -> None:
    rows = [account(theta, debt=0.9), account(theta, job="astronaut"), account(theta, income=None)]
    together = predictor.explain({name: [row[name][0] for row in rows] for name in SCHEMA.names})
    assert together == [predictor.explain(row)[0] for row in rows]
    assert [found.reasons[0].code for found in together] == [
        "debt.above_reference",
        "job.unseen_category",
        "income.not_provided",
    ]


def test_unseen_categories_are_named_by_row(predictor: Predictor) -> None:
    columns = {"debt": [0.5] * 3, "job": ["astronaut", "clerk", None], "income": [3000.0] * 3}
    assert predictor.unseen(columns) == [["job"], [], []]


def test_scores_hold_their_pds(predictor: Predictor) -> None:
    columns = {"debt": [0.3, 0.7], "job": ["clerk", "nurse"], "income": [2500.0, None]}
    found = predictor.score(columns)
    np.testing.assert_array_equal(found.pd, predictor.pd(columns))
    assert ((found.pd_low < found.pd) & (found.pd < found.pd_high)).all()
    low, high = predictor.mean_pd_range(columns)
    assert low < found.pd.mean() < high


def test_without_a_theta_prime_it_is_theta_at_rest(artifact: Artifact, theta: Theta) -> None:
    at_rest = Predictor(SCHEMA, artifact)
    center = theta.encoder.center[theta.encoder.column_names.index("debt")]
    scale = theta.encoder.scale[theta.encoder.column_names.index("debt")]
    first, second = at_rest.pd({"debt": [center, center + scale], "job": ["clerk"] * 2, "income": [3000.0] * 2})
    difference = np.log(second / (1 - second)) - np.log(first / (1 - first))
    assert difference == pytest.approx(1.5, rel=1e-4)


def test_a_theta_of_another_schema_is_refused(artifact: Artifact) -> None:
    other = FeatureSchema(features=SCHEMA.features[:2])
    with pytest.raises(CorruptArtifact, match="learned on schema"):
        Predictor(other, artifact)
