"""From a posted support to a theta_prime with its report: the same bytes every time, completed where it must be."""

import json
from dataclasses import replace

import numpy as np
import pandas
import pytest

from app.domain.recipes import USUAL_GUARD, AdaptationRecipe, ThetaRecipe
from app.domain.schema import FeatureSchema
from app.engine.adapter import adapt, influence, posted_rows, reference_row_ids
from app.engine.contract import Adaptation, Artifact, BaseRateBelief, InvalidEpisode, Support
from app.engine.predictor import Predictor
from app.engine.training import imputer_of, settings_of
from meta.checkpoint import sha256
from meta.conflict import N_DRAWS
from meta.thetas import Theta
from meta.types import Column
from tests.app.test_engine_predictor import SCHEMA
from tests.meta.toy import honest_support, toy_theta

BELIEF = BaseRateBelief(0.25, 0.2, 0.3)


@pytest.fixture(scope="module")
def theta() -> Theta:
    return replace(toy_theta(), schema_sha256=SCHEMA.sha256())


@pytest.fixture(scope="module")
def artifact(theta: Theta) -> Artifact:
    content = theta.pack()
    return Artifact(content, sha256(content))


@pytest.fixture(scope="module")
def support(theta: Theta) -> Support:
    posted = honest_support(theta, 120, np.random.default_rng(0), level=0.0)
    return Support(posted.columns, [bool(y) for y in posted.rows.y], "random")


def adapted(artifact: Artifact, support: Support, schema: FeatureSchema = SCHEMA, **settings) -> Adaptation:
    known = {"base_rate": None, "recipe": AdaptationRecipe()} | settings
    return adapt(schema, artifact, support, **known)


def only(support: Support, rows: list[int], design: str = "random") -> Support:
    columns = {name: [values[i] for i in rows] for name, values in support.columns.items()}
    return Support(columns, [support.defaulted[i] for i in rows], design)


def test_equal_inputs_give_equal_bytes_and_a_report_in_plain_values(artifact: Artifact, support: Support) -> None:
    first, second = (adapted(artifact, support) for _ in range(2))
    assert first == second
    assert first.artifact.sha256 == sha256(first.artifact.weights)
    assert json.loads(json.dumps(first.report)) == first.report
    assert first.verdict == "activate"
    assert first.reasons == [finding["text"] for finding in first.report["findings"]]
    assert set(first.report["cross_fitted"]) > {"theta", "base_rate_only", "theta_prime", "scratch"}


def test_what_was_adapted_scores_and_is_surer_than_theta(artifact: Artifact, support: Support) -> None:
    served, at_rest = Predictor(SCHEMA, artifact, adapted(artifact, support).artifact), Predictor(SCHEMA, artifact)
    after, before = served.score(support.columns), at_rest.score(support.columns)

    def width(found) -> np.ndarray:
        low, high = found.pd_low, found.pd_high
        return np.log(high / (1 - high)) - np.log(low / (1 - low))

    assert (width(after) < width(before)).all()


def test_defaulters_alone_are_completed_with_four_goods_each(theta: Theta, support: Support) -> None:
    bad = [i for i, defaulted in enumerate(support.defaulted) if defaulted]
    good = [i for i, defaulted in enumerate(support.defaulted) if not defaulted]
    reference = only(support, good)
    alone = only(support, bad[:6], "case_control")
    posted = posted_rows(theta, alone, BELIEF, reference)
    assert (posted.n_completed, len(posted.rows.y), posted.rows.y.sum()) == (24, 30, 6)
    assert posted.columns["debt"] == [*alone.columns["debt"], *reference.columns["debt"][:24]]
    np.testing.assert_array_equal(posted.rows.x, theta.encoder.encode(posted.columns))
    few = posted_rows(theta, alone, BELIEF, only(support, good[:5]))
    assert few.n_completed == 5
    assert posted_rows(theta, only(support, [*bad[:6], good[0]], "case_control"), BELIEF, reference).n_completed == 0
    assert posted_rows(theta, only(support, []), None, reference).n_completed == 0


def test_reference_goods_are_counted_apart_and_have_no_influence_told(artifact: Artifact, support: Support) -> None:
    bad = [i for i, defaulted in enumerate(support.defaulted) if defaulted]
    good = [i for i, defaulted in enumerate(support.defaulted) if not defaulted]
    alone, reference = only(support, bad[:8], "case_control"), only(support, good)
    found = adapted(artifact, alone, base_rate=BELIEF, reference=reference)
    assert (found.report["n_support"], found.report["n_reference_goods"]) == (8, 32)
    rows = influence(SCHEMA, artifact, alone, base_rate=BELIEF, recipe=AdaptationRecipe(), reference=reference)
    assert len(rows) == 8
    # each is fitted better with itself among the support, but for the level, which all accounts together place
    assert np.mean([row.loss for row in rows]) < 0


