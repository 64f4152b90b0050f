"""A GPU's UUID in, what its driver says of it out, for /v1/metadata. Empty where NVML cannot be asked; never an error."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Facts = dict[str, str | int]


def gpu_facts(uuid: str) -> Facts:
    """Name, UUID, driver's version and memory in bytes of the GPU `uuid` ("GPU-…")."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        return _facts(nvml, nvml.nvmlDeviceGetHandleByUUID(uuid.encode("ascii")))
    except Exception as cause:  # noqa: BLE001  no library, no driver, a driver in a container that hides it: facts are missing, nothing else
        log.info("the driver says nothing of GPU %s: %s", uuid, type(cause).__name__, extra={"action": "no_nvml"})
        return {}


def gpu_count(devices: Path = Path("/dev")) -> int:
    """GPUs that the driver sees, by their device files where nvidia-ml-py is not installed. Cheaper than PyTorch, which takes seconds to import."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        return int(nvml.nvmlDeviceGetCount())
    except ImportError:
        return len(list(devices.glob("nvidia[0-9]*")))
    except Exception:  # noqa: BLE001  no driver
        return 0


def _facts(nvml: Any, handle: Any) -> Facts:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {
        "name": _text(nvml.nvmlDeviceGetName(handle)),
        "uuid": _text(nvml.nvmlDeviceGetUUID(handle)),
        "driver": _text(nvml.nvmlSystemGetDriverVersion()),
        "memory_bytes": int(memory.total),
        "memory_free_bytes": int(memory.free),
    }


def _text(value: str | bytes) -> str:
    # Older bindings hand out bytes.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
