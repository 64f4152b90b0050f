"""Values as JSON: times in UTC, phases of many as one, sums that add up, and nothing that is not for callers."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from emberank.contract.errors import BadRequest
from emberank.forge.answers import endpoint_status, failure_of, message_of, phase_of, started, usage_rows, usage_total, written
from emberank.forge.deployments import Deployment, Key, Progress
from emberank.forge.launchers.base import Running
from emberank.forge.moments import iso, moment
from emberank.forge.store.usage import UsageHour

NOW, WALL_S = 1000.0, 1_800_000_000.0
KEY = Key("tiny", "v1", "CPU", "local")
RUNNING = Running(id="e1", launcher="fake", url="http://127.0.0.1:4711", secret="s3cret", log_file="/var/log/e1.log", pid=4)


def deployment(**changed: Any) -> Deployment:
    values: dict[str, Any] = {"key": KEY, "phase": "WARM", "since": NOW - 60, "last_used": NOW - 20, "endpoint": RUNNING, "started_at": NOW - 63}
    return Deployment(**{**values, **changed})


def status(one: Deployment, in_flight: int = 0, eta_s: float | None = None) -> dict[str, Any]:
    return endpoint_status(one, in_flight, eta_s, 900.0, NOW, WALL_S)


@pytest.mark.parametrize(
    ("at_s", "text"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00Z"),
        (WALL_S, "2027-01-15T08:00:00Z"),
        (WALL_S + 0.25, "2027-01-15T08:00:00.250Z"),
        (-5.0, "1970-01-01T00:00:00Z"),
    ],
)
def test_times_are_written_in_utc(at_s: float | None, text: str | None) -> None:
    assert iso(at_s) == text


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("2027-01-15", WALL_S - 8 * 3600),
        ("2027-01-15T08:00:00", WALL_S),
        ("2027-01-15T08:00:00Z", WALL_S),
        ("2027-01-15T09:00:00+01:00", WALL_S),
        ("2027-01-15T09:00:00 01:00", WALL_S),
    ],
)
def test_times_are_read_with_or_without_a_zone(text: str, at_s: float) -> None:
    assert moment(text, "from") == at_s


@pytest.mark.parametrize("value", ["", "soon", "2027-13-01", 5, None, "1969-12-31", "3500-01-01", "9999-12-31T23:59:59-14:00"])
def test_what_is_no_time_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(BadRequest, match="from must be"):
        moment(value, "from")


@pytest.mark.parametrize(
    ("phases", "one"),
    [
        ([], "COLD"),
        (["WARM", "FAILED"], "WARM"),
        (["STARTING", "DRAINING"], "STARTING"),
        (["FAILED", "DRAINING"], "DRAINING"),
        (["FAILED"], "FAILED"),
        (["COLD"], "COLD"),
    ],
)
def test_many_phases_are_one(phases: list[Any], one: str) -> None:
    assert phase_of([deployment(phase=phase) for phase in phases]) == one


def test_a_warm_endpoint_says_how_long_it_is_idle_and_when_it_stops() -> None:
    row = status(deployment())
    assert (row["phase"], row["since"], row["idle_for_s"], row["stops_at"]) == ("WARM", "2027-01-15T07:59:00Z", 20.0, "2027-01-15T08:14:40Z")
    assert (row["reason"], row["progress"], row["retry_in_s"]) == (None, None, None)


def test_an_endpoint_in_use_or_kept_warm_has_no_end() -> None:
    assert (status(deployment(), in_flight=2)["idle_for_s"], status(deployment(), in_flight=2)["queue_depth"]) == (0.0, 2)
    assert status(deployment(keep_warm=True))["stops_at"] is None


def test_one_that_is_overdue_stops_now_and_not_in_the_past() -> None:
    assert status(deployment(last_used=NOW - 5000, since=NOW - 5000))["stops_at"] == iso(WALL_S)


def test_a_start_says_how_far_it_is() -> None:
    progress = Progress(step="fetching", done=37, total=100, moved_at=NOW, counts_from=NOW)
    row = status(deployment(phase="STARTING", progress=progress), eta_s=12.34)
    assert row["progress"] == {"step": "fetching", "done_bytes": 37, "total_bytes": 100, "percent": 37.0, "took_s": 60.0}
    assert (row["eta_s"], row["idle_for_s"], row["stops_at"]) == (12.3, None, None)
    unknown = Progress(step="loading", moved_at=NOW, counts_from=NOW)
    assert status(deployment(phase="STARTING", progress=unknown))["progress"]["percent"] is None
    assert status(deployment(phase="STARTING", started_at=None))["message"] == "it waits until there is room for it"


def test_a_failure_says_why_and_when_to_try_again() -> None:
    one = deployment(phase="FAILED", reason="out_of_memory", message="", failures=2, retry_at=NOW + 7.5)
    row = status(one)
    assert (row["reason"], row["failures"], row["retry_in_s"]) == ("out_of_memory", 2, 7.5)
    assert row["message"] == message_of(one) == "it does not fit into the memory there"
    error = failure_of(one, NOW)
    assert error.message == "tiny v1 could not be started on CPU in local (out_of_memory): it does not fit into the memory there"
    assert error.retry_after_s == 7.5


def test_no_answer_tells_an_endpoint_s_address_secret_process_or_files() -> None:
    text = written([status(deployment()), started(deployment(), was_cold=True)]).decode()
    for private in ("4711", "s3cret", "/var/log", "pid"):
        assert private not in text


def test_a_cold_start_says_how_long_it_took_and_a_warm_one_nothing() -> None:
    assert started(deployment(startup_ms=1234.56), was_cold=True)["startup_ms"] == 1234.6
    assert started(deployment(startup_ms=1234.56), was_cold=False)["startup_ms"] is None
    assert started(deployment(phase="STARTING", startup_ms=None), was_cold=True)["startup_ms"] is None


def hour(**changed: Any) -> UsageHour:
    values: dict[str, Any] = {"hour_s": int(WALL_S), "key_id": "k", "slug": "tiny", "version": "v1", "gpu_type": "CPU", "region": "local"}
    sums = {"requests": 1, "errors": 0, "tokens": 10, "passages": 3, "model_ms": 0.1, "cost_usd": 0.1}
    return UsageHour(**{**values, **sums, **changed})


def test_hours_add_up_to_days_and_days_to_a_total() -> None:
    hours = [hour(), hour(hour_s=int(WALL_S) + 3600), hour(hour_s=int(WALL_S) - 86_400), hour(key_id="a")]
    rows = usage_rows(hours, 86_400)
    assert [(row["start"], row["key_id"], row["requests"]) for row in rows] == [
        ("2027-01-14T00:00:00Z", "k", 1),
        ("2027-01-15T00:00:00Z", "a", 1),
        ("2027-01-15T00:00:00Z", "k", 2),
    ]
    assert rows[2]["cost_usd"] == 0.2
    assert usage_total(rows) == {"requests": 4, "errors": 0, "tokens": 40, "passages": 12, "model_ms": 0.4, "cost_usd": 0.4}
    assert usage_total([])["requests"] == 0


def test_text_that_is_not_unicode_is_written_all_the_same() -> None:
    assert orjson.loads(written({"message": "caf\udce9", "rows": [("\udce9", 1)]})) == {"message": "caf?", "rows": [["?", 1]]}
