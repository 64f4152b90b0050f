"""Networks and how they are to run in, the bytes that takes out; and a refusal with numbers when there are fewer. Loads nothing and knows no engine's code.

What an engine holds for each number of a checkpoint is one table, `HELD`. It is an estimate to refuse by, not an account: the working memory of long
inputs is bounded by shapes, and what a kernel library allocates beyond them is in `BESIDE`.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import psutil

from emberank.contract.errors import StartError
from emberank.runtime.engines.cores import has_amx_bf16
from emberank.serving.machine import cgroup_memory

log = logging.getLogger(__name__)

Policy = Literal["refuse", "warn"]


class DoesNotFit(StartError):
    """The model needs more memory than there is. The message has both numbers, and what would fit."""

    reason: ClassVar[str] = "out_of_memory"


class Shaped(Protocol):
    """The part of a network that memory depends on."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every tensor it reads, with its shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Bytes an engine holds for each number of a checkpoint once it is built, and while it is being built for each number of the largest matrix."""

    matrix: float
    table: float  # token and position tables, whose rows are looked up; OpenVINO's stay in the mapped file
    passing: float  # matrices of one input are joined, two of the largest as a rule


_EMULATED = "bf16, emulated"  # on a CPU that does not multiply it
HELD: Mapping[tuple[str, str], Held] = {
    # Tables are looked up in the mapped file, whose pages the kernel may take back.
    ("openvino", "fp32"): Held(matrix=4, table=0, passing=8),
    ("openvino", "bf16"): Held(matrix=2, table=0, passing=4),
    ("openvino", "int8"): Held(matrix=1.0625, table=0, passing=18),  # a float32 scale for 64 integers; made by way of two float32 copies
    ("openvino", _EMULATED): Held(matrix=6, table=0, passing=4),  # OpenVINO then keeps float32 copies beside
    ("torch", "fp32"): Held(matrix=4, table=4, passing=4),
    ("torch", "bf16"): Held(matrix=2, table=2, passing=4),
    ("torch", "fp16"): Held(matrix=2, table=2, passing=4),
    ("torch", "fp8"): Held(matrix=1, table=2, passing=8),
    ("reference", "fp32"): Held(matrix=4, table=4, passing=8),  # float64 while it multiplies
}
_NOT_KNOWN = Held(matrix=0, table=0, passing=0)  # an engine that is not in the table is not judged

# The libraries themselves, loaded and set to work: resident bytes beyond Python's and NumPy's own.
BESIDE: Mapping[str, int] = {"openvino": 300_000_000, "torch": 400_000_000}

CPU_BATCH_TOKENS = 1024  # of the CPU engines, where no setting says another (EngineFacts.batch_tokens)

# Working memory: so many float32 rows of the widest layer for each token of the largest batch (a layer's input, its two gated products, its output).
_ROWS = 4

_TABLE = re.compile(r"(?:.*\.)?(?!patch)(?:\w*embeddings?|embed_tokens)\.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes a process comes to need on top of what it holds already, by what for."""

    engine: str
    precision: str
    weights: int
    passing: int  # while the engine is built
    activations: int  # while it runs
    beside: int

    @property
    def total(self) -> int:
        """The most that is needed at one time: building ends before running begins."""
        return self.weights + max(self.passing, self.activations) + self.beside

    def __str__(self) -> str:
        work = max(self.passing, self.activations)
        return f"{_gb(self.total)} ({_gb(self.weights)} for {self.precision} weights, {_gb(work)} to work in, {_gb(self.beside)} for the {self.engine} engine)"


def needs(networks: Iterable[Shaped], *, engine: str, precision: str, max_batch_tokens: int, longest: int = 0) -> Need:
    """What `engine` takes for these networks (a language model and the vision model in front of it).

    `precision` is one of the engine's, or `auto`. A batch is of at most `max_batch_tokens` tokens, or of one sequence, which has at most `longest`.
    """
    precision = resolved(engine, precision)
    emulated = (engine, precision) == ("openvino", "bf16") and not has_amx_bf16()
    held = HELD.get((engine, _EMULATED if emulated else precision), _NOT_KNOWN)
    weights, passing, widest = 0.0, 0.0, 0
    for network in networks:
        for name, shape in network.shapes().items():
            numbers = math.prod(shape)
            table = _TABLE.fullmatch(name) is not None
            weights += numbers * (held.table if table else held.matrix)
            passing = max(passing, numbers * (held.table if table else held.passing))  # a table may be converted as a whole
            widest = widest if table else max(widest, *shape, 0)
    return Need(
        engine=engine,
        precision=precision,
        weights=int(weights),
        passing=int(passing),
        activations=_ROWS * 4 * widest * max(max_batch_tokens, longest),
        beside=BESIDE.get(engine, 0),
    )


def resolved(engine: str, precision: str) -> str:
    """What `auto` means to that engine on this machine's CPU."""
    if precision != "auto":
        return precision
    return "bf16" if engine in ("openvino", "torch") and has_amx_bf16() else "fp32"


def instead(networks: Sequence[Shaped], need: Need, *, max_batch_tokens: int, longest: int = 0) -> list[Need]:
    """The same on the same engine with fewer bytes for a number, the most exact first."""
    others = (precision for engine, precision in HELD if engine == need.engine and precision not in (need.precision, _EMULATED))
    made = (needs(networks, engine=need.engine, precision=precision, max_batch_tokens=max_batch_tokens, longest=longest) for precision in others)
    return sorted((one for one in made if one.total < need.total), key=lambda one: -one.weights)


def check_fits(need: Need, available: int, others: Iterable[Need] = (), *, model: str, where: str = "this machine", policy: Policy = "refuse") -> None:
    """Raise DoesNotFit, or only say so in the log, when `available` bytes are fewer than needed. `others` are what it might run as instead."""
    if need.total <= available:
        return
    smaller = [f"precision {one.precision} ({_gb(one.total)})" for one in others if one.total <= available]
    way_out = f"set {' or '.join(smaller)}" if smaller else "it needs a larger machine, or a smaller model"
    said = f"{model} needs {need}, and {_gb(available)} of {where}'s memory are free: {way_out}; EMBERANK_MEMORY_CHECK=warn tries all the same"
    if policy == "refuse":
        raise DoesNotFit(said)
    log.warning(said, extra={"action": "memory_short", "model": model, "needed_bytes": need.total, "free_bytes": available})


def checker(
    *,
    engine: str,
    precision: str,
    max_batch_tokens: int,
    policy: Policy = "refuse",
    free: Callable[[], int] | None = None,
    where: str = "this machine",
) -> Callable[[str, Sequence[Shaped], int], None]:
    """A check for one process: (model's name, its networks, its longest input in tokens) → nothing, or DoesNotFit.

    `free` counts the bytes that are free each time a model is about to be built, those before it being there already; None: of this machine.
    """

    def check(model: str, networks: Sequence[Shaped], longest: int) -> None:
        need = needs(networks, engine=engine, precision=precision, max_batch_tokens=max_batch_tokens, longest=longest)
        others = instead(networks, need, max_batch_tokens=max_batch_tokens, longest=longest)
        check_fits(need, (free or available_memory)(), others, model=model, where=where, policy=policy)

    return check


def available_memory(root: Path = Path("/"), system: int | None = None) -> int:
    """Bytes this process may still take: what the system has free (`system`; asked for when None) or, in a container, what is left of its limits."""
    free = psutil.virtual_memory().available if system is None else system
    return max(0, min((free, *(group.free_bytes for group in cgroup_memory(root)))))


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.1f} MB"
