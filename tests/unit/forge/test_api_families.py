"""`/v1/model-families…` over HTTP: what runs, start it and wait, or do not wait, and stop it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from control_plane import FLEET, GB, LOCAL, NVIDIA, Plane, probed, started
from emberank.contract.fleet import EndpointLoad
from emberank.forge.launchers.fake import Script
from emberank.forge.targets import Pool
from stores import record
from wire import until

F = f"/v1/model-families/{NVIDIA}"
PIN = {"version": "v1", "gpu_type": "B200", "region": "us-central1"}


def test_what_does_not_run_is_cold(shared: Plane) -> None:
    answer = shared.get(f"{F}/status?version=v1").json
    assert (answer["slug"], answer["version"], answer["phase"], answer["endpoints"]) == (NVIDIA, "v1", "COLD", [])


def test_a_start_answers_when_the_model_is_warm_and_says_how_long_that_took(plane: Plane) -> None:
    answer = plane.warm(**PIN, run_until_stopped=False)
    assert {"slug": NVIDIA, **PIN, "was_cold_start": True, "keep_warm": False, "phase": "WARM"}.items() <= answer.items()
    assert answer["startup_ms"] >= 0
    again = plane.warm(**PIN)
    assert (again["was_cold_start"], again["startup_ms"]) == (False, None)


@pytest.mark.parametrize("body", [None, b"", {}, {"run_until_stopped": None, "gpu_type": None, "version": ""}])
def test_a_start_without_wishes_leaves_the_choice_to_the_scheduler(plane: Plane, body: Any) -> None:
    reply = plane.post(f"{F}/start", body) if body is not None else plane.ask("POST", f"{F}/start")
    assert reply.status == 200, reply.body
    assert (reply.json["version"], reply.json["gpu_type"]) == ("v1", "CPU")


def test_the_best_verified_target_is_started_when_none_is_named(launch: Any) -> None:
    plane = launch(samples=probed([186.0] * 10))
    assert plane.warm()["gpu_type"] == "B200"


def test_the_status_of_a_warm_model_says_since_when_and_until_when(plane: Plane) -> None:
    plane.warm(**PIN)
    answer = plane.get(f"{F}/status?version=v1").json
    (endpoint,) = answer["endpoints"]
    assert answer["phase"] == endpoint["phase"] == "WARM"
    assert (endpoint["version"], endpoint["gpu_type"], endpoint["region"], endpoint["keep_warm"], endpoint["queue_depth"]) == (*PIN.values(), False, 0)
    assert endpoint["since"].startswith("2027-01-15T0")
    assert endpoint["stops_at"] > "2027-01-15T08:14"
    assert 0 <= endpoint["idle_for_s"] < 20
    assert "invalid" not in str(answer)  # an endpoint's address is nobody's business
    assert plane.get(f"{F}/status?version=v2").json["endpoints"] == []
    assert plane.get(f"{F}/status?gpu_type=CPU").json["phase"] == "COLD"


def test_a_model_in_use_is_not_idle_and_its_queue_is_seen(plane: Plane) -> None:
    plane.warm(**PIN)
    endpoint = plane.get(f"{F}/status").json["endpoints"][0]["endpoint_id"]
    load = EndpointLoad(endpoint_id=endpoint, in_flight=4, idle_s=0.0)
    assert plane.as_gateway("POST", "/internal/report", {"gateway_id": "g", "number": 1, "loads": [_fields(load)]}).status == 200
    (found,) = plane.get(f"{F}/status").json["endpoints"]
    assert (found["queue_depth"], found["idle_for_s"]) == (4, 0.0)


def test_run_until_stopped_keeps_a_model_warm_and_another_start_does_not_end_that(plane: Plane) -> None:
    assert plane.warm(**PIN, run_until_stopped=True)["keep_warm"] is True
    assert plane.warm(**PIN, run_until_stopped=False)["keep_warm"] is True
    (endpoint,) = plane.get(f"{F}/status").json["endpoints"]
    assert (endpoint["keep_warm"], endpoint["stops_at"]) == (True, None)


def test_a_start_that_fails_is_refused_with_its_reason_and_when_to_try_again(launch: Any) -> None:
    plane = launch(pools=(Pool(target=LOCAL, memory_bytes=8 * GB, slots=1, launcher="fake"),))
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.0, fails=("weights_unavailable", "its weights need an accepted licence"))
    reply = plane.post(f"{F}/start", {})
    assert reply.status == 503
    assert "CPU in local (weights_unavailable): its weights need an accepted licence" in reply.message
    assert int(reply.headers["retry-after"]) >= 1
    answer = plane.get(f"{F}/status?version=v1").json
    assert answer["phase"] == "FAILED"
    (endpoint,) = answer["endpoints"]
    assert (endpoint["reason"], endpoint["failures"]) == ("weights_unavailable", 1)
    assert endpoint["message"] == "its weights need an accepted licence"
    assert endpoint["retry_in_s"] is not None


def test_a_start_that_takes_longer_than_its_caller_waits_goes_on(launch: Any) -> None:
    plane = launch()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=3600.0)
    reply = plane.ask("POST", f"{F}/start", {}, {"X-Request-Timeout": "0.2"})
    assert reply.status == 504
    assert f"GET {F}/status?version=v1" in reply.message
    answer = plane.get(f"{F}/status").json
    assert answer["phase"] == "STARTING"
    assert answer["endpoints"][0]["progress"]["step"] == "loading"


def test_progress_and_a_usual_time_are_told_while_weights_are_fetched(launch: Any) -> None:
    plane = launch(samples=started([20_000.0], LOCAL))
    plane.launcher.scripts[NVIDIA] = Script(fetches=((0.0, 37),))
    plane.ask("POST", f"{F}/start", {}, {"Prefer": "respond-async"})
    until(lambda: plane.get(f"{F}/status").json["endpoints"][0]["progress"] is not None, "there is progress")
    (endpoint,) = plane.get(f"{F}/status").json["endpoints"]
    assert {"step": "fetching", "done_bytes": 37, "total_bytes": 100, "percent": 37.0}.items() <= endpoint["progress"].items()
    assert (endpoint["usual_cold_start_ms"], endpoint["usual_cold_start_n"]) == (20_000.0, 1)


def test_a_caller_who_does_not_want_to_wait_is_told_where_to_look(launch: Any) -> None:
    plane = launch()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.3)
    reply = plane.ask("POST", f"{F}/start", PIN, {"Prefer": "respond-async"})
    assert reply.status == 202
    assert reply.headers["preference-applied"] == "respond-async"
    assert reply.headers["location"] == reply.json["status_url"] == f"{F}/status?version=v1"
    assert (reply.json["phase"], reply.json["was_cold_start"], reply.json["startup_ms"]) == ("STARTING", True, None)
    plane.until_phase("WARM")
    assert plane.ask("POST", f"{F}/start", PIN, {"Prefer": "respond-async"}).status == 200  # there is nothing to wait for


@pytest.mark.parametrize(("ready_after_s", "status"), [(0.0, 200), (3600.0, 202)])
def test_a_caller_may_say_how_long_to_wait_before_202(launch: Any, ready_after_s: float, status: int) -> None:
    plane = launch()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=ready_after_s)
    assert plane.ask("POST", f"{F}/start", {}, {"Prefer": f"respond-async, wait={1 if status == 202 else 10}"}).status == status


def test_a_herd_of_starts_is_one_start(plane: Plane) -> None:
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=1)  # long enough for all of them to have come
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: plane.warm(), range(32)))
    assert len(plane.launcher.launches) == 1
    assert all(answer["was_cold_start"] for answer in answers)


def test_a_client_that_hangs_up_does_not_stop_what_it_started(launch: Any) -> None:
    plane = launch()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.3)
    with plane.raw() as sock:
        sock.sendall(f"POST {F}/start HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {FLEET}\r\nContent-Length: 0\r\n\r\n".encode())
        until(lambda: plane.phase() == "STARTING", "it is being started")
    plane.until_phase("WARM")


def test_a_stop_drains_and_frees_and_says_what_it_stopped(plane: Plane) -> None:
    plane.warm(**PIN, run_until_stopped=True)
    plane.warm(version="v1", gpu_type="CPU")
    answer = plane.post(f"{F}/stop", {"gpu_type": "B200"}).json
    assert [(one["version"], one["gpu_type"]) for one in answer["stopped"]] == [("v1", "B200")]
    until(lambda: len(plane.get(f"{F}/status").json["endpoints"]) == 1, "one is left")
    assert plane.get(f"{F}/status").json["endpoints"][0]["gpu_type"] == "CPU"
    plane.post(f"{F}/stop", {})
    plane.until_phase("COLD")
    assert plane.launcher.alive == {}
    nothing = plane.post(f"{F}/stop", {}).json
    assert (nothing["stopped"], nothing["message"]) == ([], "nothing of it was running")


def test_a_pin_to_a_target_that_is_not_here_says_why_and_names_the_alternatives(shared: Plane) -> None:
    reply = shared.post(f"{F}/start", {"gpu_type": "H200", "region": "eu-north2"})
    assert reply.status == 409
    assert "no pool here provides H200 in eu-north2" in reply.message
    assert "B200 in us-central1 (v1, works)" in reply.message


def test_a_model_that_fits_nowhere_is_refused_with_the_numbers(shared: Plane) -> None:
    reply = shared.post("/v1/model-families/huge/start", {})
    assert reply.status == 503
    assert "900.0 GB" in reply.message


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"gpu_type": "Z9000"}, 404, "known: CPU, B200, H200"),
        ({"version": "v9"}, 404, "known versions: v1, v2"),
        ({"run_until_stopped": "yes"}, 400, "run_until_stopped must be true or false"),
        ({"gpu": "B200"}, 400, "gpu: unknown field"),
        ({"version": 1}, 400, "version must be a string"),
        ([], 400, "must be a JSON object"),
        (b"{", 400, "not valid JSON"),
        ({"version": "v1", "model_version": "v2"}, 400, "one of the two"),
    ],
)
def test_a_wrong_start_is_refused_before_anything_is_started(shared: Plane, body: Any, status: int, says: str) -> None:
    reply = shared.post(f"{F}/start", body)
    assert reply.status == status
    assert says in reply.message
    assert shared.launcher.launches == []


def test_a_budget_that_is_used_up_starts_nothing(plane: Plane) -> None:
    header = plane.key("inference", monthly_usd=1.0)
    key_id = next(row["key_id"] for row in plane.get("/v1/keys").json["data"] if row["name"] == "some one")
    assert plane.ask("POST", f"{F}/start", {}, header).status == 200
    plane.do(lambda: plane.keys.spend([record(key_id=key_id, at_s=plane.wall_s, cost_usd=2.0)]))
    reply = plane.ask("POST", f"{F}/start", {}, header)
    assert reply.status == 429
    assert "monthly budget of 1 USD" in reply.message
    assert int(reply.headers["retry-after"]) > 0


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
