"""The network's forward in NumPy: what torch says, and the same bits alone and in any batch."""

import numpy as np
import pytest
import torch

from meta.inference import EnsembleForward
from meta.nets import Ensemble

NETWORK = Ensemble(37, (64, 64), n_members=8)


@pytest.fixture(scope="module")
def params():
    return NETWORK.init(torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def served(params) -> EnsembleForward:
    return EnsembleForward({name: value.numpy() for name, value in params.items()}, n_layers=2)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1100, 37)).astype(np.float32)


def test_agrees_with_the_network(params, served: EnsembleForward, rows: np.ndarray) -> None:
    logits = NETWORK.readout(NETWORK.forward(params, torch.from_numpy(rows))).numpy()
    np.testing.assert_allclose(served.logits(rows), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 65, 1100])
def test_the_same_bits_in_a_batch_of(n: int, served: EnsembleForward, rows: np.ndarray) -> None:
    alone = np.array([served.logits(rows[i : i + 1])[0] for i in range(n)])
    np.testing.assert_array_equal(served.logits(rows[:n]), alone)


def test_the_same_bits_shuffled(served: EnsembleForward, rows: np.ndarray) -> None:
    logits = served.logits(rows)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(rows))
        np.testing.assert_array_equal(served.logits(rows[order]), logits[order])


def test_sure_members_leave_logits_finite(params) -> None:
    weights = {name: value.numpy() for name, value in params.items()}
    for bias in (-800.0, 800.0):
        forward = EnsembleForward(weights | {"head_b": np.full(8, bias, dtype=np.float32)}, 2)
        assert forward.logits(np.zeros((1, 37), dtype=np.float32)) == pytest.approx(bias, abs=5)


def test_no_rows_give_no_logits(served: EnsembleForward, rows: np.ndarray) -> None:
    assert served.logits(rows[:0]).shape == (0,)
