"""Where a model can run: (gpu_type, region) targets, the pools of this installation that provide them, and which of a version's targets are runnable here.

Knows nothing of what is running, or of how much memory is free now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from emberank.contract.errors import NotFound
from emberank.forge.catalog import Model, Published, Version
from emberank.forge.needs import cpu_widens, needs_gb
from emberank.forge.remote_names import is_remote

GB = 1_000_000_000  # as memory is given everywhere: 10^9 bytes
CPU = "CPU"
LOCAL = "local"
_LONGEST_NAME = 200


class Target(NamedTuple):
    """A kind of machine in a place. A CPU machine's gpu_type is `CPU`, this machine's region `local`."""

    gpu_type: str
    region: str

    def __str__(self) -> str:
        return f"{self.gpu_type} in {self.region}" if self.region else self.gpu_type


# Where somebody else's server runs, when no pool says where that is.
ELSEWHERE = Target("REMOTE", "elsewhere")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """A kind of GPU: our name for it, its memory as it is sold, and what its driver calls it."""

    name: str
    memory_gb: float
    nvml: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an hour of a target costs, who says so, and when."""

    usd_per_hour: float
    source: str
    date: str  # ISO


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Machines of one target that this installation may use: how much fits, and how a process is started there."""

    target: Target
    memory_bytes: int  # all of it, its devices together; 0 on a remote pool: not known
    slots: int  # endpoints at one time; on a GPU pool the number of GPUs
    launcher: Literal["process", "remote", "fake"] = "process"
    price: Price | None = None
    devices: tuple[str, ...] = ()  # what CUDA_VISIBLE_DEVICES may name; empty on a CPU
    settings: Mapping[str, str] = field(default_factory=dict)  # runtime settings of everything started here
    closed: str = ""  # why nothing can be started here, in words; empty: it can

    @property
    def most_bytes(self) -> int:
        """The most that one endpoint can have: it lies on one device."""
        return self.memory_bytes // max(1, len(self.devices))


def elsewhere() -> Pool:
    """The pool that remote versions have without anybody declaring it: nothing is started there, so it has room for all."""
    return Pool(target=ELSEWHERE, memory_bytes=0, slots=1000, launcher="remote")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One target of a version: the pool that could run it, what others published about it, its price, and why it is not runnable, if it is not."""

    target: Target
    pool: Pool | None = None
    price: Price | None = None
    published: Published | None = None
    reason: str = ""

    @property
    def runnable(self) -> bool:
        """Whether a pool here can run the version."""
        return self.pool is not None and not self.reason


Prices = Mapping[Target, Price]


def price_of(prices: Prices, target: Target) -> Price | None:
    """The price of that target, or of its GPU type in any region."""
    return prices.get(target) or prices.get(Target(target.gpu_type, ""))


def targets_of(model: Model, version: Version, pools: Sequence[Pool], prices: Prices) -> tuple[Offer, ...]:
    """Every target that a pool here or a published figure names: pools first, in order, then what is known from others only."""
    published = {Target(row.gpu_type, row.region): row for row in version.published}
    by_target = {pool.target: pool for pool in _without_elsewhere(model, version, pools)}
    found = []
    for target in dict.fromkeys((*by_target, *published)):
        pool = by_target.get(target)
        price = (pool.price if pool is not None else None) or price_of(prices, target)
        found.append(Offer(target=target, pool=pool, price=price, published=published.get(target), reason=why_not(model, version, pool, target)))
    return tuple(found)


def _without_elsewhere(model: Model, version: Version, pools: Sequence[Pool]) -> Sequence[Pool]:
    """The pool of servers that stand nobody knows where is for versions that name one, and for which no declared pool is meant."""
    if ELSEWHERE not in (pool.target for pool in pools):
        return pools
    others = [pool for pool in pools if pool.target != ELSEWHERE]
    named = is_remote(version.source) and not any(pool.launcher == "remote" and not why_not(model, version, pool, pool.target) for pool in others)
    return pools if named else others


def why_not(model: Model, version: Version, pool: Pool | None, target: Target) -> str:
    """Why a pool cannot run a version, in words with numbers; empty when it can."""
    if pool is None:
        return f"no pool here provides {target}"
    if pool.closed:
        return pool.closed
    if version.gpu_types and target.gpu_type not in version.gpu_types:
        return f"{model.slug} {version.name} runs on {', '.join(version.gpu_types)} only"
    if is_remote(version.source):
        return (
            ""
            if pool.launcher == "remote"
            else f'{model.slug} {version.name} is a server that runs elsewhere, and {target} is not declared as launcher = "remote"'
        )
    if pool.launcher == "remote":
        return f"{target} is declared as remote, and {model.slug} {version.name} names no server: its source is not nim:URL, nvidia_nim/… or cohere:URL"
    need_gb = needs_in(model, version, pool)
    if need_gb is not None and need_gb * GB > pool.most_bytes:
        return f"{model.slug} {version.name} needs {need_gb:.1f} GB, and {target} has {pool.most_bytes / GB:.1f} GB{' each' if len(pool.devices) > 1 else ''}"
    return ""


def needs_in(model: Model, version: Version, pool: Pool) -> float | None:
    """Memory (10^9 bytes) that a version needs in a pool, as far as its entry lets one reckon; None where it does not."""
    on_device = bool(pool.devices)
    return needs_gb(model, version, pool.settings, on_device=on_device, widens=not on_device and cpu_widens())


def matching(offers: Sequence[Offer], gpu_type: str | None, region: str | None) -> tuple[Offer, ...]:
    """The offers of that GPU type and region, both in any case; None asks for any. Known values that do not go together give none.

    Raises NotFound for a value that none of the offers has; the message lists those that are known.
    """
    wanted_type = _known("gpu_type", gpu_type, [offer.target.gpu_type for offer in offers])
    wanted_region = _known("region", region, [offer.target.region for offer in offers])
    return tuple(offer for offer in offers if wanted_type in (None, offer.target.gpu_type) and wanted_region in (None, offer.target.region))


def gpu_type_named(types: Iterable[GpuType], reported: str) -> str:
    """Our name for a GPU that its driver calls `reported`; for one that is in no table, the driver's name without vendor and blanks."""
    for kind in types:
        if reported.strip().lower() in (kind.name.lower(), *(name.lower() for name in kind.nvml)):
            return kind.name
    words = [word for word in reported.split() if word.lower() not in ("nvidia", "tesla", "quadro", "geforce")]
    return "-".join(words) or "GPU"


def _known(field_name: str, wanted: str | None, values: Sequence[str]) -> str | None:
    if wanted is None:
        return None
    known = [value for value in dict.fromkeys(values) if value]
    for value in known:
        if value.lower() == wanted.strip().lower():
            return value
    raise NotFound(f"{field_name} {wanted[:_LONGEST_NAME]!r} is not known here; known: {', '.join(known) or 'none'}")
