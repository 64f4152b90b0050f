"""Reliability and estimate answers while a million samples are held: time of one answer, and what the samples take in memory.

    python bench/figures.py [--samples 1000000] [--rounds 20]

*cold*: nothing of the model was asked before, and no table of ranks was made. *after a sample*: asked before, and every series of the model has
one sample more. *warm*: asked before, nothing new. Medians, with the least and the most; goal: 20 ms.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

import report
from emberank.forge.catalog import Model, Version
from emberank.forge.estimates import Payload, line_of, run_estimate
from emberank.forge.reliability import reliability
from emberank.forge.samples import KINDS, Sample
from emberank.forge.standing import measured_at, standing
from emberank.forge.statistics import interval_ranks
from emberank.forge.targets import Offer, Pool, Price, Target
from emberank.forge.windows import Windows

GOAL_MS = 20.0
TARGETS = tuple(Target(f"GPU{i}", "local") for i in range(10))
VERSION = Version(name="v1", source="file:nowhere")
PRICE = Price(usd_per_hour=1.82, source="bench", date="2026-11-21")
OFFERS = tuple(Offer(target=target, pool=Pool(target=target, memory_bytes=1 << 37, slots=1), price=PRICE) for target in TARGETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many models, and how many samples each of their series has; a model has ten targets of three kinds."""

    models: int
    each: int

    @property
    def samples(self) -> int:
        """All of them."""
        return self.models * len(TARGETS) * len(KINDS) * self.each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(report.machine())
    series = len(TARGETS) * len(KINDS)
    for each in (1_000, options.samples // series // 1_000):
        measure(Load(models=max(options.rounds, round(options.samples / series / each)), each=each), options.rounds)
    compare_memory(options.samples)


def measure(load: Load, rounds: int) -> None:
    """Fill the windows, then ask as many models as there are rounds."""
    gc.collect()
    before, began = resident_mb(), time.perf_counter()
    windows = Windows(samples(load))
    filled_s = time.perf_counter() - began
    print(
        f"\n{load.models:,} models × {len(TARGETS)} targets × {len(KINDS)} kinds × {load.each:,} = {len(windows):,} samples in {len(windows.known()):,} series"
    )
    print(f"filled in {filled_s:.1f} s (making the samples included), {resident_mb() - before:.0f} MB")
    rows = [("answer", "cold", "after a sample", "warm", "goal")]
    for name, ask in questions(windows).items():
        cold, stale, warm = timed(ask, windows, load, rounds)
        verdict = "met" if max(map(median, (cold, stale, warm))) <= GOAL_MS else "MISSED"
        rows.append((name, report.spread(cold), report.spread(stale), report.spread(warm), f"≤ {GOAL_MS:.0f} ms: {verdict}"))
    print(report.aligned(rows))
    reply = orjson.dumps(questions(windows)["reliability, 10 targets"](0))
    print(f"a reliability answer is {len(reply):,} bytes of JSON")


def questions(windows: Windows) -> dict[str, Callable[[int], object]]:
    """What is asked of a model by its number."""
    return {
        "reliability, 10 targets": lambda number: reliability(model(number), VERSION, OFFERS, windows, now_s=0.0),
        "estimate, sample": lambda number: run_estimate(windows, slug(number), "v1", TARGETS[0], None, PRICE),
        "estimate, 1,000 tokens": lambda number: run_estimate(windows, slug(number), "v1", TARGETS[0], Payload(tokens=1_000, passages=8), PRICE),
        "line after a request": lambda number: line_of(windows, slug(number), "v1", TARGETS[0]),
        "standing, 10 targets": lambda number: [standing(each, measured_at(windows, slug(number), "v1", each.target), probe_pending=False) for each in OFFERS],
    }


def timed(ask: Callable[[int], object], windows: Windows, load: Load, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of each of the three, once a round, another model each round."""
    cold, stale, warm = [], [], []
    for number in range(rounds):
        forget(windows, number)
        interval_ranks.cache_clear()
        cold.append(once(ask, number))
        for sample in samples(Load(models=1, each=1), first=number):
            windows.add(sample)
        stale.append(once(ask, number))
        warm.append(once(ask, number))
    return cold, stale, warm


def forget(windows: Windows, number: int) -> None:
    for target in TARGETS:
        for kind in KINDS:
            windows.of(slug(number), "v1", target, kind)._derived.clear()


def once(ask: Callable[[int], object], number: int) -> float:
    began = time.perf_counter()
    ask(number)
    return (time.perf_counter() - began) * 1e3


def samples(load: Load, first: int = 0) -> Iterator[Sample]:
    """Made one at a time, of all lengths, two in a hundred failed, so that no two series have the same number to count."""
    chance = random.Random(7)
    for number in range(first, first + load.models):
        for target in TARGETS:
            for kind in KINDS:
                for i in range(load.each):
                    yield sample(slug(number), target, kind, float(i), chance)


def sample(name: str, target: Target, kind: str, at_s: float, chance: random.Random) -> Sample:
    ok = chance.random() > 0.02
    shared = {"at_s": at_s, "slug": name, "version": "v1", "gpu_type": target.gpu_type, "region": target.region, "ok": ok}
    if kind == "start":
        return Sample(**shared, kind="start", reason=None if ok else "crashed", cold_start_ms=chance.gauss(1500, 90), weights_from="page cache")
    tokens = 53 if kind == "probe" else chance.randrange(40, 4_000)
    model_ms = (4 + tokens / 50) * chance.lognormvariate(0, 0.1)
    shape = f"3 passages, {tokens} tokens" if kind == "probe" else ""
    reason = None if ok else "request_failed"
    return Sample(**shared, kind=kind, reason=reason, request_ms=model_ms + 1, model_ms=model_ms, tokens=tokens, passages=3, shape=shape)


def compare_memory(count: int) -> None:
    """The same samples as objects in a list, a tenth of them, so that the machine need not hold them all."""
    gc.collect()
    before = resident_mb()
    made: Sequence[Sample] = list(samples(Load(models=1, each=count // 10 // len(TARGETS) // len(KINDS))))
    per_sample = (resident_mb() - before) * 1e6 / len(made)
    print(f"\nas objects a sample takes {per_sample:.0f} bytes: {per_sample * count / 1e6:.0f} MB for {count:,}")


def model(number: int) -> Model:
    return Model(slug=slug(number), id=slug(number), title="", description="", task="rank", versions=(VERSION,))


def slug(number: int) -> str:
    return f"model-{number:04d}"


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    main()
