"""Where a version goes, and what is said when it goes nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from emberank.contract.errors import BadRequest, NotFound, NotReady
from emberank.contract.fleet import Wish
from emberank.forge.catalog import Published, Version
from emberank.forge.deployments import Key
from emberank.forge.placement import Occupant, PlacementRefused, candidates, has_room, place
from emberank.forge.targets import Pool, Target
from reconciling import GB, LOCAL, OTHER, model

B200, FAR = Target("B200", "us-central1"), Target("NIM", "elsewhere")
CPU = Pool(target=LOCAL, memory_bytes=10 * GB, slots=3)
CELLAR = Pool(target=OTHER, memory_bytes=6 * GB, slots=2)
GPUS = Pool(target=B200, memory_bytes=40 * GB, slots=2, devices=("0", "1"))
REMOTE = Pool(target=FAR, memory_bytes=0, slots=1, launcher="remote")
POOLS = {pool.target: pool for pool in (CPU, CELLAR, GPUS, REMOTE)}


def inside(slug: str, gb: float, target: Target = LOCAL, **values: Any) -> Occupant:
    return Occupant(key=Key(slug, "v1", *target), memory_bytes=int(gb * GB), **values)


def idle(slug: str, gb: float, idle_s: float, target: Target = LOCAL, **values: Any) -> Occupant:
    return inside(slug, gb, target, evictable=True, idle_s=idle_s, **values)


def placed(need_gb: float, *occupants: Occupant, targets: tuple[Target, ...] = (LOCAL,), evict: bool = True) -> Any:
    return place(("ranker", "v1"), int(need_gb * GB), targets, POOLS, occupants, evict=evict)


# Which targets


PUBLISHED = Version(
    name="v1",
    source="preset:x",
    memory_gb=4.0,
    published=(Published(gpu_type="L40S", region="eu-north1", status="works", source="page", published="2026-04-28"),),
)


def targets(version: Version = PUBLISHED, ranked: tuple[Target, ...] = (), **wish: Any) -> tuple[Target, ...]:
    return candidates(Wish(slug="ranker", **wish), model("ranker", version), version, ranked, POOLS)


def test_without_a_pin_every_pool_that_can_run_it_is_open_the_best_ranked_first() -> None:
    assert targets() == (LOCAL, OTHER, B200)
    assert targets(ranked=(B200, Target("L40S", "eu-north1"), OTHER)) == (B200, OTHER, LOCAL)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"gpu_type": "CPU"}, (LOCAL, OTHER)),
        ({"gpu_type": "cpu", "region": "CELLAR"}, (OTHER,)),
        ({"region": "us-central1"}, (B200,)),
    ],
)
def test_a_pin_leaves_open_what_it_names(wish: dict[str, str], expected: tuple[Target, ...]) -> None:
    assert targets(**wish) == expected


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"gpu_type": "B300"}, "gpu_type 'B300' is not known here; known: CPU, B200"),
        ({"region": "mars"}, "region 'mars' is not known here; known: local, cellar"),
    ],
)
def test_a_target_that_nobody_knows_is_refused_with_those_that_are_known(wish: dict[str, str], message: str) -> None:
    with pytest.raises(NotFound, match=message):
        targets(**wish)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"gpu_type": "L40S"}, "no pool here provides L40S in eu-north1; it can run on B200 in us-central1, CPU in cellar, CPU in local"),
        ({"gpu_type": "B200", "region": "local"}, "no target has both that gpu_type and that region; it can run on"),
    ],
)
def test_a_target_that_cannot_run_it_is_refused_with_the_reason_and_the_alternatives(wish: dict[str, str], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        targets(**wish)


def test_a_version_that_nothing_here_can_run_says_what_it_needs() -> None:
    with pytest.raises(BadRequest, match=r"ranker v1 needs 99.0 GB, and CPU in local has 10.0 GB"):
        targets(Version(name="v1", source="preset:x", memory_gb=99.0))


def test_somebody_elses_server_is_a_matter_of_remote_pools_only() -> None:
    assert targets(Version(name="v1", source="nim:http://nim:8000")) == (FAR,)


# Whether it fits


@pytest.mark.parametrize(
    ("need_gb", "occupants", "fits"),
    [
        (10.0, [], True),
        (10.1, [], False),
        (4.0, [inside("a", 6.0)], True),
        (4.1, [inside("a", 6.0)], False),
        (0.0, [inside("a", 1.0), inside("b", 1.0)], True),
        (0.0, [inside("a", 1.0), inside("b", 1.0), inside("c", 1.0)], False),  # three places
    ],
)
def test_in_a_pool_without_devices_all_share_the_memory_and_the_places(need_gb: float, occupants: list[Occupant], fits: bool) -> None:
    assert has_room(CPU, int(need_gb * GB), occupants) is fits


@pytest.mark.parametrize(
    ("need_gb", "occupants", "devices", "fits"),
    [
        (20.0, [], (), True),
        (20.1, [], (), False),  # one GPU has 20 GB
        (20.0, [inside("a", 20.0, B200, devices=("0",))], (), True),
        (1.0, [inside("a", 1.0, B200, devices=("0",))], ("0",), False),
        (1.0, [inside("a", 1.0, B200, devices=("0",))], ("1",), True),
        (1.0, [inside("a", 1.0, B200, devices=("0",)), inside("b", 1.0, B200, devices=("1",))], (), False),
    ],
)
def test_in_a_pool_with_devices_each_endpoint_has_its_own(need_gb: float, occupants: list[Occupant], devices: tuple[str, ...], fits: bool) -> None:
    assert has_room(GPUS, int(need_gb * GB), occupants, devices) is fits


def test_a_remote_pool_has_room_for_everything() -> None:
    assert has_room(REMOTE, 10**15, [inside("a", 99.0, FAR)] * 9)


def test_the_first_target_with_room_is_taken_and_a_free_device_of_it() -> None:
    assert placed(4.0, targets=(LOCAL, OTHER)).target == LOCAL
    assert placed(5.0, inside("a", 6.0), targets=(LOCAL, OTHER)).target == OTHER
    found = placed(5.0, inside("a", 5.0, B200, devices=("0",)), targets=(B200,))
    assert (found.target, found.devices, found.evict) == (B200, ("1",), ())


def test_room_now_goes_before_room_soon_and_room_soon_before_eviction() -> None:
    leaving, unused = inside("a", 8.0, leaving=True), idle("b", 5.0, 100.0, OTHER)
    assert placed(5.0, leaving, targets=(LOCAL, OTHER)).target == OTHER
    soon = placed(5.0, unused, leaving, targets=(OTHER, LOCAL))
    assert (soon.target, soon.evict) == (LOCAL, ())
    evicting = placed(5.0, unused, inside("a", 8.0), targets=(LOCAL, OTHER))
    assert (evicting.target, [key.slug for key in evicting.evict]) == (OTHER, ["b"])


def test_what_leaves_a_device_leaves_it_to_the_next() -> None:
    found = placed(5.0, inside("a", 5.0, B200, devices=("0",), leaving=True), inside("b", 5.0, B200, devices=("1",)), targets=(B200,))
    assert found.devices == ("0",)


# Eviction


@pytest.mark.parametrize(
    ("need_gb", "occupants", "evicted"),
    [
        (4.0, [idle("a", 5.0, 10), idle("b", 5.0, 20)], ["b"]),  # the longest idle
        (9.0, [idle("a", 5.0, 10), idle("b", 5.0, 20)], ["b", "a"]),
        (4.0, [inside("a", 5.0), idle("b", 5.0, 20)], ["b"]),
        (5.0, [idle("small", 1.0, 900), idle("large", 8.0, 5)], ["large"]),  # the small one makes no difference
        (1.0, [idle("a", 1.0, 1), idle("b", 1.0, 3), idle("c", 1.0, 2)], ["b"]),  # a place, not memory
        (10.0, [idle("a", 2.0, 1), inside("leaving", 8.0, leaving=True)], ["a"]),
    ],
)
def test_the_longest_idle_make_room_and_no_more_of_them_than_needed(need_gb: float, occupants: list[Occupant], evicted: list[str]) -> None:
    assert [key.slug for key in placed(need_gb, *occupants).evict] == evicted


def test_nobody_is_evicted_in_vain() -> None:
    with pytest.raises(PlacementRefused):
        placed(9.0, inside("a", 5.0), idle("b", 5.0, 20))


def test_on_devices_the_evicted_ones_device_is_given_on() -> None:
    found = placed(5.0, inside("a", 5.0, B200, devices=("0",)), idle("b", 5.0, 9, B200, devices=("1",)), targets=(B200,))
    assert ([key.slug for key in found.evict], found.devices) == (["b"], ("1",))


# Refusals


@pytest.mark.parametrize(
    ("need_gb", "occupants", "reason", "retry", "message"),
    [
        (
            5.0,
            [inside("a", 6.0), inside("b", 2.0, leaving=True)],
            "out_of_memory",
            10.0,
            "ranker v1 on CPU in local needs 5.0 GB of memory, and 2.0 GB of 10.0 GB are free; in it are 6.0 GB in use, 2.0 GB ending: "
            "stop what is not needed, or try again when one of them is idle",
        ),
        (
            1.0,
            [inside("a", 1.0), idle("b", 1.5, 33.3), inside("c", 1.0)],
            "no_capacity",
            10.0,
            "ranker v1 on CPU in local needs one of 3 places, and none is free; in it are 1.0 GB in use, 1.5 GB idle for 33 s, 1.0 GB in use: "
            "stop what is not needed, or try again when one of them is idle",
        ),
        (
            12.0,
            [],
            "out_of_memory",
            None,
            "ranker v1 on CPU in local needs 12.0 GB of memory, and an endpoint there can have 10.0 GB: it needs a larger machine, or a smaller version of it",
        ),
    ],
)
def test_a_refusal_has_the_numbers_and_says_what_would_free_the_room(
    need_gb: float, occupants: list[Occupant], reason: str, retry: float | None, message: str
) -> None:
    with pytest.raises(PlacementRefused) as refused:
        placed(need_gb, *occupants, evict=False)
    assert isinstance(refused.value, NotReady)
    assert (refused.value.reason, refused.value.retry_after_s, refused.value.message) == (reason, retry, message)


def test_a_refusal_stays_short_however_many_are_inside() -> None:
    pool = Pool(target=LOCAL, memory_bytes=GB, slots=500)
    with pytest.raises(PlacementRefused, match="and 492 more"):
        place(("ranker", "v1"), GB, [LOCAL], {LOCAL: pool}, [inside(f"m{i}", 0.1) for i in range(500)], evict=True)
