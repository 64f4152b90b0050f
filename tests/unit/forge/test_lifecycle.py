"""Every decision of the life cycle, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from emberank.contract.fleet import EndpointLoad, LoadReport, Phase
from emberank.forge.deployments import Deployment, Key, Progress
from emberank.forge.launchers.base import Observed, Running
from emberank.forge.lifecycle import LASTING, Policy, backoff_s, decide, failed, idle_s, progressed, steadied
from emberank.forge.loads import Load, Loads

KEY = Key("ranker", "v1", "CPU", "local")
POLICY = Policy()
NOW = 10_000.0
ENDPOINT = Running(id="e", launcher="fake")
ANSWERING = Running(id="e", launcher="fake", url="http://e.invalid")


def one(phase: Phase, *, age_s: float = 0.0, unused_s: float | None = None, **values: Any) -> Deployment:
    """One that came into its phase `age_s` ago and was last used `unused_s` ago."""
    used = NOW - (age_s if unused_s is None else unused_s)
    return Deployment(key=KEY, phase=phase, since=NOW - age_s, last_used=used, **values)


def progress(step: str, *, done: int | None = None, still_s: float = 0.0, counted_s: float = 0.0) -> Progress:
    return Progress(step=step, done=done, total=100, moved_at=NOW - still_s, counts_from=NOW - counted_s)


def action(deployment: Deployment, in_flight: int = 0, **policy: Any) -> str:
    decision = decide(deployment, Load(in_flight=in_flight), NOW, Policy(**policy))
    return f"stop {decision.why}" if decision.action == "stop" else decision.action


@pytest.mark.parametrize(
    ("values", "expected"), [({}, "wait"), ({"wanted": True}, "start"), ({"keep_warm": True}, "start"), ({"wanted": True, "age_s": 9e9}, "start")]
)
def test_what_is_cold_starts_when_it_is_wanted(values: dict[str, Any], expected: str) -> None:
    assert action(one("COLD", **values)) == expected


@pytest.mark.parametrize(
    ("values", "in_flight", "policy", "expected"),
    [
        ({"age_s": 899}, 0, {}, "wait"),
        ({"age_s": 900}, 0, {}, "stop idle"),
        ({"age_s": 9000, "unused_s": 899}, 0, {}, "wait"),
        ({"age_s": 9000, "unused_s": 900}, 0, {}, "stop idle"),
        ({"age_s": 5, "unused_s": 9000}, 0, {}, "wait"),  # fresh: nobody could use it before
        ({"age_s": 9000}, 1, {}, "wait"),  # in flight
        ({"age_s": 9000, "keep_warm": True}, 0, {}, "wait"),
        ({"age_s": 2}, 0, {"idle_after_s": 1.5}, "stop idle"),  # a version's own time
        ({"age_s": 1e12}, 0, {"idle_after_s": float("inf")}, "wait"),
        ({"age_s": 0, "stopping": "asked"}, 5, {}, "stop asked"),  # asked: what is in flight is drained
        ({"age_s": 0, "stopping": "asked", "keep_warm": True}, 0, {}, "stop asked"),
        ({"age_s": 50, "stopping": "evicted"}, 0, {}, "stop evicted"),
    ],
)
def test_what_is_warm_stays_so_while_it_is_needed(values: dict[str, Any], in_flight: int, policy: dict[str, Any], expected: str) -> None:
    assert action(one("WARM", **values), in_flight, **policy) == expected


@pytest.mark.parametrize(
    ("values", "policy", "expected"),
    [
        ({"age_s": 599}, {}, "wait"),
        ({"age_s": 600}, {}, "give_up"),
        ({"age_s": 900, "started_at": NOW - 599}, {}, "wait"),  # it had to wait for room
        ({"age_s": 900, "started_at": NOW - 600}, {}, "give_up"),
        ({"age_s": 30}, {"start_timeout_s": 30.0}, "give_up"),
        ({"age_s": 0, "stopping": "asked"}, {}, "stop asked"),
        # Fetching goes on as long as bytes move, however long that is.
        ({"age_s": 9000, "progress": progress("fetching", done=5, still_s=119, counted_s=9000)}, {}, "wait"),
        ({"age_s": 130, "progress": progress("fetching", done=5, still_s=120, counted_s=130)}, {}, "give_up"),
        # Nobody counts its bytes: it has the ordinary deadline.
        ({"age_s": 599, "progress": progress("fetching", still_s=599, counted_s=599)}, {}, "wait"),
        ({"age_s": 600, "progress": progress("fetching", still_s=600, counted_s=600)}, {}, "give_up"),
        # After fetching the deadline counts anew.
        ({"age_s": 9000, "progress": progress("loading", still_s=599, counted_s=599)}, {}, "wait"),
        ({"age_s": 9000, "progress": progress("loading", counted_s=600)}, {}, "give_up"),
    ],
)
def test_a_start_has_a_deadline(values: dict[str, Any], policy: dict[str, Any], expected: str) -> None:
    assert action(one("STARTING", **values), **policy) == expected


@pytest.mark.parametrize(
    ("progress_", "message"),
    [
        (None, "it was not ready within 600 s"),
        (progress("verifying", counted_s=700), "it was not ready within 600 s; its last step was 'verifying'"),
        (progress("fetching", done=3, still_s=500, counted_s=700), "fetching its weights brought nothing for 120 s"),
    ],
)
def test_a_start_that_is_given_up_says_what_it_waited_for(progress_: Progress | None, message: str) -> None:
    assert decide(one("STARTING", age_s=700, progress=progress_), Load(), NOW, POLICY).message == message


@pytest.mark.parametrize(
    ("age_s", "told", "endpoint", "expected"),
    [
        (0.0, False, ANSWERING, "wait"),  # gateways route away first
        (0.9, False, ANSWERING, "wait"),
        (1.0, False, ANSWERING, "terminate"),
        (1.0, True, ANSWERING, "wait"),
        (35.9, True, ANSWERING, "wait"),
        (36.0, True, ANSWERING, "kill"),
        (36.0, False, ANSWERING, "kill"),
        (0.0, False, ENDPOINT, "terminate"),  # nobody was told of it yet
        (35.0, True, ENDPOINT, "kill"),
    ],
)
def test_draining_is_notice_then_asking_then_killing(age_s: float, told: bool, endpoint: Running, expected: str) -> None:
    assert action(one("DRAINING", age_s=age_s, told=told, endpoint=endpoint, wanted=True)) == expected


@pytest.mark.parametrize(
    ("values", "in_flight", "expected"),
    [
        ({"retry_at": NOW + 1, "wanted": True}, 0, "wait"),
        ({"retry_at": NOW, "wanted": True}, 0, "start"),
        ({"retry_at": NOW}, 0, "wait"),  # nobody wants it
        ({"retry_at": NOW}, 2, "start"),  # somebody's requests were there
        ({"retry_at": NOW, "keep_warm": True, "age_s": 9000}, 0, "start"),
        ({"retry_at": NOW - 5, "wanted": True, "age_s": 10, "unused_s": 899}, 0, "start"),
        ({"retry_at": NOW - 5, "wanted": True, "age_s": 10, "unused_s": 901}, 0, "wait"),  # who asked has long gone
        ({"retry_at": NOW - 5, "wanted": True, "age_s": 900}, 0, "stop idle"),  # forgotten
        ({"retry_at": NOW - 5, "age_s": 899}, 0, "wait"),
        ({"retry_at": NOW + 5, "age_s": 900}, 0, "wait"),
        ({"retry_at": NOW, "wanted": True, "stopping": "asked"}, 0, "stop asked"),
    ],
)
def test_what_failed_is_started_again_when_it_may_and_is_needed(values: dict[str, Any], in_flight: int, expected: str) -> None:
    assert action(one("FAILED", reason="crashed", **values), in_flight) == expected


@pytest.mark.parametrize("reason", sorted(LASTING))
def test_what_would_fail_in_the_same_way_is_not_started_again_by_itself(reason: Any) -> None:
    assert action(one("FAILED", reason=reason, retry_at=NOW, wanted=True, keep_warm=True), 3) == "wait"


# Failures


@pytest.mark.parametrize(("failures", "expected"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (9, 256.0), (10, 300.0), (5000, 300.0)])
def test_the_pause_after_failures_doubles_up_to_five_minutes(failures: int, expected: float) -> None:
    assert backoff_s(failures, 0.0, POLICY) == expected


@pytest.mark.parametrize("failures", range(1, 12))
def test_jitter_makes_a_pause_up_to_a_quarter_longer_and_never_longer_than_the_most(failures: int) -> None:
    least, most = backoff_s(failures, 0.0, POLICY), backoff_s(failures, 1.0, POLICY)
    assert least <= backoff_s(failures, 0.5, POLICY) <= most <= min(least * 1.25, 300.0)


@pytest.mark.parametrize(
    ("phase", "failures", "wait_s"),
    [
        ("STARTING", 0, 1.0),
        ("STARTING", 1, 2.0),
        ("WARM", 0, 0.0),  # what was in flight there waits: it may start at once
        ("WARM", 1, 2.0),  # but not twice in a row
        ("FAILED", 2, 4.0),
        ("COLD", 0, 1.0),
    ],
)
def test_a_failure_says_why_and_when_it_may_be_tried_again(phase: Phase, failures: int, wait_s: float) -> None:
    after = failed(one(phase, failures=failures, memory_bytes=7), "crashed", "it broke", NOW, 0.0, POLICY)
    assert (after.phase, after.reason, after.message, after.failures) == ("FAILED", "crashed", "it broke", failures + 1)
    assert after.retry_at == NOW + wait_s
    assert after.memory_bytes == 0


@pytest.mark.parametrize(("phase", "age_s", "left"), [("WARM", 59, 3), ("WARM", 60, 0), ("STARTING", 600, 3), ("FAILED", 600, 3)])
def test_failures_are_forgotten_once_it_was_warm_for_a_minute(phase: Phase, age_s: float, left: int) -> None:
    assert steadied(one(phase, age_s=age_s, failures=3), NOW, POLICY).failures == left


# Progress


def seen(step: str, done: int | None = None, total: int | None = None) -> Observed:
    return Observed(state="starting", step=step, done=done, total=total)


def test_progress_is_dated_when_bytes_move_and_the_deadline_counts_from_the_end_of_fetching() -> None:
    deployment = one("STARTING", age_s=50, started_at=NOW - 40)
    for at, observed, moved_at, counts_from in [
        (1, seen("fetching", 0, 100), 1, -40),
        (5, seen("fetching", 0, 100), 1, -40),
        (6, seen("fetching", 0, 200), 1, -40),  # a new total is not a byte
        (9, seen("fetching", 60, 200), 9, -40),
        (12, seen("fetching", 4, 10), 12, -40),  # the next file
        (20, seen("loading"), 20, 20),
        (30, seen("loading"), 20, 20),
        (40, seen("verifying"), 40, 20),
    ]:
        deployment = progressed(deployment, observed, NOW + at)
        assert deployment.progress is not None
        assert (deployment.progress.moved_at - NOW, deployment.progress.counts_from - NOW) == (moved_at, counts_from), at


def test_a_deployment_of_which_nothing_new_is_seen_is_the_same_value() -> None:
    deployment = progressed(one("STARTING"), seen("loading"), NOW)
    assert progressed(deployment, seen("loading"), NOW + 9) is deployment


# Load


def report(gateway: str, *loads: tuple[str, int, float]) -> LoadReport:
    given = tuple(EndpointLoad(endpoint_id=endpoint, in_flight=n, idle_s=idle) for endpoint, n, idle in loads)
    return LoadReport(gateway_id=gateway, number=1, loads=given)


def test_the_load_of_an_endpoint_is_what_all_gateways_have_there() -> None:
    loads = Loads(60.0)
    loads.take(report("g", ("e", 2, 0.0), ("f", 1, 0.0)), 100.0)
    loads.take(report("h", ("e", 3, 0.0)), 101.0)
    assert [loads.of(endpoint, 110.0).in_flight for endpoint in ("e", "f", "other")] == [5, 1, 0]
    loads.take(report("g"), 111.0)
    assert [loads.of(endpoint, 111.0).in_flight for endpoint in ("e", "f")] == [3, 0]


def test_a_gateway_that_is_silent_for_a_minute_no_longer_counts() -> None:
    loads = Loads(60.0)
    loads.take(report("g", ("e", 2, 0.0)), 100.0)
    assert loads.of("e", 159.9).in_flight == 2
    assert loads.of("e", 160.0).in_flight == 0


@pytest.mark.parametrize(("in_flight", "idle", "used_at"), [(0, 30.0, 70.0), (1, 30.0, 100.0), (0, -5.0, 100.0)])
def test_a_report_says_when_an_endpoint_was_last_used(in_flight: int, idle: float, used_at: float) -> None:
    assert Loads(60.0).take(report("g", ("e", in_flight, idle)), 100.0) == {"e": used_at}


@pytest.mark.parametrize(("age_s", "unused_s", "in_flight", "expected"), [(50, 20, 0, 20), (20, 50, 0, 20), (50, 20, 1, 0)])
def test_idle_is_the_time_since_it_was_used_or_could_have_been(age_s: float, unused_s: float, in_flight: int, expected: float) -> None:
    assert idle_s(one("WARM", age_s=age_s, unused_s=unused_s), Load(in_flight=in_flight), NOW) == expected
