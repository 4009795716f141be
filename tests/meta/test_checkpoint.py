"""Artifacts: byte-exact, refused when changed, refused when not finite."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meta.checkpoint import pack, sha256, unpack
from meta.errors import CorruptArtifact

TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor([1, 2]), "s": torch.tensor(2.5)}
CONTENT = pack(TENSORS, {"kind": "theta", "name": "é"})


def test_round_trip() -> None:
    tensors, metadata = unpack(CONTENT, sha256(CONTENT))
    assert metadata == {"kind": "theta", "name": "é"}
    assert {n: (t.dtype, t.tolist()) for n, t in tensors.items()} == {
        n: (t.dtype, t.tolist()) for n, t in TENSORS.items()
    }


def test_equal_tensors_give_equal_bytes_whatever_their_order() -> None:
    assert pack(dict(reversed(TENSORS.items())), {"name": "é", "kind": "theta"}) == CONTENT


@settings(max_examples=200)
@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(place: int, change: int) -> None:
    changed = bytearray(CONTENT)
    changed[place] ^= change
    with pytest.raises(CorruptArtifact, match="do not match their hash"):
        unpack(bytes(changed), sha256(CONTENT))


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[:40], CONTENT[:-1], b"\x80\x04N."])
def test_other_content_is_refused_even_with_its_own_hash(content: bytes) -> None:
    with pytest.raises(CorruptArtifact, match="not a thetaprime/2 artifact"):
        unpack(content, sha256(content))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    import safetensors.torch

    with pytest.raises(CorruptArtifact, match="'w' holds NaN or infinity"):
        pack({"w": torch.tensor([1.0, value])}, {})
    header = {"thetaprime/2": "{}"}
    stored = safetensors.torch.save({"w": torch.tensor([value])}, header)
    with pytest.raises(CorruptArtifact, match="'w' holds NaN or infinity"):
        unpack(stored, sha256(stored))


def test_a_foreign_format_is_refused() -> None:
    import safetensors.torch

    stored = safetensors.torch.save({"w": torch.ones(1)}, {"format": "pt"})
    with pytest.raises(CorruptArtifact, match="not a thetaprime/2 artifact"):
        unpack(stored, sha256(stored))
