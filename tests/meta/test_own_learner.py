"""The learner that the documentation shows keeps the contract of every learner."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from meta.learners import REGISTRY
from meta.nets import Ensemble
from meta.types import Episode
from tests.meta import test_learners as contract

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_learner.md"
CONTRACT = (
    contract.test_shapes,
    contract.test_no_rows_leave_theta_at_rest,
    contract.test_adapting_moves_the_prediction,
    contract.test_adapting_leaves_theta_untouched,
    contract.test_order_of_support_rows_does_not_matter,
    contract.test_padding_says_nothing,
    contract.test_a_task_is_adapted_to_a_tolerance_as_it_would_be_alone,
    contract.test_one_class_gives_finite_predictions,
    contract.test_one_row_gives_finite_predictions,
    contract.test_the_same_answer_twice,
    contract.test_stored_and_read_again_it_predicts_the_same_bits,
    contract.test_a_share_of_the_move_lies_between_theta_and_the_whole_of_it,
)


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> type:
    """The page's class, registered as ``documented``."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    module = ModuleType("documented_learner")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    monkeypatch.setitem(REGISTRY, "documented", module.BiasesAlone)
    return module.BiasesAlone


def test_the_documented_learner_keeps_the_contract(documented: type, network: Ensemble, episode: Episode) -> None:
    for test in CONTRACT:
        test(contract.make_case("documented", network), episode)
    contract.test_the_outer_gradient_is_the_derivative_of_the_loss("documented", network, episode)


def test_it_moves_biases_alone(documented: type, network: Ensemble, episode: Episode) -> None:
    case = contract.make_case("documented", network)
    adapted = case.adapted(episode.support)
    moved = {name for name, value in adapted.items() if not torch.equal(value[0], case.theta[name])}
    assert moved == {"b0", "b1", "head_b"}
