"""`/v1/probes`, `/v1/schedules` and `/v1/targets` over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import NVIDIA, Plane
from emberank.forge.launchers.fake import Script
from wire import until

PIN = {"gpu_type": "B200", "region": "us-central1"}


def done(plane: Plane, probe_id: str) -> Any:
    until(lambda: plane.get(f"/v1/probes/{probe_id}").json["state"] in ("done", "failed"), "the probe is over")
    return plane.get(f"/v1/probes/{probe_id}").json


def test_a_probe_verifies_a_target(plane: Plane) -> None:
    reply = plane.post("/v1/probes", {"slug": NVIDIA, **PIN})
    assert reply.status == 202
    assert reply.headers["location"] == f"/v1/probes/{reply.json['id']}"
    found = done(plane, reply.json["id"])
    assert (found["state"], found["samples"], found["reason"], found["model_version"], found["gpu_type"]) == ("done", 6, None, "v1", "B200")
    assert found["asked_at"] == found["ended_at"] == "2027-01-15T08:00:00Z"
    answer = plane.get(f"/v1/models/{NVIDIA}/reliability?gpu_type=B200").json
    assert (answer["supported_rows"], answer["fastest_supported_target"]["model_ms_p50"]) == (1, 35.0)


def test_a_target_that_is_being_probed_awaits_its_probe(plane: Plane) -> None:
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=3600.0)
    plane.post("/v1/probes", {"model": "nvidia/llama-3.2-nv-rerankqa-1b-v2", "version": "v1", **PIN})
    rows = plane.get(f"/v1/models/{NVIDIA}/reliability").json["rows"]
    assert {row["gpu_type"]: row["status"] for row in rows} == {"B200": "awaiting probe", "CPU": "not probed", "H200": "unavailable"}


def test_a_probe_that_fails_says_why(plane: Plane) -> None:
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.0, fails=("out_of_memory", "it needed more than there is"))
    found = done(plane, plane.post("/v1/probes", {"slug": NVIDIA, **PIN}).json["id"])
    assert (found["state"], found["reason"], found["message"]) == ("failed", "out_of_memory", "it needed more than there is")


def test_probes_are_listed_newest_first_and_by_model(plane: Plane) -> None:
    ids = [plane.post("/v1/probes", {"slug": slug}).json["id"] for slug in (NVIDIA, "tiny-embed")]
    assert [one["id"] for one in plane.get("/v1/probes").json["data"]] == ids[::-1]
    assert [one["id"] for one in plane.get("/v1/probes?model=acme/tiny-embed").json["data"]] == [ids[1]]
    assert plane.get("/v1/probes/p999999").status == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 400, "name one model"),
        ({"slug": "a", "model": "b"}, 400, "name one model"),
        ({"slug": "what-is-this"}, 404, "what-is-this"),
        ({"slug": NVIDIA, "version": "v9"}, 404, "v1, v2"),
        ({"slug": NVIDIA, "gpu_type": "H200"}, 409, "no pool here provides H200"),
        ({"slug": "huge"}, 409, "900"),
        ({"slug": NVIDIA, "cold": "yes"}, 400, "cold must be true or false"),
        ({"slug": NVIDIA, "times": 5}, 400, "times: unknown field"),
    ],
)
def test_a_probe_that_cannot_be_is_refused(shared: Plane, body: dict[str, Any], status: int, says: str) -> None:
    reply = shared.post("/v1/probes", body)
    assert reply.status == status
    assert says in reply.message


def test_a_schedule_is_kept_until_it_is_removed_and_says_when_it_is_due(plane: Plane) -> None:
    reply = plane.post("/v1/schedules", {"slug": NVIDIA, "kind": "prewarm", "cron": "45  7 * * MON-FRI", **PIN})
    assert reply.status == 201
    one = reply.json
    assert (one["kind"], one["cron"], one["slug"], one["gpu_type"], one["model_version"]) == ("prewarm", "45 7 * * MON-FRI", NVIDIA, "B200", None)
    assert one["next_at"] == "2027-01-18T07:45:00Z"  # the 15th is a Friday, and it is past eight
    assert reply.headers["location"] == f"/v1/schedules/{one['id']}"
    assert plane.get("/v1/schedules").json["data"] == [one]
    assert plane.ask("DELETE", f"/v1/schedules/{one['id']}").status == 200
    assert plane.get("/v1/schedules").json["data"] == []
    assert plane.ask("DELETE", f"/v1/schedules/{one['id']}").status == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"slug": NVIDIA}, 400, "cron: missing field"),
        ({"slug": NVIDIA, "cron": "every day"}, 400, "minute, hour, day of month"),
        ({"slug": NVIDIA, "cron": "0 0 30 2 *"}, 400, "day-of-month"),
        ({"slug": NVIDIA, "cron": "0 7 * * *", "kind": "stop"}, 400, "'prewarm', 'probe'"),
        ({"cron": "0 7 * * *"}, 400, "name one model"),
        ({"slug": "huge", "cron": "0 7 * * *"}, 409, "900"),
        ({"slug": NVIDIA, "cron": "0 7 * * *", "gpu_type": "Z9"}, 404, "known: CPU, B200, H200"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(shared: Plane, body: dict[str, Any], status: int, says: str) -> None:
    reply = shared.post("/v1/schedules", body)
    assert reply.status == status
    assert says in reply.message


def test_the_targets_say_what_is_free_and_what_an_hour_costs(plane: Plane) -> None:
    plane.warm(**PIN)
    answer = plane.get("/v1/targets").json
    cpu, b200 = answer["data"]
    assert (cpu["gpu_type"], cpu["region"], cpu["slots"], cpu["free_slots"], cpu["memory_bytes"], cpu["free_memory_bytes"]) == (
        "CPU",
        "local",
        3,
        3,
        8 * 10**9,
        8 * 10**9,
    )
    assert (b200["free_slots"], b200["free_memory_bytes"]) == (1, 357 * 10**9)
    assert b200["price"] == {"usd_per_hour": 7.15, "source": "a list", "date": "2026-11-01"}
    assert [(one["slug"], one["phase"]) for one in b200["endpoints"]] == [(NVIDIA, "WARM")]
    assert answer["prices"] == [{"gpu_type": "H200", "region": None, "usd_per_hour": 4.5, "source": "a list", "date": "2026-11-01"}]
    hidden = plane.get("/v1/targets", plane.key("read", models=["tiny-embed"])).json["data"][1]
    assert (hidden["free_slots"], hidden["endpoints"]) == (1, [])


def test_targets_are_filtered_as_everything_is(shared: Plane) -> None:
    assert [row["gpu_type"] for row in shared.get("/v1/targets?gpu_type=b200").json["data"]] == ["B200"]
    of_h200 = shared.get("/v1/targets?gpu_type=H200").json
    assert (of_h200["data"], len(of_h200["prices"])) == ([], 1)
    unknown = shared.get("/v1/targets?region=mars")
    assert unknown.status == 404
    assert "local, us-central1" in unknown.message
