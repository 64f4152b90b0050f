"""Packed queries, keys and values in, attention within each sequence out: by flash attention on packed tokens, or in groups of like lengths.

Which of the two is decided once at start, by what the device can do and by a small trial in which both must agree.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from emberank.runtime.engines.base import Batch
from emberank.runtime.engines.torch_import import Tensor, flash_attention, functional, torch
from emberank.runtime.engines.torch_inputs import Inputs, upload
from emberank.runtime.engines.torch_layout import Ints, grouped_rows, lay_out
from emberank.runtime.engines.torch_setup import AMPERE, Setup
from emberank.runtime.engines.torch_trace import AttentionShape

_AGREES = 0.02  # relative difference of the two ways in bf16 or fp16 on random numbers; a wrong mask makes it 0.3 and more


class Attention(Protocol):
    """One way to attend. q is (tokens, heads · head_dim), k and v (tokens, kv_heads · head_dim)."""

    packed: bool  # whether it works on the packed tokens as they are, without a host's knowledge of lengths

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape, inputs: Inputs) -> Tensor:
        """(tokens, heads · head_dim)."""

    def rows(self, lengths: Ints) -> int:
        """Rows that a batch of these lengths costs, padding included."""


class PackedAttention:
    """torch.nn.attention.varlen: no padding, grouped key heads, windows. bf16 and fp16 on GPUs from compute capability 8.0 on."""

    packed = True

    def __init__(self, varlen: Callable[..., Any] | None = None) -> None:
        self._varlen = varlen or flash_attention()
        # PyTorch before 2.12 has no such argument, and its kernel takes grouped key heads all the same: the trial at start sees whether it does.
        self._asks_for_groups = "enable_gqa" in inspect.signature(self._varlen).parameters

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape, inputs: Inputs) -> Tensor:
        """One kernel for the whole batch."""
        tokens, reach = q.shape[0], -1 if shape.window is None else shape.window
        groups = {"enable_gqa": shape.heads != shape.kv_heads} if self._asks_for_groups else {}
        out = self._varlen(
            q.view(tokens, shape.heads, shape.head_dim),
            k.view(tokens, shape.kv_heads, shape.head_dim),
            v.view(tokens, shape.kv_heads, -1),
            inputs.starts,
            inputs.starts,
            inputs.longest,
            inputs.longest,
            window_size=(reach, 0 if shape.causal else reach),  # keys that a token sees before it and after it; −1: all
            **groups,
        )
        attended: Tensor = out.reshape(tokens, -1)
        return attended

    def rows(self, lengths: Ints) -> int:
        """No padding."""
        return int(lengths.sum())


class GroupedAttention:
    """scaled_dot_product_attention on sequences of like lengths as rows, padded within a group only: on any device, in any number type."""

    packed = False

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape, inputs: Inputs) -> Tensor:
        """One call per group."""
        out = torch.empty(q.shape[0], v.shape[1] // shape.kv_heads * shape.heads, dtype=q.dtype, device=q.device)
        for group in inputs.groups():

            def by_head(t: Tensor, heads: int) -> Tensor:  # (tokens, heads · d) → (sequences, heads, length, d)
                rows = t[group.rows]  # noqa: B023  called within this turn of the loop
                return rows.view(group.sequences, group.length, heads, -1).transpose(1, 2)  # noqa: B023

            mask = group.mask(shape.causal, shape.window)
            qs, ks, vs = by_head(q, shape.heads), by_head(k, shape.kv_heads), by_head(v, shape.kv_heads)
            attended = _attend(qs, ks, vs, shape, mask).transpose(1, 2).reshape(len(group.rows), -1)
            # Padding is left where it is: only real tokens are written back.
            out[group.kept] = attended if group.full else attended[group.real]
        return out

    def rows(self, lengths: Ints) -> int:
        """Every sequence as long as the longest of its group."""
        return grouped_rows(lengths)


def _attend(q: Tensor, k: Tensor, v: Tensor, shape: AttentionShape, mask: Tensor | None) -> Tensor:
    if q.is_cuda and shape.heads != shape.kv_heads:
        # PyTorch's memory-efficient kernel knows no grouped key heads, and without it every score would be kept: 8 GB at 8,192 tokens.
        k, v = (t.repeat_interleave(shape.heads // shape.kv_heads, dim=1) for t in (k, v))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1 / math.sqrt(shape.head_dim), enable_gqa=q.shape[1] != k.shape[1])


@dataclass(frozen=True, slots=True)
class Chosen:
    """The way to attend, and in a few words why."""

    attention: Attention
    why: str


def choose(setup: Setup, shapes: Iterable[AttentionShape], varlen: Callable[..., Any] | None = None) -> Chosen:
    """Packed attention where the device has it and it agrees with the grouped one on every shape; else the grouped one."""
    grouped = GroupedAttention()
    refusal = _cannot(setup) if varlen is None else ""
    if not refusal:
        try:
            packed = PackedAttention(varlen)
            refusal = next((found for shape in shapes if (found := _trial(setup, shape, packed, grouped))), "")
        except Exception as cause:  # noqa: BLE001  whatever it is, the other way is right as well
            refusal = f"{type(cause).__name__}: {str(cause).partition(chr(10))[0][:160]}"
        if not refusal:
            return Chosen(packed, "packed flash attention")
    return Chosen(grouped, f"grouped attention ({refusal})")


def _cannot(setup: Setup) -> str:
    if not setup.cuda:
        return "flash attention is for GPUs"
    if setup.capability < AMPERE:
        return "flash attention needs compute capability 8.0"
    return "" if setup.dtype in (torch.bfloat16, torch.float16) else "flash attention needs bf16 or fp16"


def _trial(setup: Setup, shape: AttentionShape, packed: Attention, grouped: Attention) -> str:
    """Empty when both ways agree on three short sequences of random numbers, one of them longer than the window."""
    lengths = np.array([5, 1, 41 if shape.window is None else 2 * shape.window + 9], np.int32)
    ids = np.zeros(int(lengths.sum()), np.int32)
    inputs = upload(lay_out(Batch(ids=ids, types=ids, lengths=lengths)), None, setup.device, setup.dtype)
    generator = torch.Generator().manual_seed(2)
    widths = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim, shape.kv_heads * shape.head_dim)
    q, k, v = (torch.randn(len(ids), width, generator=generator).to(setup.device, setup.dtype) for width in widths)
    found, true = (way(q, k, v, shape, inputs).float() for way in (packed, grouped))
    off = float((found - true).norm() / true.norm())
    return "" if off <= _AGREES else f"the packed way differs by {off:.1%} with {shape}"
