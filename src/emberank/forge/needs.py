"""A version and the settings it would be started with in, the memory it needs out. Knows no pool and nothing that was measured: measurements go before it.

    memory = parameters · bytes each · 1.2 + 0.3 GB on a CPU, + 1 GB on a GPU (CUDA's own)

Bytes each: on a CPU fp32 4, bf16 2, int8 1.1 (a scale for each group); on a GPU fp32 4, bf16 and fp16 2, fp8 1.25. On a CPU that is more than is held, since a
token table, a fifth to a half of all parameters, stays in the file. `auto` as the file stores them, and fp32 on a CPU that has to widen bf16 because it does not compute in it. The fifth on top is
for what a run holds. The runtime knows the shapes, reckons better, and refuses with numbers (runtime/fit.py); this is for placing what has never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from emberank.forge.catalog import Model, Version

_ON_CPU: Mapping[str, float] = {"fp32": 4.0, "bf16": 2.0, "int8": 1.1}
_ON_DEVICE: Mapping[str, float] = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.25}
_RUN = 1.2
_PROCESS_GB = 0.3  # measured: 0.35 GB in all for the 22.7 M parameters of all-MiniLM-L6-v2
_DEVICE_GB = 1.0


def needs_gb(model: Model, version: Version, settings: Mapping[str, str] | None = None, *, on_device: bool = False, widens: bool = False) -> float | None:
    """Memory (10^9 bytes): as the entry says, else reckoned from its weights, else unknown.

    `settings` are the pool's, under the version's own. `widens`: the CPU computes in float32 what is stored in 16 bits.
    """
    if version.memory_gb is not None:
        return version.memory_gb
    if model.parameters is None:
        return None
    precision = {**(settings or {}), **version.settings}.get("precision", "auto")
    stored = "bf16" if model.dtype in ("BF16", "FP16") else "fp32"
    automatic = "bf16" if on_device else "fp32" if widens else stored
    each = _ON_DEVICE if on_device else _ON_CPU
    weights_gb = model.parameters * each.get(precision, each[automatic]) / 1e9
    return round(weights_gb * _RUN + (_DEVICE_GB if on_device else _PROCESS_GB), 2)


@cache
def cpu_widens(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether `auto` computes in float32 on this machine's CPU: it has no AMX, as far as the kernel says."""
    try:
        with cpuinfo.open("r", encoding="utf-8", errors="replace") as lines:
            return not any(line.startswith("flags") and " amx_bf16" in line for line in lines)
    except OSError:
        return True
