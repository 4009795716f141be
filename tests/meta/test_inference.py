"""The serving path: what torch says, and the same bits alone and in any batch."""

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
    weights = {name: value.numpy() for name, value in params.items()} | {"level": np.array([0.3])}
    return EnsembleForward(weights, n_layers=2)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(101, 37)).astype(np.float32)


def test_agrees_with_the_network(params, served: EnsembleForward, rows: np.ndarray) -> None:
    logits = NETWORK.readout(NETWORK.forward(params, torch.from_numpy(rows))).numpy()
    np.testing.assert_allclose(served.logits(rows), logits + 0.3, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 65])
def test_the_same_bits_in_a_batch_of(n: int, served: EnsembleForward, rows: np.ndarray) -> None:
    alone = np.array([served.pd(rows[i : i + 1])[0] for i in range(n)])
    np.testing.assert_array_equal(served.pd(rows[:n]), alone)


def test_the_same_bits_shuffled(served: EnsembleForward, rows: np.ndarray) -> None:
    pd = served.pd(rows)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(rows))
        np.testing.assert_array_equal(served.pd(rows[order]), pd[order])


def test_extreme_logits_stay_probabilities(params) -> None:
    weights = {name: value.numpy() for name, value in params.items()}
    for level in (-800.0, 800.0):
        pd = EnsembleForward(weights | {"level": np.array([level])}, 2).pd(np.zeros((1, 37), dtype=np.float32))
        assert np.isfinite(pd).all()
        assert 0.0 <= pd[0] <= 1.0
