"""The settings in, what the torch engine computes with out: device, number type, FP8 or not. Refuses what the device cannot do; loads nothing."""

from __future__ import annotations

from dataclasses import dataclass

from emberank.contract.errors import SettingError
from emberank.runtime.engines.base import EngineOptions
from emberank.runtime.engines.cores import cores, has_amx_bf16
from emberank.runtime.engines.torch_import import Device, Dtype, torch

DTYPES: dict[str, Dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}

AMPERE, FP8 = (8, 0), (8, 9)  # compute capabilities: bf16 and flash attention; FP8 matrices (Ada, Hopper and later)

CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1024, 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was decided. `dtype` is of activations and weights; with `fp8` the large matrices are multiplied in e4m3."""

    device: Device
    precision: str
    dtype: Dtype
    threads: int
    capability: tuple[int, int] = (0, 0)  # (0, 0) on a CPU

    @property
    def cuda(self) -> bool:
        """Whether it is a GPU."""
        return self.device.type == "cuda"

    @property
    def fp8(self) -> bool:
        """Whether the large matrices are FP8."""
        return self.precision == "fp8"

    @property
    def batch_tokens(self) -> int:
        """Tokens in one run that keep the device busy: on a GPU enough that launching is nothing beside computing."""
        return GPU_BATCH_TOKENS if self.cuda else CPU_BATCH_TOKENS


def set_up(options: EngineOptions) -> Setup:
    """Device and precision as asked for; raises SettingError with what would be right."""
    device = choose_device(options.device, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    precision = choose_precision(options.precision, device.type, capability)
    return Setup(device=device, precision=precision, dtype=DTYPES[precision], threads=options.threads or cores(), capability=capability)


def choose_device(asked: str, gpus: int) -> Device:
    """`auto` is the first GPU where there is one; `cuda` is the first, `cuda:N` the one of that number as CUDA_VISIBLE_DEVICES leaves them."""
    if asked == "cpu" or (asked == "auto" and not gpus):
        return torch.device("cpu")
    kind, colon, number = asked.partition(":")
    if asked != "auto" and (kind != "cuda" or (colon and not number.isdecimal())):
        raise SettingError(f"device {asked!r} is not known; known: auto, cpu, cuda, cuda:0, cuda:1, …")
    if not gpus:
        build = f"PyTorch {torch.__version__}" + ("" if torch.version.cuda else ", a build without CUDA,")
        raise SettingError(f"device {asked!r} was asked for, and {build} sees no GPU here; device=cpu computes on the CPU")
    place = int(number or 0)
    if place >= gpus:
        raise SettingError(f"device {asked!r} was asked for, and there are {gpus} GPUs here, counted from 0")
    return torch.device("cuda", place)


def choose_precision(asked: str, device: str, capability: tuple[int, int]) -> str:
    """`auto` is bf16 where the device multiplies it in hardware, else fp16 on a GPU and fp32 on a CPU."""
    if asked == "auto":
        if device == "cpu":
            return "bf16" if has_amx_bf16() else "fp32"
        return "bf16" if capability >= AMPERE else "fp16"
    if asked not in DTYPES:
        raise SettingError(f"precision {asked!r} is not known to the torch engine; known: auto, {', '.join(DTYPES)}")
    if asked == "fp8" and capability < FP8:
        here = "a CPU" if device == "cpu" else f"a GPU of compute capability {capability[0]}.{capability[1]}"
        raise SettingError(f"precision 'fp8' needs a GPU of compute capability 8.9 or newer (Ada, Hopper, Blackwell), and this is {here}; use bf16")
    if asked == "bf16" and device == "cuda" and capability < AMPERE:
        raise SettingError(f"precision 'bf16' needs a GPU of compute capability 8.0 or newer, and this one has {capability[0]}.{capability[1]}; use fp16")
    return asked
