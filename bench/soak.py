"""Very many requests of varied lengths and batch sizes against Emberank, with its memory watched: does it grow, does it fail?

    python bench/soak.py --requests 100000

Prints a slope in MB per 10,000 requests, from a straight line through the samples after the first tenth (caches and allocator arenas fill there).
Does not know where memory goes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import corpus
import load
import peers
import report

MOST_WORDS = 400
MOST_TEXTS = 16
KEEP_EVERY = 1000


def main() -> None:
    peers.end_children_on_sigterm()
    options = _options()
    machine = report.machine()
    with peers.running(peers.emberank(options.emberank, options.model)) as child:
        samples = [(0, child.rss_mb())]
        run = asyncio.run(_drive(child, options, samples))
        child.check()
        samples.append((run.requests + sum(run.errors.values()), child.rss_mb()))
    wrong = Counter(run.errors) + load.verify(run.samples, {})
    facts = {
        "machine": machine,
        "requests": run.requests,
        "texts": run.texts,
        "seconds": run.seconds,
        "p50_ms": run.p50_ms,
        "p99_ms": run.p99_ms,
        "slope_mb_per_10000": slope(samples),
        "rss_mb": samples,
        "errors": dict(wrong),
    }
    if options.json:
        report.dump(options.json, facts, [])
    if options.json != "-":
        print(_text(facts))
    sys.exit(1 if wrong or run.requests < options.requests else 0)


def requests(server: peers.Server, count: int, seed: int, source: corpus.Source) -> Iterator[load.Request]:
    """Mostly small and short with a long tail, the same ones for the same seed; made as they are sent, or they would fill the memory themselves."""
    _, words = corpus.words(source)
    dice = random.Random(seed)
    for _ in range(count):
        texts = [_text_of(words, dice) for _ in range(_skewed(dice, MOST_TEXTS))]
        yield load.encode(peers.HOST, server.port, server.embed_path, texts, server.fields)


def slope(samples: Sequence[tuple[int, float]]) -> float:
    """MB per 10,000 requests after the first tenth; NaN where there is too little to say."""
    settled = [(number / 10_000, memory) for number, memory in samples if number >= samples[-1][0] / 10]
    if len({number for number, _ in settled}) < 2:
        return float("nan")
    return statistics.linear_regression(*zip(*settled, strict=True)).slope


async def _drive(child: peers.Child, options: argparse.Namespace, samples: list[tuple[int, float]]) -> load.Report:
    made = requests(child.server, options.requests, options.seed, options.corpus)

    def watch(finished: int) -> None:
        if finished % options.sample_every == 0:
            child.check()
            samples.append((finished, child.rss_mb()))
            print(f"{finished:8} requests  {samples[-1][1]:8.1f} MB", file=sys.stderr)

    return await load.drive(peers.HOST, child.server.port, made, options.connections, max_seconds=options.max_seconds, keep_every=KEEP_EVERY, watch=watch)


def _text_of(words: Sequence[str], dice: random.Random) -> str:
    length = _skewed(dice, MOST_WORDS)
    start = dice.randrange(len(words) - length)
    return " ".join(itertools.islice(words, start, start + length))


def _skewed(dice: random.Random, most: int) -> int:
    """1 to `most`, each doubling about as often as the last; the mean for 16 is 5, for 400 it is 66."""
    return int(most ** dice.random())


def _text(facts: dict[str, Any]) -> str:
    first, last = facts["rss_mb"][0][1], facts["rss_mb"][-1][1]
    return "\n".join(
        (
            str(facts["machine"]),
            f"{facts['requests']} requests, {facts['texts']} texts in {facts['seconds']:.0f} s, p50 {facts['p50_ms']:.1f} ms, p99 {facts['p99_ms']:.1f} ms",
            f"resident {first:.1f} MB when ready, {last:.1f} MB at the end, most {max(memory for _, memory in facts['rss_mb']):.1f} MB",
            f"slope {facts['slope_mb_per_10000']:+.2f} MB per 10,000 requests",
            f"errors: {facts['errors'] or 'none'}",
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers.add_emberank_options(parser)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--corpus", choices=("auto", "cranfield", "words"), default="auto")
    parser.add_argument("--sample-every", type=int, default=500)
    parser.add_argument("--max-seconds", type=float, default=4 * 3600.0)
    parser.add_argument("--json", metavar="FILE", help="write all figures there; `-` prints them instead of the text")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except peers.PeerFailed as problem:
        sys.exit(f"soak: {problem}")
