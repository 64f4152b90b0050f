"""This machine in, its pools out: the CPU with the memory it may use, and each kind of GPU. Knows nothing of models, and starts nothing.

GPUs are seen through NVML, when `nvidia-ml-py` and a driver are there. Memory is 10^9 bytes a GB, as everywhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from emberank.forge.targets import CPU, LOCAL, GpuType, Pool, Price, Target, gpu_type_named
from emberank.serving.machine import Memory

log = logging.getLogger(__name__)

USABLE = 0.9  # of a CPU machine's memory: the rest is the system's and ours
NO_GPU_ENGINE = "the GPU is listed, and not used: runtimes started here have no engine for it (pip install 'emberank[torch]')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as its driver sees it now."""

    uuid: str
    name: str
    total_bytes: int
    free_bytes: int


class Gpus(Protocol):
    """Looks at the GPUs of this machine."""

    def look(self) -> tuple[Gpu, ...]:
        """Every GPU that can be looked at, with its memory now. Does not raise."""
        ...


class Nvml:
    """GPUs through NVIDIA's management library, which `pynvml` binds. Raises whatever that raises when there is no driver."""

    def __init__(self, pynvml: Any) -> None:
        self._nvml = pynvml
        pynvml.nvmlInit()

    def look(self) -> tuple[Gpu, ...]:
        """Every GPU that answers: one that has fallen off its bus, or shares the system's memory, is left out."""
        found = []
        with suppress(self._nvml.NVMLError):
            for place in range(self._nvml.nvmlDeviceGetCount()):
                with suppress(self._nvml.NVMLError):
                    found.append(self._gpu(self._nvml.nvmlDeviceGetHandleByIndex(place)))
        return tuple(found)

    def _gpu(self, handle: Any) -> Gpu:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        name, uuid = self._nvml.nvmlDeviceGetName(handle), self._nvml.nvmlDeviceGetUUID(handle)
        return Gpu(uuid=_text(uuid), name=_text(name), total_bytes=int(memory.total), free_bytes=int(memory.free))


class NoGpus:
    """A machine without GPUs."""

    def look(self) -> tuple[Gpu, ...]:
        """None."""
        return ()


def local_gpus() -> Gpus:
    """NVML when it is installed and finds a driver, no GPUs otherwise."""
    try:
        return Nvml(importlib.import_module("pynvml"))
    except ImportError:
        log.info("nvidia-ml-py is not installed: GPUs are not looked for", extra={"action": "gpus_not_looked_for"})
    except Exception as cause:  # noqa: BLE001 - a broken driver breaks in ways of its own, and must not keep a CPU machine from serving
        log.info("no GPU was found: %s", type(cause).__name__, extra={"action": "no_gpus"})
    return NoGpus()


def gpu_engine() -> bool:
    """Whether the runtimes that this process starts could compute on a GPU: PyTorch is installed beside it, in a build with CUDA.

    Read off PyTorch's own version file: importing it would take seconds and a gigabyte that the forge has no use for.
    """
    found = importlib.util.find_spec("torch")
    folders = found.submodule_search_locations if found else None
    for folder in folders or ():
        with suppress(OSError):
            text = (Path(folder) / "version.py").read_text("utf-8", "replace")
            return re.search(r"^cuda(: [^=]+)? = ['\"]", text, re.MULTILINE) is not None
    return False


def discover(
    types: Sequence[GpuType], memory: Memory, gpus: Gpus, *, cores: int, usd_per_hour: float | None = None, day: str = "", gpu_engine: bool = False
) -> tuple[Pool, ...]:
    """The pools of this machine, all in region `local`: the CPU first, then a pool for each type of GPU.

    `usd_per_hour` is what an hour of this machine costs, said on `day`; None: not known. Without a `gpu_engine` GPU pools are there and closed.
    """
    price = None if usd_per_hour is None else Price(usd_per_hour=usd_per_hour, source="local_usd_per_hour", date=day)
    return (cpu_pool(memory, cores, price), *gpu_pools(types, gpus.look(), price, "" if gpu_engine else NO_GPU_ENGINE))


def cpu_pool(memory: Memory, cores: int, price: Price | None = None) -> Pool:
    """This machine's CPU. Endpoints share its cores, so memory is what really bounds them; an idle one costs only that."""
    return Pool(target=Target(CPU, LOCAL), memory_bytes=int(memory.total_bytes * USABLE), slots=max(4, 2 * cores), price=price)


def gpu_pools(types: Sequence[GpuType], gpus: Iterable[Gpu], price: Price | None = None, closed: str = "") -> tuple[Pool, ...]:
    """One pool for each type of GPU, its devices by UUID: numbers change when a GPU is hidden, UUIDs do not."""
    by_type: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        by_type.setdefault(gpu_type_named(types, gpu.name), []).append(gpu)
    return tuple(
        Pool(
            target=Target(name, LOCAL),
            memory_bytes=min(gpu.total_bytes for gpu in found) * len(found),
            slots=len(found),
            price=price,
            devices=tuple(gpu.uuid for gpu in found),
            closed=closed,
        )
        for name, found in by_type.items()
    )


def free_bytes(pool: Pool, memory: Memory, gpus: Sequence[Gpu]) -> Mapping[str, int]:
    """What is free now for one more endpoint of a pool: by device on a GPU pool, under "" on a CPU. A device that is not to be seen has nothing free."""
    if not pool.devices:
        return {"": min(memory.free_bytes, pool.memory_bytes)}
    free = {gpu.uuid: gpu.free_bytes for gpu in gpus}
    return {device: min(free.get(device, 0), pool.most_bytes) for device in pool.devices}


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(value: str | bytes) -> str:
    # Older bindings hand out bytes.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
