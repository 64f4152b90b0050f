"""PyTorch in, `torch` and its functions out, for the modules of the torch engine; a clear error where it is not installed. Knows no network."""

from __future__ import annotations

from typing import Any

from emberank.contract.errors import SettingError

try:
    import torch
    import torch.nn.functional as functional
except ImportError as cause:
    raise SettingError("the torch engine needs PyTorch, which is not installed: pip install 'emberank[torch]'") from cause

Tensor = torch.Tensor
Dtype = torch.dtype
Device = torch.device
OutOfMemory: type[Exception] = torch.OutOfMemoryError


def flash_attention() -> Any:
    """`varlen_attn` of this PyTorch; raises ImportError in one that is too old to have it."""
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


__all__ = ["Device", "Dtype", "OutOfMemory", "Tensor", "flash_attention", "functional", "torch"]
