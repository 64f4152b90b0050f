"""Samples, offers and a catalogue entry for tests of the figures: one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emberank.forge.catalog import Model, Published, Version
from emberank.forge.samples import Sample, shape_of
from emberank.forge.targets import Offer, Pool, Price, Target
from emberank.forge.windows import Windows

SLUG, VERSION = "tiny-rerank", "v1"
CPU = Target("CPU", "local")
B200, L40S, H100 = Target("B200", "us-central1"), Target("L40S", "eu-north1"), Target("H100", "")


def run(kind: Any = "probe", target: tuple[str, str] = CPU, at_s: float = 1_000.0, ok: bool = True, **more: Any) -> Sample:
    more = {"reason": None if ok else "request_failed", **more}
    return Sample(at_s=at_s, slug=SLUG, version=VERSION, gpu_type=target[0], region=target[1], kind=kind, ok=ok, **more)


def probes(times: Sequence[float], target: tuple[str, str] = CPU, tokens: int = 53, passages: int = 3, **more: Any) -> list[Sample]:
    facts: dict[str, Any] = {"tokens": tokens, "passages": passages, "shape": shape_of(passages, tokens), **more}
    return [run("probe", target, at_s=1_000.0 + i, model_ms=ms, request_ms=ms + 2, **facts) for i, ms in enumerate(times)]


def traffic(times: Sequence[float], target: tuple[str, str] = CPU, tokens: Sequence[int] | None = None, **more: Any) -> list[Sample]:
    lengths = tokens or [100] * len(times)
    return [run("traffic", target, model_ms=ms, request_ms=ms + 2, tokens=count, passages=5, **more) for ms, count in zip(times, lengths, strict=True)]


def start(ms: float, weights_from: Any = "page cache", target: tuple[str, str] = CPU, **more: Any) -> Sample:
    return run("start", target, cold_start_ms=ms, weights_from=weights_from, **more)


def price(usd_per_hour: float) -> Price:
    return Price(usd_per_hour=usd_per_hour, source="a price list", date="2026-11-01")


def offer(target: Target = CPU, usd: float | None = None, reason: str = "", published: Published | None = None, here: bool = True) -> Offer:
    pool = Pool(target=target, memory_bytes=1 << 40, slots=1) if here else None
    return Offer(target=target, pool=pool, price=None if usd is None else price(usd), published=published, reason=reason)


def windows(*groups: Sequence[Sample]) -> Windows:
    return Windows(sample for group in groups for sample in group)


MODEL = Model(slug=SLUG, id="someone/tiny-rerank", title="Tiny", description="", task="rank", versions=(Version(name=VERSION, source="file:nowhere"),))
