"""The bare engine, no HTTP: precisions side by side, batching against no batching, and how near the numbers are to fp32.

    python bench/engine.py [--precisions fp32,int8] [--rounds 5]

All variants are loaded at once and take turns round by round, so that a machine that drifts drifts for all.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field

import bare
import corpus
import report


@dataclass(slots=True)
class Variant:
    """One precision with one budget, and what was measured of it."""

    name: str
    embed: bare.Embed
    texts_per_s: list[float] = field(default_factory=list)
    short_ms: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precisions", default="fp32,int8", help="bf16 too on a CPU with AMX; elsewhere it is emulated and takes minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=256)
    options = parser.parse_args()
    source, texts = corpus.texts(options.texts)
    variants = []
    for precision in options.precisions.split(","):
        variants.append(Variant(f"{precision}, batches of 1024 tokens", bare.load(1024, EMBERANK_PRECISION=precision)))
        variants.append(Variant(f"{precision}, one text at a time", bare.load(1, EMBERANK_PRECISION=precision)))
    vectors = [variant.embed(texts) for variant in variants]  # also warms up
    for _ in range(options.rounds):
        for variant in variants:
            measure(variant, texts)
    print(report.machine(), {"corpus": source, "texts": len(texts)}, sep="\n", end="\n\n")
    rows = [("variant", "texts/s", "ratio to the first", "one short text, ms", "cosine to the first: least", "mean")]
    for variant, own in zip(variants, vectors, strict=True):
        cosines = (own * vectors[0]).sum(1)
        ratio = statistics.median(a / b for a, b in zip(variant.texts_per_s, variants[0].texts_per_s, strict=True))
        rows.append(
            (variant.name, report.spread(variant.texts_per_s), f"{ratio:.2f}", report.spread(variant.short_ms), f"{cosines.min():.5f}", f"{cosines.mean():.5f}")
        )
    print(report.aligned(rows))


def measure(variant: Variant, texts: list[str]) -> None:
    """One pass of all texts, and the median of forty calls with one short text."""
    began = time.perf_counter()
    variant.embed(texts)
    variant.texts_per_s.append(len(texts) / (time.perf_counter() - began))
    calls = []
    for _ in range(40):
        began = time.perf_counter()
        variant.embed([corpus.SHORT_TEXT])
        calls.append(1000 * (time.perf_counter() - began))
    variant.short_ms.append(statistics.median(calls))


if __name__ == "__main__":
    main()
