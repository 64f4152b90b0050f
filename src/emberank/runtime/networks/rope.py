"""The rotary part of a config.json in, one angle per position and pair of numbers out. Pure arithmetic in float64.

Formulas: Su et al. 2021, and for Llama 3's scaling transformers' `modeling_rope_utils.py` (`_compute_llama3_parameters`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emberank.contract.errors import UnknownArchitecture, WeightsCorrupt
from emberank.runtime.networks.network import number, real

Frequencies = tuple[float, ...]  # (head_dim / 2,) radians per position; a tuple, so that a network can be compared and kept as a key

_THETA = 10000.0  # transformers' default


def plain(head_dim: int, theta: float) -> NDArray[np.float64]:
    """θ^(−2i/d) for i = 0 … d/2 − 1."""
    return 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)


def llama3(frequencies: NDArray[np.float64], *, factor: float, low: float, high: float, original: float) -> NDArray[np.float64]:
    """Llama 3's scaling: short wavelengths are kept, long ones divided by `factor`, those between a mixture of both.

    With λ = 2π / f in positions: kept where λ < original/high, divided where λ > original/low, and between them
    (1 − s) · f/factor + s · f with s = (original/λ − low) / (high − low).
    """
    wavelengths = 2.0 * math.pi / frequencies
    share = (original / wavelengths - low) / (high - low)
    mixed = (1.0 - share) * frequencies / factor + share * frequencies
    return np.where(wavelengths < original / high, frequencies, np.where(wavelengths > original / low, frequencies / factor, mixed))


def from_config(config: Mapping[str, Any], head_dim: int) -> Frequencies:
    """The frequencies of one config.json, in either dialect: `rope_theta` beside `rope_scaling`, or both in `rope_parameters`.

    Raises UnknownArchitecture for a kind of scaling that is not computed here, WeightsCorrupt for numbers that cannot be.
    """
    found = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(found, Mapping):
        raise WeightsCorrupt(f"config.json: rope_scaling or rope_parameters must be an object, not {found!r}")
    found = {"partial_rotary_factor": config.get("partial_rotary_factor"), **found}  # newer files have it inside
    return of_kind(found, head_dim, theta=real(config, "rope_theta", _THETA), longest=config.get("max_position_embeddings"))


def of_kind(rope: Mapping[str, Any], head_dim: int, *, theta: float, longest: object = None) -> Frequencies:
    """The frequencies of one RoPE object; `theta` and `longest` (the most positions) are for keys that it leaves out."""
    if head_dim < 2 or head_dim % 2:
        raise WeightsCorrupt(f"config.json: rotary positions need an even size of the heads, not {head_dim}")
    kind = rope.get("rope_type", rope.get("type", "default"))
    nested = [key for key, value in rope.items() if isinstance(value, Mapping)]
    if kind not in ("default", "llama3") or nested:
        said = f"with {nested[0]!r}" if nested else f"of type {kind!r}"
        raise UnknownArchitecture(f"config.json: rotary positions {said} are not supported; known: 'default', 'llama3'")
    if rope.get("partial_rotary_factor", 1.0) not in (None, 1, 1.0):
        raise UnknownArchitecture("config.json: partial_rotary_factor other than 1 is not supported: every number of a head is rotated here")
    frequencies = plain(head_dim, real(rope, "rope_theta", theta))
    if kind == "llama3":
        low, high = real(rope, "low_freq_factor"), real(rope, "high_freq_factor")
        if low >= high:
            raise WeightsCorrupt(f"config.json: low_freq_factor {low} must be below high_freq_factor {high}")
        original = number({"max_position_embeddings": longest} | dict(rope), _original(rope))
        frequencies = llama3(frequencies, factor=real(rope, "factor"), low=low, high=high, original=original)
    return tuple(frequencies.tolist())


def _original(rope: Mapping[str, Any]) -> str:
    """The key that says how long sequences were before they were stretched."""
    return "original_max_position_embeddings" if "original_max_position_embeddings" in rope else "max_position_embeddings"
