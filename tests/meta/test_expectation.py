"""What is expected is looked up at the nearest number of defaults, and is kept with theta."""

from dataclasses import replace

import pytest

from meta.checkpoint import pack, sha256, unpack
from meta.expectation import ExpectedGain, nearest
from meta.thetas import Theta
from tests.meta.toy import toy_theta

MEASURED = tuple(ExpectedGain("random", n, n / 10, 40, n / 1e5, 0.0005, 0.02) for n in (5, 20, 50, 200))


@pytest.mark.parametrize(
    ("n_defaults", "size"), [(0, 5), (1, 5), (2, 20), (3, 20), (4, 50), (10, 50), (11, 200), (999, 200)]
)
def test_the_nearest_number_of_defaults_by_ratio(n_defaults: int, size: int) -> None:
    found = nearest(MEASURED, "random", n_defaults)
    assert found is not None
    assert found.size == size


def test_another_design_says_nothing() -> None:
    assert nearest(MEASURED, "case_control", 5) is None
    assert nearest((), "random", 5) is None


def test_theta_keeps_it_and_one_from_before_has_none() -> None:
    theta = replace(toy_theta(), expected=MEASURED, level_prior=replace(toy_theta().level_prior, still=0.25))
    content = theta.pack()
    found = Theta.unpack(content, sha256(content), theta.schema_sha256)
    assert (found.expected, found.level_prior.still) == (MEASURED, 0.25)
    tensors, metadata = unpack(content, sha256(content))
    del metadata["expected"], metadata["level_prior"]["still"]
    before = pack(tensors, metadata)
    older = Theta.unpack(before, sha256(before), theta.schema_sha256)
    assert (older.expected, older.level_prior.still) == ((), 0.0)
