"""theta and theta_prime at rest: safetensors, hashed, finite, never pickled."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from meta.errors import CorruptArtifact
from meta.types import Params

FORMAT = "thetaprime/2"


def sha256(content: bytes) -> str:
    """Hash bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def pack(tensors: Params, metadata: Mapping[str, Any]) -> bytes:
    """Serialise named tensors with JSON metadata; equal inputs give equal bytes.

    Raises:  CorruptArtifact: a tensor is not finite.
    """
    arrays = {name: tensors[name].detach().cpu().contiguous().numpy() for name in sorted(tensors)}
    _require_finite(arrays)
    # one header entry only: the library writes several in an order of its own
    return safetensors.numpy.save(
        arrays, metadata={FORMAT: json.dumps(metadata, sort_keys=True, separators=(",", ":"))}
    )


def unpack(content: bytes, expected_sha256: str) -> tuple[Params, dict[str, Any]]:
    """Read what ``pack`` wrote, after checking its hash; returns tensors and metadata.

    Raises:  CorruptArtifact: a byte has changed, the content is no such artifact, or a tensor is not finite.
    """
    arrays, metadata = unpack_arrays(content, expected_sha256)
    return {name: torch.from_numpy(value) for name, value in arrays.items()}, metadata


def unpack_arrays(content: bytes, expected_sha256: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Like ``unpack``, as NumPy arrays: the serving path needs no torch."""
    found = sha256(content)
    if found != expected_sha256:
        raise CorruptArtifact(f"weights do not match their hash: expected sha256 {expected_sha256}, found {found}")
    try:
        arrays = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FORMAT])
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as fault:
        raise CorruptArtifact(f"not a {FORMAT} artifact: {type(fault).__name__}") from None
    _require_finite(arrays)
    return arrays, metadata


def _require_finite(arrays: Mapping[str, np.ndarray]) -> None:
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise CorruptArtifact(f"tensor {name!r} holds NaN or infinity")
