"""The faster library is let only where it computes in float32, and only for as long as asked."""

import pytest
import torch

from meta import products
from meta.learners.protocol import OuterGradient
from meta.products import onednn_keeps_float32, quick_products
from meta.trainer import Schedule, TrainerState, train
from meta.types import Params


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.mark.parametrize("n_tasks", [1, 32])
@pytest.mark.parametrize("n_rows", [5, 20, 200])
@pytest.mark.parametrize("width", [7, 40, 64, 300])
def test_products_are_float32(n_tasks: int, n_rows: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_tasks, n_rows, width, generator=generator)
    w = torch.randn(n_tasks, width, 64, generator=generator)
    with quick_products():
        for found, a, b in ((x @ w, x, w), (x.mT @ x, x.mT, x), (x[0] @ w[0], x[0], w[0])):
            exact = a.double() @ b.double()
            size = a.double().abs() @ b.double().abs()
            assert ((found - exact).abs() / size).max() < 1e-6  # rounding to bfloat16 would leave some 1e-3


def test_the_setting_ends_with_the_block() -> None:
    @quick_products()
    def fail() -> None:
        raise ValueError(setting())

    before = setting()
    with pytest.raises(ValueError, match="bf16" if onednn_keeps_float32() else before):
        fail()
    assert setting() == before


@pytest.mark.parametrize(
    "found", [{"avx512_f": True, "amx_tile": True}, {"avx2": True}, {"neon": True, "bf16": True}], ids=str
)
def test_nothing_changes_where_onednn_may_round(found: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(products, "onednn_keeps_float32", onednn_keeps_float32.__wrapped__)  # past its cache
    before = setting()
    with quick_products():
        assert setting() == before


def test_nothing_changes_where_a_product_was_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    monkeypatch.setattr(torch, "bmm", lambda a, b: (a.bfloat16() @ b.bfloat16()).float())
    assert not onednn_keeps_float32.__wrapped__()


def test_the_trainer_asks_for_it() -> None:
    seen = []

    def gradient_at(theta: Params, step: int) -> OuterGradient:
        seen.append(setting())
        return OuterGradient(torch.tensor(0.0), {"w": torch.zeros(2)})

    train(TrainerState.at_start({"w": torch.zeros(2)}), gradient_at, Schedule(1, 0.1))
    with quick_products():
        assert seen == [setting()]
