"""The life cycle as a whole, over fake endpoints and a clock that a test moves."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

from emberank.contract.errors import BadRequest, DeadlineExceeded, ModelNotFound, NotFound, NotReady, SettingError
from emberank.forge.catalog import Catalog, Version
from emberank.forge.placement import PlacementRefused
from emberank.forge.targets import Pool, Target
from reconciling import GB, LOCAL, OTHER, World, key, model

Test = Callable[..., Coroutine[Any, Any, None]]


def on_a_loop(test: Test) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


# From cold to warm and back


@on_a_loop
async def test_a_wish_leads_to_a_warm_endpoint_and_gateways_hear_of_each_phase() -> None:
    world = World(usual_start_s=3.0)
    woken = world.wake("a")
    assert (woken.phase, woken.was_cold, woken.wanted) == ("STARTING", True, True)
    assert world.reconciler.endpoints()[0].eta_s == 3.0
    await world.made("a")
    await world.pass_(0.9, step_s=0.1)
    assert world.phase("a") == "STARTING"
    assert world.reconciler.endpoints()[0].eta_s == pytest.approx(2.1)
    await world.pass_(0.1)
    (endpoint,) = world.reconciler.endpoints()
    assert (endpoint.phase, endpoint.url, endpoint.price_usd_per_hour) == ("WARM", f"http://{endpoint.id}.invalid:1", 2.0)
    assert world.shown[-1] == ("WARM",)
    warm = world.get("a")
    assert warm is not None
    assert warm.startup_ms == pytest.approx(1000.0)
    assert world.wake("a").was_cold is False


@on_a_loop
async def test_a_herd_of_200_wishes_is_one_start() -> None:
    world = World()
    gate = threading.Event()
    world.script("a", gate=gate)
    woken = [world.wake(name) for name in ("a", "org/a", "A-alias", "a") * 50]
    assert {one.id for one in woken} == {woken[0].id}
    gate.set()
    await world.made("a")
    await world.pass_(1.0)
    assert len(world.fake.launches) == 1
    assert [world.wake("a").phase for _ in range(200)] == ["WARM"] * 200
    assert len(world.fake.launches) == 1


@on_a_loop
async def test_an_unused_endpoint_is_drained_after_15_minutes_and_its_memory_given_back() -> None:
    world = World()
    await world.warm("a")
    await world.pass_(899.0, step_s=60)
    assert world.phase("a") == "WARM"
    await world.pass_(1.0)
    assert world.phase("a") == "DRAINING"
    assert world.shown[-1] == ("DRAINING",), "gateways hear of it before the process does"
    assert all(endpoint.stopped_at is None for endpoint in world.fake.alive.values())
    await world.pass_(1.1)
    assert world.phase("a") == "COLD"
    assert world.fake.alive == {}
    assert world.reconciler.endpoints() == ()
    assert world.journal.rows == {}


@on_a_loop
async def test_what_gateways_report_keeps_it_warm() -> None:
    world = World()
    one = await world.warm("a")
    for _ in range(4):
        await world.pass_(800.0, step_s=100)
        world.report((one.id, 0, 10.0))  # used ten seconds ago
    assert world.phase("a") == "WARM"
    await world.pass_(889.0, step_s=100)
    assert world.phase("a") == "WARM"
    await world.pass_(1.0)
    assert world.phase("a") == "DRAINING"


@on_a_loop
async def test_a_request_in_flight_keeps_it_warm_until_its_gateway_falls_silent() -> None:
    world = World(idle_after_s=30.0)
    one = await world.warm("a")
    for _ in range(5):
        world.report((one.id, 1, 0.0))
        await world.pass_(50.0, step_s=10)
    assert world.phase("a") == "WARM"
    await world.pass_(10.0, step_s=10)
    assert world.phase("a") != "WARM", "a killed gateway's request does not hold it for ever"


@on_a_loop
async def test_a_version_may_have_its_own_idle_time() -> None:
    world = World(model("a", Version(name="v1", source="preset:x", memory_gb=1.0, idle_after_s=5.0)))
    await world.warm("a")
    await world.pass_(5.0)
    assert world.phase("a") == "DRAINING"


@on_a_loop
async def test_run_until_stopped_is_until_it_is_stopped() -> None:
    world = World()
    await world.warm("a")
    world.wake("a", keep_warm=True)
    await world.pass_(100_000.0, step_s=10_000)
    assert world.phase("a") == "WARM"
    (stopped,) = world.reconciler.stop("a")
    assert (stopped.phase, stopped.keep_warm) == ("DRAINING", False)
    await world.pass_(1.1)
    assert (world.phase("a"), world.fake.alive) == ("COLD", {})


@on_a_loop
async def test_keep_warm_is_only_changed_by_who_says_something_of_it() -> None:
    world = World()
    world.wake("a", keep_warm=True)
    assert world.wake("a").keep_warm is True
    assert world.wake("a", keep_warm=False).keep_warm is False
    await world.made("a")


@on_a_loop
async def test_an_endpoint_that_does_not_end_when_asked_is_killed() -> None:
    world = World()
    world.script("a", ignores_stop=True)
    await world.warm("a")
    world.reconciler.stop("a")
    await world.pass_(35.0)
    assert world.phase("a") == "DRAINING"
    await world.pass_(2.0)
    assert (world.phase("a"), world.fake.alive) == ("COLD", {})


@on_a_loop
async def test_a_wish_while_it_drains_starts_it_again_when_it_is_gone() -> None:
    world = World()
    world.script("a", stop_takes_s=3.0)
    first = await world.warm("a")
    world.reconciler.stop("a")
    woken = world.wake("a")
    assert (woken.phase, woken.was_cold) == ("DRAINING", True)
    await world.pass_(5.0)
    again = await world.made("a")
    assert again.id != first.id
    await world.pass_(1.0)
    assert world.phase("a") == "WARM"


@on_a_loop
async def test_a_stop_takes_back_a_wish_that_came_while_it_drained() -> None:
    world = World()
    await world.warm("a")
    world.reconciler.stop("a")
    world.wake("a", keep_warm=True)
    world.reconciler.stop("a")
    await world.pass_(5.0)
    assert world.phase("a") == "COLD"
    assert len(world.fake.launches) == 1


@on_a_loop
async def test_a_start_can_be_stopped_while_the_endpoint_is_still_being_made() -> None:
    world = World()
    gate = threading.Event()
    world.script("a", gate=gate)
    world.wake("a")
    (stopped,) = world.reconciler.stop("a")
    assert stopped.phase == "DRAINING"
    gate.set()
    await world.pass_(2.0)
    assert (world.phase("a"), world.fake.alive) == ("COLD", {})


@on_a_loop
async def test_stop_takes_what_it_names_and_nothing_else() -> None:
    pools = tuple(Pool(target=target, memory_bytes=10 * GB, slots=4, launcher="fake") for target in (LOCAL, OTHER))
    world = World(pools=pools)
    await world.warm("a", region="local")
    await world.warm("a", region="cellar")
    await world.warm("b", region="local")
    assert [one.key for one in world.reconciler.stop("org/a", version="1", gpu_type="cpu", region="Cellar")] == [key("a", OTHER)]
    with pytest.raises(NotFound, match="a has no version 'v9'"):
        world.reconciler.stop("a", version="v9")
    assert world.reconciler.stop("c") == ()
    with pytest.raises(ModelNotFound):
        world.reconciler.stop("nobody")
    await world.pass_(1.1)
    assert {one.key: one.phase for one in world.reconciler.deployments()} == {key("a"): "WARM", key("b"): "WARM"}


# Wishes that cannot be


@on_a_loop
async def test_a_wish_that_cannot_be_is_refused_at_once() -> None:
    world = World()
    for wish, error in [
        ({"slug": "nobody"}, ModelNotFound),
        ({"slug": "a", "version": "v9"}, NotFound),
        ({"slug": "a", "gpu_type": "B200"}, NotFound),
        ({"slug": "a", "region": "mars"}, NotFound),
    ]:
        with pytest.raises(error):
            world.wake(wish.pop("slug"), **wish)
    huge = World(model("a", memory_gb=99.0))
    with pytest.raises(BadRequest, match=r"needs 99.0 GB"):
        huge.wake("a")
    assert world.reconciler.deployments() == huge.reconciler.deployments() == ()


# Failures


@on_a_loop
async def test_a_warm_endpoint_that_crashes_is_started_again_at_once() -> None:
    world = World()
    first = await world.warm("a")
    world.crash(first)
    world.reconciler.tick()
    again = await world.made("a")
    assert again.id != first.id
    assert again.phase == "STARTING"
    assert all("FAILED" not in phases for phases in world.shown), "whoever was in flight there waits, and is not told of a failure"
    await world.pass_(1.0)
    assert world.phase("a") == "WARM"


@on_a_loop
async def test_a_crash_is_seen_when_somebody_asks_for_what_should_be_warm() -> None:
    world = World()
    first = await world.warm("a")
    world.crash(first)
    assert world.wake("a").phase == "STARTING", "without waiting for the next tick"
    await world.made("a")


@on_a_loop
async def test_crashes_soon_after_one_another_are_followed_by_longer_and_longer_pauses() -> None:
    world = World()
    await world.warm("a")
    pauses = []
    for _ in range(5):
        found = world.get("a")
        assert found is not None
        world.crash(found)
        before = len(world.fake.launches)
        world.reconciler.tick()
        began = world.clock.now
        for _ in range(40):
            await world.pass_(0.5, step_s=0.5)
            if len(world.fake.launches) > before:
                break
        pauses.append(world.fake.alive[world.fake.launches[-1].id].began_at - began)
        await world.pass_(1.0, step_s=0.5)
        assert world.phase("a") == "WARM"
    assert pauses == pytest.approx([0.0, 2.0, 4.0, 8.0, 16.0], abs=0.51)
    await world.pass_(60.0)
    steady = world.get("a")
    assert steady is not None
    assert steady.failures == 0, "a minute without a crash, and they are forgotten"


@on_a_loop
async def test_while_a_start_may_not_be_tried_again_a_wish_hears_why_and_when_and_is_remembered() -> None:
    world = World()
    world.script("a", fails=("weights_unavailable", "the hub answered 503"))
    world.wake("a")
    await world.made("a")
    await world.pass_(1.0, step_s=1.0)
    assert world.phase("a") == "FAILED"
    with pytest.raises(NotReady) as refused:
        world.wake("a")
    assert refused.value.retry_after_s == pytest.approx(1.0)
    assert "a v1 on CPU in local could not be started (weights_unavailable: the hub answered 503); the next try is in 1 s" in refused.value.message
    (endpoint,) = world.reconciler.endpoints()
    assert (endpoint.phase, endpoint.reason, endpoint.retry_in_s) == ("FAILED", "weights_unavailable", pytest.approx(1.0))
    world.script("a")
    await world.pass_(1.0)
    await world.made("a")
    await world.pass_(1.0)
    assert world.phase("a") == "WARM"


@on_a_loop
async def test_a_failure_that_would_only_come_again_waits_for_somebody_to_ask() -> None:
    world = World()
    world.script("a", fails=("golden_mismatch", "the golden example came out wrong"))
    world.wake("a", keep_warm=True)
    await world.made("a")
    await world.pass_(60.0)
    assert (world.phase("a"), len(world.fake.launches)) == ("FAILED", 1)
    world.script("a")
    world.wake("a")
    await world.made("a")
    await world.pass_(1.0)
    assert world.phase("a") == "WARM"


@on_a_loop
async def test_a_start_that_never_becomes_ready_is_given_up_and_its_process_ended() -> None:
    world = World()
    world.script("a", ready_after_s=1e9)
    world.wake("a")
    await world.made("a")
    await world.pass_(599.0, step_s=100)
    assert world.phase("a") == "STARTING"
    await world.pass_(1.0)
    found = world.get("a")
    assert found is not None
    assert (found.phase, found.reason, found.message) == ("FAILED", "start_timeout", "it was not ready within 600 s; its last step was 'loading'")
    assert found.retry_at == world.clock.now + 1.0
    await world.pass_(0.5)
    assert world.fake.alive == {}
    assert (world.journal.samples[-1].ok, world.journal.samples[-1].reason) == (False, "start_timeout")


@on_a_loop
async def test_fetching_may_take_longer_than_a_start_as_long_as_bytes_come() -> None:
    world = World()
    world.script("a", fetches=tuple((100.0 * i, i) for i in range(101)), ready_after_s=10_300.0)
    world.wake("a")
    await world.made("a")
    await world.pass_(10_000.0, step_s=50)
    found = world.get("a")
    assert found is not None
    assert found.phase == "STARTING"
    await world.pass_(300.0, step_s=50)
    assert world.phase("a") == "WARM"
    assert world.journal.samples[-1].weights_from == "network"


@on_a_loop
async def test_fetching_that_brings_nothing_any_more_is_given_up_early() -> None:
    world = World()
    world.script("a", fetches=((0.0, 1), (50.0, 60)), ready_after_s=1e9)
    world.wake("a")
    await world.made("a")
    await world.pass_(169.0)
    assert world.phase("a") == "STARTING"
    await world.pass_(1.0)
    found = world.get("a")
    assert found is not None
    assert (found.reason, found.message) == ("start_timeout", "fetching its weights brought nothing for 120 s")


@pytest.mark.parametrize(
    ("raised", "reason", "message"),
    [
        (SettingError("the source names no server"), "bad_setting", "the source names no server"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory", "no process could be made: Cannot allocate memory"),
        (OSError(2, "No such file or directory"), "crashed", "no process could be made: No such file or directory"),
        (ZeroDivisionError("oops"), "crashed", "it could not be started; the cause is in the forge's log"),
    ],
)
def test_a_launch_that_is_refused_is_a_failure_with_its_reason(raised: Exception, reason: str, message: str) -> None:
    @on_a_loop
    async def run() -> None:
        world = World()
        world.script("a", refuses=raised)
        world.wake("a")
        await world.until(lambda: world.phase("a") == "FAILED", "it failed")
        found = world.get("a")
        assert found is not None
        assert (found.reason, found.message) == (reason, message)

    run()


@on_a_loop
async def test_a_start_that_hangs_holds_up_no_other_and_is_given_up_like_any() -> None:
    world = World()
    gate = threading.Event()
    world.script("a", gate=gate)
    world.wake("a")
    world.wake("b")
    await world.made("b")
    world.clock.pass_(600.0)
    world.reconciler.tick()
    assert (world.phase("a"), world.phase("b")) == ("FAILED", "WARM")
    gate.set()
    await world.until(lambda: not world.reconciler._starts, "the hanging start came to something")
    world.reconciler.tick()
    assert [endpoint.launch.model.slug for endpoint in world.fake.alive.values()] == ["b"], "what it came to is ended"


@on_a_loop
async def test_a_fault_in_one_deployment_does_not_stop_the_others_and_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    one = await world.warm("a")
    look = world.fake.look
    monkeypatch.setattr(type(world.fake), "look", lambda self, running: 1 / 0 if running.id == one.id else look(running))
    await world.warm("b")
    await world.pass_(5.0)
    assert (world.phase("a"), world.phase("b")) == ("WARM", "WARM")
    assert sum(getattr(record, "action", "") == "turn_failed" for record in caplog.records) == 1


@on_a_loop
async def test_a_journal_that_fails_keeps_nothing_from_starting_or_ending() -> None:
    world = World()
    world.journal.broken = OSError(28, "No space left on device")
    await world.warm("a")
    world.reconciler.stop("a")
    await world.pass_(2.0)
    assert (world.phase("a"), world.fake.alive) == ("COLD", {})


# Health


@on_a_loop
async def test_an_endpoint_that_hangs_is_killed_and_started_again() -> None:
    world = World()
    first = await world.warm("a")
    world.sick.add(first.id)
    await world.pass_(14.0)
    assert world.phase("a") == "WARM"
    await world.pass_(3.0)
    again = await world.made("a")
    assert again.id != first.id
    assert first.id not in world.fake.alive


@on_a_loop
async def test_one_bad_answer_is_not_the_end() -> None:
    world = World()
    first = await world.warm("a")
    for _ in range(20):  # it is asked every 5 s, and a second after a bad answer: never three times in these 1.5 s
        world.sick.add(first.id)
        await world.pass_(1.5)
        world.sick.clear()
        await world.pass_(2.0)
    found = world.get("a")
    assert found is not None
    assert (found.id, found.phase) == (first.id, "WARM")


@on_a_loop
async def test_what_a_gateway_could_not_reach_is_looked_at_at_once() -> None:
    world = World()
    crashed, hung = await world.warm("a"), await world.warm("b")
    world.crash(crashed)
    world.sick.add(hung.id)
    world.report(unreachable=(crashed.id, hung.id, "nobody"))
    assert world.phase("a") == "STARTING", "crashed, and started again"
    asked = world.asked
    for _ in range(3):
        world.reconciler.tick()  # no time passes: it is asked again and again while it is in doubt
    assert world.asked - asked <= 3
    assert world.phase("b") == "STARTING"
    await world.made("a")
    await world.made("b")


# Places


@on_a_loop
async def test_the_longest_idle_endpoint_makes_room_and_the_start_waits_until_its_memory_is_free() -> None:
    world = World()
    world.script("a", stop_takes_s=5.0)
    old = await world.warm("a")
    await world.warm("b")
    await world.pass_(10.0)
    world.report((world.wake("b").id, 0, 0.0))
    woken = world.wake("c")
    assert (woken.phase, woken.started_at, world.phase("a"), world.phase("b")) == ("STARTING", None, "DRAINING", "WARM")
    await world.pass_(5.0)
    assert [launch.model.slug for launch in world.fake.launches] == ["a", "b"], "its memory is not free yet"
    await world.pass_(2.0)
    await world.made("c")
    assert old.id not in world.fake.alive
    await world.pass_(1.0)
    assert {slug: world.phase(slug) for slug in "abc"} == {"a": "COLD", "b": "WARM", "c": "WARM"}


@pytest.mark.parametrize("why", ["kept warm", "in flight", "just used", "not allowed"])
def test_what_is_needed_is_not_evicted_and_the_refusal_has_the_numbers(why: str) -> None:
    @on_a_loop
    async def run() -> None:
        world = World(evict_idle=why != "not allowed")
        for slug in "ab":
            one = await world.warm(slug)
            if why == "kept warm":
                world.wake(slug, keep_warm=True)
            await world.pass_(3.0)
            world.report((one.id, 1, 0.0) if why == "in flight" else (one.id, 0, 3.0), gateway=slug)
        if why == "just used":
            world.report(*((one.id, 0, 0.5) for one in world.reconciler.deployments()))
        with pytest.raises(PlacementRefused, match=r"c v1 on CPU in local needs 4.0 GB of memory, and 2.0 GB of 10.0 GB are free; in it are 4.0 GB"):
            world.wake("c")
        assert {slug: world.phase(slug) for slug in "abc"} == {"a": "WARM", "b": "WARM", "c": "COLD"}

    run()


@on_a_loop
async def test_two_starts_never_take_the_same_memory() -> None:
    world = World()
    world.wake("a")
    world.wake("b")
    with pytest.raises(PlacementRefused):
        world.wake("c")
    await world.made("a")
    await world.made("b")


@on_a_loop
async def test_what_was_killed_counts_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(model("a", memory_gb=8.0), model("b", memory_gb=8.0))
    world.script("a", ready_after_s=1e9)
    one = world.wake("a")
    await world.made("a")
    kill = world.fake.kill
    monkeypatch.setattr(type(world.fake), "kill", lambda self, running: None)  # a process in the kernel's hands for a while
    await world.pass_(600.0, step_s=300)
    assert world.phase("a") == "FAILED"
    world.reconciler.stop("a")
    assert world.wake("b").started_at is None
    await world.pass_(3.0)
    assert one.id in world.fake.alive
    assert [launch.model.slug for launch in world.fake.launches] == ["a"]
    monkeypatch.setattr(type(world.fake), "kill", lambda self, running: kill(running))
    await world.pass_(2.0)
    await world.made("b")


@on_a_loop
async def test_history_says_how_much_memory_it_needs_and_measuring_corrects_it() -> None:
    world = World(usual_memory_bytes=3 * GB)
    world.script("a", memory_bytes=5 * GB)
    assert world.wake("a").memory_bytes == 3 * GB
    await world.made("a")
    await world.pass_(1.0)
    found = world.get("a")
    assert found is not None
    assert found.memory_bytes == 5 * GB


@on_a_loop
async def test_without_a_pin_the_warm_one_is_taken_before_the_best_and_the_next_when_the_best_fails() -> None:
    pools = tuple(Pool(target=target, memory_bytes=10 * GB, slots=4, launcher="fake") for target in (LOCAL, OTHER))
    world = World(pools=pools, ranked=(OTHER, LOCAL))
    assert world.wake("a").key.target == OTHER
    await world.made("a", OTHER)
    await world.warm("b", region="local")
    assert world.wake("b").key.target == LOCAL, "it is warm there"
    world.script("c", fails=("crashed", "it broke"))
    world.wake("c")
    await world.made("c", OTHER)
    await world.pass_(1.0)
    assert world.phase("c", OTHER) == "FAILED"
    world.script("c")
    assert world.wake("c").key.target == LOCAL
    await world.made("c", LOCAL)


@on_a_loop
async def test_a_model_that_leaves_the_catalogue_is_drained() -> None:
    world = World()
    await world.warm("a")
    world.reconciler.catalog = Catalog([model("b")])
    await world.pass_(3.0)
    assert (world.phase("a"), world.fake.alive) == ("COLD", {})


# Servers of others


@on_a_loop
async def test_a_server_of_others_is_warm_while_it_answers_and_is_never_idle_or_ended() -> None:
    there = Target("NIM", "there")
    version = Version(name="v1", source="nim:http://nim.invalid:8000")
    world = World(model("n", version), pools=(Pool(target=there, memory_bytes=0, slots=1, launcher="remote"),), idle_after_s=10.0)
    one = await world.warm("n")
    assert one.endpoint is not None
    assert one.endpoint.url == "http://nim.invalid:8000"
    await world.pass_(1000.0, step_s=100)
    assert world.phase("n", there) == "WARM"
    world.sick.add(one.id)
    world.remote_answers = False
    await world.pass_(20.0)
    found = world.get("n", there)
    assert found is not None
    assert (found.phase, found.reason) in (("STARTING", None), ("FAILED", "unreachable"))
    world.remote_answers = True
    await world.pass_(40.0)
    assert world.phase("n", there) == "WARM", "it answers again"
    world.reconciler.stop("n")
    await world.pass_(2.0)
    assert world.phase("n", there) == "COLD"


# What is measured and said


@on_a_loop
async def test_every_start_leaves_a_sample() -> None:
    world = World()
    world.script("a", memory_bytes=123)
    await world.warm("a")
    (sample,) = world.journal.samples
    assert (sample.kind, sample.ok, sample.cold_start_ms, sample.peak_memory_bytes, sample.weights_from) == ("start", True, 1000.0, 123, "page cache")
    assert (sample.slug, sample.version, *sample.target, sample.at_s) == (*key("a"), world.clock.wall)
    world.script("b", fails=("out_of_memory", "too large"), memory_bytes=9)
    world.wake("b")
    await world.made("b")
    await world.pass_(1.0)
    failed = world.journal.samples[-1]
    assert (failed.ok, failed.reason, failed.cold_start_ms, failed.peak_memory_bytes) == (False, "out_of_memory", None, 9)


@on_a_loop
async def test_each_phase_change_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World()
    await world.warm("a")
    world.reconciler.stop("a")
    await world.pass_(2.0)
    lines = [record.__dict__ for record in caplog.records if getattr(record, "action", "") == "phase"]
    assert [(line["was"], line["phase"]) for line in lines] == [("COLD", "STARTING"), ("STARTING", "WARM"), ("WARM", "DRAINING"), ("DRAINING", "COLD")]
    assert all((line["model"], line["version"], line["target"]) == ("a", "v1", "CPU/local") for line in lines)
    assert (lines[1]["startup_ms"], lines[2]["reason"]) == (1000.0, "asked")


@on_a_loop
async def test_what_an_endpoint_takes_more_under_load_is_counted() -> None:
    world = World()
    one = await world.warm("a")
    world.fake.alive[one.id].script.memory_bytes = 7 * GB
    await world.pass_(1.0)
    with pytest.raises(PlacementRefused, match=r"3.0 GB of 10.0 GB are free; in it are 7.0 GB"):
        world.wake("b")


@on_a_loop
async def test_use_is_written_down_once_a_minute_not_with_every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    one = await world.warm("a")
    saves = []
    monkeypatch.setattr(world.journal, "save", saves.append)
    for _ in range(180):
        world.report((one.id, 1, 0.0))
        await world.pass_(1.0)
    assert 2 <= len(saves) <= 4


@on_a_loop
async def test_gateways_hear_only_of_what_changed() -> None:
    world = World()
    one = await world.warm("a")
    before = world.published
    world.wake("a")
    world.report((one.id, 3, 0.0))
    await world.pass_(30.0)
    assert world.published == before


# Waiting for it


@on_a_loop
async def test_settled_waits_until_it_is_warm_or_failed() -> None:
    world = World()
    world.script("b", fails=("crashed", "it broke"))
    world.wake("a")
    world.wake("b")
    waiting = [asyncio.create_task(world.reconciler.settled(key(slug), world.clock.now + 60)) for slug in "ab"]
    await world.made("a")
    await world.made("b")
    assert not any(task.done() for task in waiting)
    await world.pass_(1.0)
    assert [one.phase for one in await asyncio.gather(*waiting)] == ["WARM", "FAILED"]


@on_a_loop
async def test_settled_ends_at_its_deadline_and_when_it_is_stopped() -> None:
    world = World()
    world.wake("a")
    with pytest.raises(DeadlineExceeded, match="a v1 on CPU in local was not warm in time; it is STARTING"):
        await world.reconciler.settled(key("a"), world.clock.now)
    waiting = asyncio.create_task(world.reconciler.settled(key("a"), world.clock.now + 60))
    await world.made("a")
    world.reconciler.stop("a")
    await world.pass_(1.0)
    with pytest.raises(NotReady, match="was stopped before it was warm"):
        await waiting


@on_a_loop
async def test_run_ticks_by_itself_and_soon_while_something_starts() -> None:
    world = World()
    world.fake.clock = lambda: 1e12 if world.reconciler.deployments() and world.fake.alive else 0.0  # ready as soon as it is looked at
    running = asyncio.create_task(world.reconciler.run())
    await asyncio.sleep(0)
    world.wake("a")
    found = await world.reconciler.settled(key("a"), world.clock.now + 10)
    assert found.phase == "WARM"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# The end of a forge, and the next one


@on_a_loop
async def test_a_forge_that_ends_leaves_nothing_running() -> None:
    world = World(notice_s=0.0, stop_timeout_s=0.0)
    gate = threading.Event()
    await world.warm("a")
    world.script("b", gate=gate, ignores_stop=True)
    world.wake("b")
    closing = asyncio.create_task(world.reconciler.close(leave_running=False))
    await asyncio.sleep(0)
    with pytest.raises(NotReady, match="the forge is ending"):
        world.wake("c")
    gate.set()
    await closing
    assert world.fake.alive == {}
    assert world.journal.rows == {}
    assert world.reconciler.deployments() == ()


@on_a_loop
async def test_what_was_to_run_until_stopped_runs_again_with_the_next_forge() -> None:
    world = World(notice_s=0.0)
    await world.warm("a", gpu_type="CPU")
    world.wake("a", keep_warm=True)
    await world.reconciler.close(leave_running=False)
    assert world.fake.alive == {}
    following = World(earlier=world)
    following.reconciler.adopt(list(world.journal.rows.values()))
    await following.pass_(1.0)
    await following.made("a")
    await following.pass_(1.0)
    assert following.phase("a") == "WARM"
    found = following.get("a")
    assert found is not None
    assert found.keep_warm


@on_a_loop
async def test_the_next_forge_adopts_what_was_left_running() -> None:
    world = World()
    one = await world.warm("a")
    await world.pass_(600.0, step_s=100)
    await world.reconciler.close(leave_running=True)
    assert one.id in world.fake.alive
    following = World(earlier=world)
    following.reconciler.adopt(list(world.journal.rows.values()))
    assert following.wake("a").id == one.id
    assert len(following.fake.launches) == 1
    (endpoint,) = following.reconciler.endpoints()
    assert (endpoint.phase, endpoint.url) == ("WARM", f"http://{one.id}.invalid:1")


@on_a_loop
async def test_an_adopted_endpoint_goes_on_being_idle() -> None:
    world = World()
    await world.warm("a")
    await world.pass_(600.0, step_s=10)
    following = World(earlier=world)
    following.reconciler.adopt(list(world.journal.rows.values()))
    await following.pass_(240.0, step_s=10)
    assert following.phase("a") == "WARM"
    await following.pass_(65.0, step_s=10)
    assert following.phase("a") != "WARM"


@on_a_loop
async def test_a_killed_forges_start_goes_on_with_the_next() -> None:
    world = World()
    world.script("a", ready_after_s=20.0)
    world.wake("a")
    await world.made("a")
    await world.pass_(5.0)
    following = World(earlier=world)  # the first one is never heard of again
    following.reconciler.adopt(list(world.journal.rows.values()))
    await following.pass_(15.0)
    assert (following.phase("a"), len(following.fake.launches)) == ("WARM", 1)
    assert following.journal.samples[-1].cold_start_ms == pytest.approx(20_000.0)


@on_a_loop
async def test_a_killed_forges_draining_is_brought_to_its_end() -> None:
    world = World()
    world.script("a", ignores_stop=True)
    await world.warm("a")
    world.reconciler.stop("a")
    await world.pass_(2.0)
    following = World(earlier=world)
    following.reconciler.adopt(list(world.journal.rows.values()))
    await following.pass_(36.0)
    assert (following.phase("a"), following.fake.alive) == ("COLD", {})


@on_a_loop
async def test_what_is_gone_when_the_next_forge_comes_is_forgotten_unless_it_is_to_run_until_stopped() -> None:
    world = World()
    await world.warm("a")
    await world.warm("b")
    world.wake("b", keep_warm=True)
    world.fake.alive.clear()  # the machine was restarted
    following = World(earlier=world)
    following.reconciler.adopt(list(world.journal.rows.values()))
    assert following.phase("a") == "COLD"
    await following.pass_(1.0)
    await following.made("b")
    assert set(following.journal.rows) == {key("b")}


@on_a_loop
async def test_what_runs_and_is_not_wanted_any_more_is_ended_by_the_next_forge() -> None:
    world = World()
    await world.warm("a")
    following = World(model("b"), earlier=world)  # a is no longer in the catalogue
    following.reconciler.adopt(list(world.journal.rows.values()))
    await following.pass_(3.0)
    assert following.fake.alive == {}
    assert following.journal.rows == {}


@on_a_loop
async def test_a_failure_is_still_known_to_the_next_forge_wherever_the_clock_jumped() -> None:
    world = World()
    world.script("a", fails=("weights_corrupt", "the hash is another"))
    world.wake("a")
    await world.made("a")
    await world.pass_(1.0)
    world.clock.wall -= 1e7
    following = World(earlier=world)
    following.reconciler.adopt(list(world.journal.rows.values()))
    with pytest.raises(NotReady, match="weights_corrupt") as refused:
        following.wake("a")
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s <= 300.0


@on_a_loop
async def test_a_wall_clock_that_jumps_ends_and_starts_nothing() -> None:
    world = World()
    one = await world.warm("a")
    for jump in (1e8, -2e8, 3600.0):
        world.clock.wall += jump
        await world.pass_(10.0)
    found = world.get("a")
    assert found is not None
    assert (found.id, found.phase) == (one.id, "WARM")


@on_a_loop
async def test_a_row_that_cannot_be_understood_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    one = await world.warm("a")
    row = world.journal.rows[key("a")]
    broken = replace(row, slug="b", since_at_s="yesterday")  # type: ignore[arg-type]
    elsewhere = replace(row, slug="c", gpu_type="B300")
    following = World(earlier=world)
    following.reconciler.adopt([broken, elsewhere, row])
    assert [found.id for found in following.reconciler.deployments()] == [one.id]
