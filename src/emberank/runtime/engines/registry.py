"""Engine names to builders. A member is named by an import string, so a heavy one is imported only when it is used."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from emberank.contract.errors import SettingError
from emberank.runtime.engines.base import EngineBuilder
from emberank.runtime.engines.nvml import gpu_count

ENGINES: dict[str, str] = {
    "openvino": "emberank.runtime.engines.openvino:build",
    "torch": "emberank.runtime.engines.torch_engine:build",
    "reference": "emberank.runtime.engines.reference:build",
    "fake": "emberank.runtime.engines.fake:build",
}


AUTO = "auto"


def builder(name: str, device: str = AUTO) -> EngineBuilder:
    """The builder of the engine `name` for `device`; raises SettingError listing the known ones, or when the engine cannot use the device."""
    chosen = best(device) if name == AUTO else name
    if chosen not in ENGINES:
        raise SettingError(f"unknown engine {name!r}; known: {AUTO}, {', '.join(ENGINES)}")
    if chosen != "torch" and device not in (AUTO, "cpu"):
        raise SettingError(f"engine {chosen!r} computes on the CPU, and device {device!r} was asked for; engine=torch computes on GPUs")
    module, _, attribute = ENGINES[chosen].partition(":")
    return cast(EngineBuilder, getattr(import_module(module), attribute))


def best(device: str) -> str:
    """What `auto` stands for: `torch` for a GPU that was asked for, or that is there and can be used; else `openvino`."""
    if device != AUTO:
        return "openvino" if device == "cpu" else "torch"
    return "torch" if _usable_gpu() else "openvino"


def _usable_gpu() -> bool:
    """PyTorch takes seconds to import, so it is asked last: only where it is installed, the driver sees a GPU, and none of them is hidden from us."""
    if find_spec("torch") is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not gpu_count():
        return False
    from emberank.runtime.engines.torch_import import torch

    return bool(torch.cuda.is_available())
