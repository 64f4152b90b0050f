"""One measured run as a value: what probes, starts and real traffic leave behind, and what every published figure is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from emberank.contract.fleet import FailureReason

# start: a cold start, ready or failed · probe: one request of a known payload, sent to measure · traffic: a user's request
Kind: TypeAlias = Literal["start", "probe", "traffic"]
# Where the weights came from at a start: fetched over the network first, read from disk, or already in the page cache.
WeightsFrom: TypeAlias = Literal["network", "disk", "page cache", "unknown"]
KINDS: tuple[Kind, ...] = ("start", "probe", "traffic")
WEIGHTS_FROM: tuple[WeightsFrom, ...] = ("network", "disk", "page cache", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run. A figure that was not measured is None. Times are milliseconds, memory is bytes, `at_s` Unix time.

    `ok` speaks of the target, not of the caller: a request that was refused for what was in it (4xx) leaves no sample.
    """

    at_s: float
    slug: str
    version: str
    gpu_type: str
    region: str
    kind: Kind
    ok: bool
    reason: FailureReason | None = None
    # Of a start, what it took. Of a request, for how long it was held for one: above 0 it was not warm, and no warm figure counts it.
    cold_start_ms: float | None = None
    weights_from: WeightsFrom | None = None
    peak_memory_bytes: int | None = None
    request_ms: float | None = None  # as the caller saw it
    model_ms: float | None = None  # as the model reported it
    tokens: int | None = None
    passages: int | None = None
    shape: str = ""  # the payload in words: "3 passages, 53 tokens"

    @property
    def target(self) -> tuple[str, str]:
        """(gpu_type, region)."""
        return self.gpu_type, self.region


def shape_of(texts: int | None, tokens: int | None, noun: str = "passages") -> str:
    """A payload in words; what is not known is left out."""
    known = ((count, plural) for count, plural in ((texts, noun), (tokens, "tokens")) if count is not None)
    return ", ".join(f"{count} {plural if count != 1 else plural.removesuffix('s')}" for count, plural in known)