def test_goods_that_complete_a_support_do_not_hide_a_wrong_unit(artifact: Artifact, support: Support) -> None:
    bad = [i for i, defaulted in enumerate(support.defaulted) if defaulted]
    good = [i for i, defaulted in enumerate(support.defaulted) if not defaulted]
    alone, reference = only(support, bad[:12], "case_control"), only(support, good)
    wrong = replace(alone, columns={**alone.columns, "income": [12 * value for value in alone.columns["income"]]})

    def profile_of(posted: Support) -> list[tuple[str, str]]:
        found = adapted(artifact, posted, base_rate=BELIEF, reference=reference).report["findings"]
        return [(f["column"], f["severity"]) for f in found if f["check"] == "profile"]

    assert profile_of(alone) == []
    assert profile_of(wrong) == [("income", "hold")]


def test_it_is_told_that_other_markets_goods_are_among_the_judged(artifact: Artifact, support: Support) -> None:
    bad = [i for i, defaulted in enumerate(support.defaulted) if defaulted]
    good = [i for i, defaulted in enumerate(support.defaulted) if not defaulted]
    found = adapted(artifact, only(support, bad[:6], "case_control"), base_rate=BELIEF, reference=only(support, good))
    told = "24 goods of source markets stand for this market's, which posted none: cross-fitted losses are of both"
    assert any(reason.startswith(told) for reason in found.reasons)


def test_defaulters_that_differ_from_other_markets_goods_contradict_nothing(theta: Theta, artifact: Artifact) -> None:
    """Accounts of this market have less debt; theta's logits do not rank them against another market's goods."""
    rng = np.random.default_rng(3)
    here = honest_support(theta, 400, rng, level=1.5)
    columns = {**here.columns, "debt": [0.3 * value for value in here.columns["debt"]]}
    market = Support(columns, [bool(y) for y in here.rows.y], "case_control")
    bad = [i for i, defaulted in enumerate(market.defaulted) if defaulted][:40]
    other = honest_support(theta, 400, rng, level=-1.0)
    theirs = Support(other.columns, [bool(y) for y in other.rows.y], "case_control")
    good = [i for i, defaulted in enumerate(theirs.defaulted) if not defaulted]
    alone, reference = only(market, bad, "case_control"), only(theirs, good)
    completed = adapted(artifact, alone, base_rate=BELIEF, reference=reference)
    both = Support(
        {name: [*alone.columns[name], *reference.columns[name][:160]] for name in columns},
        [True] * 40 + [False] * 160,
        "case_control",
    )
    as_one_market = adapted(artifact, both, base_rate=BELIEF)
    conflicts = {"ranking", "column", "move"}
    assert conflicts & {f["check"] for f in as_one_market.report["findings"] if f["severity"] != "note"}
    assert not conflicts & {f["check"] for f in completed.report["findings"]}


def test_rows_drawn_by_label_need_a_declared_rate(artifact: Artifact, support: Support) -> None:
    with pytest.raises(InvalidEpisode, match="needs a declared base rate"):
        adapted(artifact, only(support, list(range(20)), "case_control"))


def test_a_support_without_rows_is_held(artifact: Artifact, support: Support) -> None:
    for design, belief in (("random", None), ("case_control", BELIEF)):
        found = adapted(artifact, only(support, [], design), base_rate=belief)
        assert found.verdict == "hold"
        assert found.report["n_support"] == 0


def test_reference_rows_are_read_from_the_artifact(artifact: Artifact, theta: Theta) -> None:
    assert reference_row_ids(artifact) == list(theta.reference_row_ids) == [1, 2, 3]


def test_a_conflict_can_meet_the_strictest_usual_rule() -> None:
    assert min(rule.refuse_below for rule in USUAL_GUARD if rule.refuse_below > 0) > 1 / (N_DRAWS + 1)


def test_each_learner_takes_its_usual_number_of_steps() -> None:
    assert settings_of(ThetaRecipe()).learner.inner_steps == 6
    assert settings_of(ThetaRecipe()).learner.learner == "map_bayes"
    assert settings_of(ThetaRecipe(learner="maml")).learner.inner_steps == 3
    assert settings_of(ThetaRecipe(inner_steps=9)).learner.inner_steps == 9
    assert settings_of(ThetaRecipe(teacher_share=0.25)).teacher_share == 0.25


@pytest.mark.parametrize(("n_gaps", "imputer"), [(0, None), (39, None), (40, "conditional"), (200, "conditional")])
def test_many_gaps_in_the_source_bring_an_imputer_by_themselves(n_gaps: int, imputer: str | None) -> None:
    columns = (Column("debt", "numeric"), Column("job", "categorical"))
    values = np.array([[1.0, "x"]] * 200, dtype=object)
    values.reshape(-1)[:n_gaps] = None
    source = pandas.DataFrame(values, columns=["debt", "job"]).assign(market="A", beside=np.nan)
    assert ThetaRecipe().imputer == "auto"
    assert imputer_of(ThetaRecipe(), columns, source) == imputer


def test_an_imputer_that_is_named_is_taken_whatever_the_gaps() -> None:
    source = pandas.DataFrame({"debt": [np.nan, 1.0]})
    for name, expected in (("none", None), ("mean", "mean"), ("conditional", "conditional")):
        recipe = ThetaRecipe.model_validate({"imputer": name})
        assert imputer_of(recipe, (Column("debt", "numeric"),), source) == expected
