"""Matrix products in float32 by the faster of the two libraries that PyTorch has for a CPU.

PyTorch gives float32 products to MKL, which keeps to AVX2 on other makers' processors than its own. oneDNN uses AVX-512
wherever there is any, but PyTorch asks it only where it may round to bfloat16. It has a use for that on processors with
units for bfloat16 matrices (AMX, Arm); on the others it computes in float32, and there it is let.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch


@contextmanager
def quick_products() -> Iterator[None]:
    """Let oneDNN take the float32 products where it keeps to float32; elsewhere nothing changes.

    The setting is the process's: products of other threads meanwhile take the same way, to the same precision.
    """
    if not onednn_keeps_float32():
        yield
        return
    with _onednn_may_round():
        yield


@cache
def onednn_keeps_float32() -> bool:
    """Say whether oneDNN has AVX-512 here and nothing to gain by rounding, and a product proves it.

    False beside a CUDA device: ``torch.get_float32_matmul_precision``, which ways of compiling for it ask, raises while
    the setting is there.
    """
    found = torch.cpu.get_capabilities()
    if not found.get("avx512_f") or found.get("amx_tile") or torch.cuda.is_available():
        return False
    x = torch.full((32, 20, 64), 1.0 + 2.0**-12)  # bfloat16 makes it 1
    with _onednn_may_round():
        return torch.equal(torch.bmm(x, torch.eye(64).repeat(32, 1, 1)), x)


@contextmanager
def _onednn_may_round() -> Iterator[None]:
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # the module is an object at run time
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before
