"""Vectors in; vectors of length one, codes, bytes and cosines out: what an embedding is, whoever writes it. Pure, and knows no model.

All arithmetic is float32. A code is made from a vector of length one, by constants: the same vector has the same code in every call and on every server.
"""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from emberank.contract.inference import EmbeddingType

Floats = NDArray[np.float32]

STEPS = 127  # int8 codes of 0 … 1; a constant, so that a vector has the same code in every call and codes of different calls compare
_ROUNDING = 1e-5  # how far float32 leaves the length of a vector that was brought to one


def unit(x: Floats) -> Floats:
    """x / ‖x‖ over the last axis; a zero vector stays zero."""
    norm = np.sqrt(np.einsum("...i,...i->...", x, x))[..., None]
    return x / np.maximum(norm, np.float32(1e-12))


def quantise(vectors: Floats, kind: EmbeddingType) -> NDArray[np.generic]:
    """Unit vectors (n, d) float32 → the type asked for.

    int8:    round(127 · x), halves to even, −127 … 127.     uint8: int8 + 128, 1 … 255.
    ubinary: bit x > 0, eight to a byte, first dimension in the highest bit, zeros behind the last → (n, ⌈d/8⌉) uint8.
    binary:  ubinary − 128 as int8.
    The bits are sentence-transformers' (`quantize_embeddings`, 6.2). Its int8 spreads each dimension over the range it has in a
    calibration set, which a server has not; NVIDIA does not publish its own.
    """
    if kind == "float":
        return vectors
    if kind in ("int8", "uint8"):
        steps = np.clip(np.rint(vectors * np.float32(STEPS)), -STEPS, STEPS)
        return steps.astype(np.int8) if kind == "int8" else (steps + 128).astype(np.uint8)
    packed = np.packbits(vectors > 0, axis=-1)
    return packed if kind == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)


def as_units(vectors: NDArray[np.generic]) -> Floats:
    """Answered floats (n, d) at length one. What has that length already is not touched, so that its code is the one its own server would give."""
    floats = vectors.astype(np.float32, copy=False)
    norm = np.sqrt(np.einsum("ij,ij->i", floats, floats))[:, None]
    return np.where(np.abs(norm - 1) <= _ROUNDING, floats, unit(floats))


def coded(vectors: NDArray[np.generic], kind: EmbeddingType) -> NDArray[np.generic]:
    """Answered floats (n, d) as another type: what asking for that type would have given. Floats stay as they are."""
    return vectors if kind == "float" else quantise(as_units(vectors), kind)


def in_base64(vectors: NDArray[np.generic]) -> list[str]:
    """Each vector's bytes: little-endian float32, or one byte per entry of a compressed type."""
    little = vectors.astype("<f4", copy=False) if vectors.dtype.kind == "f" else vectors
    return [base64.b64encode(vector.tobytes()).decode("ascii") for vector in little]


def cosines(vectors: NDArray[np.generic]) -> list[float]:
    """Of the first of (n + 1, d) answered floats with each of the others. A zero vector has 0 with everything."""
    units = as_units(vectors)
    found: list[float] = np.clip(units[1:] @ units[0], -1, 1).tolist()
    return found
