"""A warm endpoint chosen among 1,000 models × 10 targets: name → model → wish → endpoint, in one thread without HTTP.

    python bench/routing.py [--models 1000] [--targets 10]

Prints the median and the 99th percentile of one choice, by a name, an alias and a pin, and what a new snapshot costs. Goal: at most 50 us.
"""

from __future__ import annotations

import argparse
import random
import time

import load
import report
from emberank.contract.fleet import Endpoint, ModelRow, TargetRow, VersionRow
from emberank.dialects.forge import ANYWHERE, Pin
from emberank.gateway.names import Names
from emberank.gateway.routing import Places
from emberank.gateway.targets import wish_of

GOAL_US = 50.0
BATCH = 20  # choices between two looks at the clock, which costs a good part of one


def fleet(models: int, targets: int) -> tuple[list[ModelRow], list[Endpoint]]:
    """Every target of every model has a warm endpoint."""
    rows = tuple(TargetRow(gpu_type=f"GPU{i}", region=f"region-{i % 3}", status="works", runnable=True, price_usd_per_hour=1.0) for i in range(targets))
    made, endpoints = [], []
    for i in range(models):
        names = (f"acme-rank-{i}", f"acme/rank-{i}.1b_v2", f"acme/old-name-{i}", f"other/alias-{i}")
        made.append(ModelRow(slug=names[0], id=names[1], task="rank", names=names, created=1, owner="acme", versions=(VersionRow(name="v1", targets=rows),)))
        endpoints += [
            Endpoint(id=f"e{i}-{j}", slug=names[0], version="v1", gpu_type=row.gpu_type, region=row.region, phase="WARM", url=f"http://10.0.0.1:{j}")
            for j, row in enumerate(rows)
        ]
    return made, endpoints


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--choices", type=int, default=200_000)
    options = parser.parse_args()
    rows, endpoints = fleet(options.models, options.targets)
    began = time.perf_counter()
    names = Names(rows)
    places = Places()
    places.prefer(rows)
    indexed = time.perf_counter()
    places.update(endpoints, 0.0)
    updated = time.perf_counter()
    chance = random.Random(1)
    for endpoint in endpoints:  # some load everywhere, so that the choice has something to compare
        place = places.choose(wish_of(names.of_any_task(endpoint.slug), Pin(None, endpoint.gpu_type, endpoint.region)), 0.0)
        assert place is not None
        place.queued_tokens = chance.randrange(1000)
    cells = [("asked by", "p50 us", "p99 us", "goal", "kept")]
    for what, spelling, pin in (
        ("id", "acme/rank-{}.1b_v2", ANYWHERE),
        ("alias", "Other/Alias_{}", ANYWHERE),
        ("slug, pinned", "acme-rank-{}", Pin("v1", "GPU3", None)),
    ):
        p50, p99 = measure(names, places, spelling, pin, options, chance)
        cells.append((what, f"{p50:.2f}", f"{p99:.2f}", f"<= {GOAL_US:g}", "yes" if p99 <= GOAL_US else "NO"))
    print(f"{report.machine()}\n{options.models} models x {options.targets} targets, {len(endpoints)} warm endpoints\n\n{report.aligned(cells)}")
    print(f"\na snapshot of all models: {1e3 * (indexed - began):.1f} ms; of all endpoints: {1e3 * (updated - indexed):.1f} ms")


def measure(names: Names, places: Places, spelling: str, pin: Pin, options: argparse.Namespace, chance: random.Random) -> tuple[float, float]:
    """Microseconds of one choice, over random models."""
    asked = [spelling.format(chance.randrange(options.models)) for _ in range(options.choices)]
    took = []
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        began = time.perf_counter()
        for name in batch:
            place = places.choose(wish_of(names.resolve(name, "rank"), pin), 0.0)
        took.append(1e6 * (time.perf_counter() - began) / len(batch))
        assert place is not None
    ordered = sorted(took)
    return load.percentile(ordered, 0.5), load.percentile(ordered, 0.99)


if __name__ == "__main__":
    main()
