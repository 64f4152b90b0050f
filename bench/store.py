"""A million stored rows in, the time of what the forge asks of them out: `python bench/store.py [FILE or postgresql://…]`. Measures nothing but the store.

Without an address it uses a SQLite file in a temporary folder. A database that is given shall be empty, and is left with the rows in it.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from emberank.contract.fleet import UsageRecord
from emberank.forge.samples import Sample
from emberank.forge.store import Store, open_store

ROWS = 1_000_000
BATCH = 10_000
BEGIN_S = 1_790_000_000.0
MODELS, TARGETS, KEYS = 10, 7, 20  # 70 targets, and as many series of each kind
TIMES = 50


def series(n: int) -> dict[str, str]:
    """The n-th request's model and target, in a mix in which a few take most."""
    one = int(random.Random(n).betavariate(1, 3) * MODELS * TARGETS)
    return {"slug": f"model-{one % MODELS}", "version": "v1", "gpu_type": f"GPU{one // MODELS}", "region": "us-central1"}


def usage_record(n: int) -> UsageRecord:
    """One request a second."""
    figures = {
        "tokens": 53 + n % 400,
        "passages": 3,
        "chars": 900,
        "request_ms": 12.3,
        "model_ms": 9.8,
        "queue_ms": 0.4,
        "cold_start_ms": 0.0,
        "cost_usd": 1e-6,
    }
    return UsageRecord(at_s=BEGIN_S + n, request_id=f"{n:032x}", key_id=f"k_{n % KEYS}", route="/v1/ranking", status=200, **series(n), **figures)


def sample(n: int) -> Sample:
    """One probe a second."""
    return Sample(
        at_s=BEGIN_S + n, kind="probe", ok=n % 50 != 0, request_ms=12.3, model_ms=9.8, tokens=53, passages=3, shape="3 passages, 53 tokens", **series(n)
    )


def fill(store: Store) -> None:
    """Put a million of each in."""
    for first in range(0, ROWS, BATCH):
        store.samples.add(sample(n) for n in range(first, first + BATCH))
        store.usage.append("bench", first // BATCH + 1, [usage_record(n) for n in range(first, first + BATCH)])


def timed_ms(do: Callable[[], object], times: int) -> Iterator[float]:
    """How long each call took."""
    for _ in range(times):
        begin = time.perf_counter()
        do()
        yield (time.perf_counter() - begin) * 1000


def show(what: str, do: Callable[[], object], times: int = TIMES) -> None:
    """One line: median, worst, n."""
    took = list(timed_ms(do, times))
    print(f"{what:<46} p50 {statistics.median(took):9.2f} ms   max {max(took):9.2f} ms   n {times}", flush=True)


def main() -> None:
    """Fill, then ask."""
    with tempfile.TemporaryDirectory() as folder, open_store(sys.argv[1] if len(sys.argv) > 1 else Path(folder) / "store.db", exclusive=True) as store:
        begin = time.perf_counter()
        fill(store)
        print(f"{store.backend}: {ROWS:,} samples and {ROWS:,} usage rows in {time.perf_counter() - begin:.0f} s; {len(store.samples.recent(1))} series")
        numbers = iter(range(1_000_000, 2_000_000))
        batch = [usage_record(ROWS + n) for n in range(200)]
        fresh = [sample(ROWS + n) for n in range(200)]
        show("usage.append(200 records)", lambda: store.usage.append("bench", next(numbers), batch), times=200)
        show("samples.add(200)", lambda: store.samples.add(fresh), times=200)
        show(f"samples.recent(1000), {len(store.samples.recent(1000)):,} found", lambda: store.samples.recent(1000), times=5)
        show(f"usage.recent(1000), {len(store.usage.recent(1000)):,} found", lambda: store.usage.recent(1000), times=5)
        show("usage.month", lambda: store.usage.month("2026-09"))
        show("usage.counted", lambda: store.usage.counted("bench"))
        show("usage.rollup of a day, one key", lambda: store.usage.rollup(BEGIN_S + ROWS - 86_400, BEGIN_S + ROWS, key_id="k_1"))
        show("prune with nothing to prune", lambda: store.prune(BEGIN_S))
        show("prune of 20,000 usage rows and samples", lambda: store.prune(BEGIN_S + 10 * ROWS), times=5)


if __name__ == "__main__":
    main()
