"""`emberank up` as a person meets it: a model is found, checked, estimated, warmed and asked; it goes cold; things are killed, and nothing is lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from acceptance_environment import environment
from browser import Browser
from page_scripts import SLUG, run_script
from small_installation import TINY_RANK
from stores import PostgresServer
from tinybert import write_checkpoint
from up_process import KEY, Authorized, Up, phase
from wire import WAIT_S, Client, until

TINY = "tiny-rank"
ASK = {"query": {"text": "which way should i go"}, "passages": [{"text": "the road in the snow"}, {"text": "red hot ice"}]}
# The page's slug with weights that can be had here, and machines that call themselves what the page's scripts pin.
MODELS = """
[[model]]
extends = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
[[model.version]]
name = "v1"
source = "file:{folder}"
memory_gb = 0.2

[[model]]
slug = "nowhere"
id = "tests/nowhere"
title = "Nowhere"
description = "Weights that are not there."
task = "rank"
[[model.version]]
name = "v1"
source = "file:{folder}-missing"
memory_gb = 0.2

[[model]]
slug = "huge"
id = "tests/huge"
title = "Huge"
description = "More than fits."
task = "rank"
[[model.version]]
name = "v1"
source = "file:{folder}"
memory_gb = 900
"""
POOLS = """
[[pool]]
gpu_type = "CPU"
region = "local"
memory_gb = 4
slots = 3
usd_per_hour = 0.36

[[pool]]
gpu_type = "B200"
region = "us-central1"
memory_gb = 24
slots = 2
"""

Launch = Callable[..., Up]


def _launcher(folder: Path) -> Iterator[Launch]:
    started: list[Up] = []
    weights = write_checkpoint(folder / "weights", ranks=True)

    def launch(*arguments: str, command: str = "up", **variables: str) -> Up:
        data = folder / "data"
        if not data.exists():
            data.mkdir(mode=0o700)
            (data / "models.toml").write_text((MODELS + TINY_RANK).format(folder=weights))
            (data / "pools.toml").write_text(POOLS)
        ours = {"EMBERANK_API_KEY": KEY, "EMBERANK_USAGE_FLUSH_S": "0.2", "EMBERANK_PROBE_AFTER_START": "no"} | variables
        started.append(Up(folder, environment(**ours), arguments, command))
        return started[-1]

    yield launch
    for one in started:
        one.end()


@pytest.fixture
def launch_up(tmp_path: Path) -> Iterator[Launch]:
    """Start an installation; the same test may start it again on the same data."""
    yield from _launcher(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Up]:
    """One installation that most tests share."""
    for launch in _launcher(tmp_path_factory.mktemp("up")):
        up = launch()
        up.ready()
        yield up


def warm(client: Client, slug: str = TINY, **body: object) -> Any:
    reply = client.post(f"/v1/model-families/{slug}/start", {"run_until_stopped": False, **body})
    assert reply.status == 200, reply.body
    return reply.json


# --- the page's own scripts, as they stand


@pytest.mark.parametrize("script", ["api-check", "warmup", "inference"])
def test_the_page_s_scripts_run_unmodified_for_the_page_s_own_slug_and_target(shared: Up, script: str) -> None:
    client = shared.ready()
    done = run_script(script, client.port, KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    if script == "api-check":
        route = json.loads(done.stdout)["routes"][0]
        assert (route["gpu_type"], route["region"], route["version"], route["method"]) == ("B200", "us-central1", "v1", "POST")
    if script == "warmup":
        assert done.stdout.startswith(SLUG)
        assert "on B200 in us-central1" in done.stdout
    if script == "inference":
        assert sorted(ranked["index"] for ranked in json.loads(done.stdout)["rankings"]) == [0, 1, 2]


def test_the_reliability_script_recommends_a_target_once_it_was_probed(shared: Up) -> None:
    client = shared.ready()
    asked = client.post("/v1/probes", {"slug": SLUG, "gpu_type": "B200", "region": "us-central1"})
    assert asked.status in (200, 201, 202), asked.body
    until(lambda: client.get(f"/v1/models/{SLUG}/reliability?gpu_type=B200").json["supported_rows"] == 1, "the probe made it a verified target", 60)
    done = run_script("reliability", client.port, KEY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "supported=1/1" in done.stdout
    assert "export FORGE_GPU_TYPE=B200 FORGE_REGION=us-central1" in done.stdout


@pytest.mark.parametrize("script", ["api-check", "warmup", "inference"])
def test_the_page_s_scripts_run_for_a_default_model_on_this_machine(shared: Up, script: str) -> None:
    done = run_script(script, shared.ready().port, KEY, slug="all-minilm-l6-v2-rerank", gpu_type="CPU", region="local")
    assert done.returncode == 0, done.stdout + done.stderr
    if script == "inference":
        assert [ranked["index"] for ranked in json.loads(done.stdout)["rankings"]] == [0, 2, 1]


@pytest.mark.parametrize("key", ["", "replace-with-your-forge-api-key"])
def test_the_scripts_refuse_a_placeholder_themselves_and_so_does_the_server(shared: Up, key: str) -> None:
    assert run_script("inference", 1, key).returncode == 1
    reply = Client(shared.ready().port).post("/v1/ranking", ASK, {"Authorization": f"Bearer {key}"})
    assert reply.status == 401
    assert "key" in reply.message


# --- one request's way


def test_a_cold_model_holds_the_request_until_it_is_warm_and_says_where_it_ran_and_what_it_cost(shared: Up) -> None:
    client = shared.ready()
    client.post(f"/v1/model-families/{TINY}/stop", {})
    until(lambda: phase(client, TINY) == "COLD", "it is cold")
    cold = client.post(f"/v1/inference/{TINY}", ASK)
    assert cold.status == 200, cold.body
    assert cold.headers["x-emberank-target"] in ("CPU/local", "B200/us-central1")
    assert float(cold.headers["x-emberank-cold-start-ms"]) > 0
    assert float(cold.headers["x-emberank-model-ms"]) > 0
    assert float(cold.headers["x-emberank-cost-usd"]) >= 0
    assert cold.headers["x-request-id"]
    again = client.post(f"/v1/inference/{TINY}", ASK)
    assert float(again.headers["x-emberank-cold-start-ms"]) == 0
    assert again.json == cold.json


def test_a_pin_is_followed_and_the_same_model_answers_on_every_route(shared: Up) -> None:
    client = shared.ready()
    pinned = client.post(f"/v1/inference/{TINY}", ASK | {"gpu_type": "B200", "region": "us-central1", "model_version": "v1"})
    assert pinned.headers["x-emberank-target"] == "B200/us-central1"
    for path, body in (("/v1/ranking", ASK | {"model": TINY}), ("/v1/retrieval/tests/tiny-rank/reranking", ASK)):
        assert client.post(path, body).json == pinned.json


def test_an_embedding_comes_through_the_gateway(shared: Up) -> None:
    reply = shared.ready().post("/v1/embeddings", {"model": "all-minilm-l6-v2", "input": ["hello"], "input_type": "query"})
    assert reply.status == 200, reply.body
    assert len(reply.json["data"][0]["embedding"]) == 384


BAD = {
    "unknown slug": ("/v1/inference/what-is-this", ASK, 404),
    "unknown version": (f"/v1/inference/{TINY}", ASK | {"model_version": "v9"}, 404),
    "unknown GPU": (f"/v1/inference/{TINY}", ASK | {"gpu_type": "Z9000", "region": "us-central1"}, 400),
    "unknown region": (f"/v1/inference/{TINY}", ASK | {"gpu_type": "B200", "region": "mars"}, 400),
    "no passages": (f"/v1/inference/{TINY}", {"query": {"text": "x"}, "passages": []}, 400),
    "not JSON": (f"/v1/inference/{TINY}", b"{", 400),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_answered_at_once_with_what_would_be_right(shared: Up, case: str) -> None:
    path, body, status = BAD[case]
    reply = shared.ready().post(path, body)
    assert reply.status == status, reply.body
    assert len(reply.message) > 10


def test_weights_that_cannot_be_had_are_a_clear_failure_and_no_hang(shared: Up) -> None:
    client = shared.ready()
    reply = client.post("/v1/inference/nowhere", ASK)
    assert reply.status == 503
    assert "retry-after" in reply.headers
    status = client.get("/v1/model-families/nowhere/status?version=v1").json
    assert status["phase"] == "FAILED"
    assert status["endpoints"][0]["reason"] == "weights_unavailable"
    assert str(shared.data.parent) not in reply.body.decode()


def test_a_start_that_would_not_fit_is_refused_with_the_numbers(shared: Up) -> None:
    reply = shared.ready().post("/v1/inference/huge", ASK)
    assert reply.status in (409, 503)
    assert "900" in reply.message


def test_the_estimate_of_a_request_is_near_what_it_costs(shared: Up) -> None:
    client = shared.ready()
    estimate = client.get(f"/v1/models/{SLUG}/run-estimate?model_version=v1&gpu_type=B200&region=us-central1")
    assert estimate.status == 200, estimate.body
    assert {"estimated_warm_request_ms", "estimated_warm_request_cost_usd", "estimated_cold_request_ms", "cost_per_gpu_hour_usd", "confidence"} <= set(
        estimate.json
    )


# --- keys


def test_a_key_may_do_what_it_says_until_it_is_revoked(shared: Up) -> None:
    admin = shared.ready()
    made = admin.post("/v1/keys", {"name": "reader", "scopes": ["read"]})
    assert made.status == 201, made.body
    reader = {"Authorization": f"Bearer {made.json['key']}"}
    assert admin.get(f"/v1/models/{TINY}", reader).status == 200
    refused = admin.post(f"/v1/inference/{TINY}", ASK, reader)
    assert refused.status == 403
    assert "inference" in refused.message
    listed = admin.get("/v1/keys")
    assert made.json["key"] not in listed.body.decode()
    assert KEY not in listed.body.decode()
    assert admin.ask("DELETE", f"/v1/keys/{made.json['key_id']}").status in (200, 204)
    until(lambda: admin.get(f"/v1/models/{TINY}", reader).status == 401, "the key is revoked")
    until(lambda: admin.post(f"/v1/inference/{TINY}", ASK, reader).status == 401, "the gateway knows it too")


def test_a_rate_is_kept_and_says_when_to_come_again(shared: Up) -> None:
    admin = shared.ready()
    made = admin.post("/v1/keys", {"name": "slow", "scopes": ["inference"], "requests_per_minute": 2}).json
    slow = {"Authorization": f"Bearer {made['key']}"}
    until(lambda: admin.post(f"/v1/inference/{TINY}", ASK, slow).status != 401, "the gateway knows the key")
    replies = [admin.post(f"/v1/inference/{TINY}", ASK, slow) for _ in range(4)]
    assert replies[-1].status == 429
    assert int(replies[-1].headers["retry-after"]) >= 1


# --- the life of an endpoint


def test_an_idle_endpoint_ends_and_its_memory_is_returned(launch_up: Launch) -> None:
    up = launch_up(EMBERANK_IDLE_AFTER_S="1")
    client = up.ready()
    assert client.post(f"/v1/inference/{TINY}", ASK).status == 200
    (runtime,) = up.runtimes()
    assert runtime.memory_info().rss > 20_000_000
    until(lambda: phase(client, TINY) == "COLD", "it went cold", 30)
    assert not psutil.pid_exists(runtime.pid) or runtime.status() == psutil.STATUS_ZOMBIE
    assert up.runtimes() == []
    assert client.post(f"/v1/inference/{TINY}", ASK).status == 200


def test_a_herd_on_a_cold_model_causes_one_start_and_is_answered_to_the_last(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(lambda _: client.post(f"/v1/inference/{TINY}", ASK).status, range(200)))
    assert statuses == [200] * 200
    assert len(up.runtimes()) == 1
    assert len(list((up.data / "logs").glob("*.log*"))) == 1


def test_a_runtime_killed_in_the_middle_of_requests_loses_none(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    warm(client)
    (runtime,) = up.runtimes()
    big = {"query": ASK["query"], "passages": [{"text": f"the road in the snow {i}"} for i in range(500)]}
    with ThreadPoolExecutor(16) as pool:
        replies = [pool.submit(client.post, f"/v1/inference/{TINY}", big) for _ in range(48)]
        until(lambda: any(reply.done() for reply in replies), "requests are running")
        runtime.kill()
        assert [reply.result().status for reply in replies] == [200] * 48


def test_with_the_forge_killed_the_gateway_serves_on_and_the_next_forge_adopts_what_runs(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    warm(client)
    (runtime,) = up.runtimes()
    forge = up.forge()
    forge.kill()
    assert client.post(f"/v1/inference/{TINY}", ASK).status == 200
    until(lambda: _another(up, forge.pid), "a new forge is up", 30)
    until(lambda: client.get(f"/v1/models/{TINY}").status == 200, "it answers", 30)
    assert phase(client, TINY) == "WARM"
    assert [process.pid for process in up.runtimes()] == [runtime.pid]
    assert client.post(f"/v1/inference/{TINY}", ASK).status == 200


def _another(up: Up, pid: int) -> bool:
    try:
        return up.forge().pid != pid
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


class Patient(Authorized):
    """A client that waits a minute."""

    def connect(self, timeout_s: float = 60.0) -> http.client.HTTPConnection:
        return super().connect(timeout_s)


def test_a_hung_runtime_is_found_out_and_replaced(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    warm(client)
    (runtime,) = up.runtimes()
    runtime.suspend()
    assert Patient(client.port).post(f"/v1/inference/{TINY}", ASK, {"X-Request-Timeout": "60"}).status == 200
    assert [process.pid for process in up.runtimes()] != [runtime.pid]


def test_after_sigterm_nothing_is_left_running_and_all_usage_is_kept(launch_up: Launch) -> None:
    up = launch_up(EMBERANK_USAGE_FLUSH_S="60")
    client = up.ready()
    assert [client.post(f"/v1/inference/{TINY}", ASK).status for _ in range(20)] == [200] * 20
    family = [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True), *up.runtimes()]
    assert up.stop() == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    again = launch_up()
    usage = again.ready().get("/v1/usage").json
    assert sum(row["requests"] for row in usage["data"]) == 20


def test_a_killed_up_leaves_orphans_that_the_next_one_adopts_or_ends(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    warm(client)
    (runtime,) = up.runtimes()
    forge = up.forge()
    up.process.kill()
    up.status()
    until(lambda: not forge.is_running() or forge.status() == psutil.STATUS_ZOMBIE, "the forge ends with its parent", 60)
    again = launch_up()
    client = again.ready()
    assert client.post(f"/v1/inference/{TINY}", ASK).status == 200
    assert len(again.runtimes()) == 1
    again.stop()
    assert again.runtimes() == []
    assert not psutil.pid_exists(runtime.pid)


def test_two_forges_on_one_data_folder_are_refused(launch_up: Launch) -> None:
    up = launch_up()
    up.ready()
    second = launch_up(command="forge")
    assert second.status() == 2
    lines = [line for line in second.stderr.splitlines() if line.startswith("emberank: ")]
    assert len(lines) == 1
    assert str(up.forge().pid) in lines[0]


def test_a_port_that_is_taken_is_said_at_once_and_nothing_stays_behind(launch_up: Launch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = launch_up("--port", str(taken.getsockname()[1]))
        assert up.status() == 2
        assert "cannot listen" in up.stderr


def test_the_first_key_is_shown_once_as_a_line_to_paste(launch_up: Launch) -> None:
    up = launch_up(EMBERANK_API_KEY="")
    client = up.ready()
    until(lambda: "export FORGE_API_KEY=" in up.stdout, "the key is shown")
    key = up.stdout.partition("export FORGE_API_KEY=")[2].split()[0].strip("'\"")
    assert client.get("/v1/models", {"Authorization": f"Bearer {key}"}).status == 200
    assert up.stop() == 0
    again = launch_up(EMBERANK_API_KEY="")
    again.ready()
    assert key not in again.stdout + again.stderr
    assert "export FORGE_API_KEY=" not in again.stdout
    everything = b"".join(path.read_bytes() for path in up.data.rglob("*") if path.is_file())
    assert key.encode() not in everything


def test_links_of_the_terminal_sign_a_browser_in_once_and_it_stays_so_when_the_forge_is_killed(launch_up: Launch, emberank: Any) -> None:
    up = launch_up()
    browser = Browser(up.ready().port)
    until(lambda: "/signin?token=" in up.stdout, "the link is shown")
    made = emberank("signin", "--data-dir", str(up.data))
    assert made.returncode == 0, made.stderr
    links = re.findall(rf"^(?:emberank: sign in once at )?{browser.home}/signin\?token=([\w-]{{43}})$", up.stdout + made.stdout, re.MULTILINE)
    assert len(links) == 2
    for token in links:
        assert b"Sign in as admin" in browser.get(f"/signin?token={token}").body
        assert [browser.send("/signin", {"token": token}).status for _ in range(2)] == [303, 410]
    assert browser.get("/account").status == 200
    assert browser.get("/v1/models").status == 401
    assert browser.post("/v1/ranking", {}).status == 401
    assert browser.get("/web/api/v1/keys").status == 200
    old = up.forge()
    old.kill()
    old.wait(WAIT_S)
    until(lambda: browser.get("/account").status == 200, "the next forge knows the session")
    assert browser.send("/signout", {}).status == 303
    assert browser.get("/account").status == 303
    assert up.stop() == 0
    assert not any(token in up.stderr for token in links)


def test_the_terminal_commands_work_beside_a_running_installation(launch_up: Launch, emberank: Any) -> None:
    up = launch_up()
    client = up.ready()
    made = emberank("key", "create", "--name", "from-terminal", "--scopes", "inference,read", "--data-dir", str(up.data))
    assert made.returncode == 0, made.stderr
    key = made.stdout.partition("export FORGE_API_KEY=")[2].strip()
    until(lambda: client.get("/v1/models", {"Authorization": f"Bearer {key}"}).status == 200, "the new key works")
    probed = emberank("probe", TINY, "--data-dir", str(up.data))
    assert probed.returncode == 0, probed.stderr
    assert "CPU" in probed.stdout
    listed = emberank("key", "list", "--data-dir", str(up.data))
    assert "from-terminal" in listed.stdout
    assert key not in listed.stdout


def test_gateway_and_forge_start_alone_and_find_each_other(launch_up: Launch) -> None:
    forge = launch_up(command="forge")
    forge.ready()
    gateway = launch_up(command="gateway")
    client = gateway.ready()
    until(lambda: client.post(f"/v1/inference/{TINY}", ASK).status == 200, "the gateway knows the forge", 30)
    assert gateway.stop() == 0
    assert forge.stop() == 0
    assert forge.runtimes() == []


def test_a_signal_in_the_middle_of_a_start_ends_everything(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    client.post(f"/v1/model-families/{TINY}/start", {}, {"Prefer": "respond-async"})
    up.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert up.status() == 0
    assert time.monotonic() - began < 60
    assert up.runtimes() == []
    assert os.path.exists(up.data)


# --- faults


def test_a_checkpoint_that_is_added_is_served_within_seconds(launch_up: Launch, emberank: Any, tmp_path: Path) -> None:
    up = launch_up()
    client = up.ready()
    folder = write_checkpoint(tmp_path / "My_Own Ranker", ranks=True, seed=11)
    added = emberank("add", str(folder), "--data-dir", str(up.data))
    assert added.returncode == 0, added.stderr
    assert "my-own-ranker" in added.stdout
    until(lambda: client.get("/v1/models/my-own-ranker").status == 200, "the forge has read it")
    until(lambda: client.post("/v1/inference/my-own-ranker", ASK).status == 200, "the gateway knows it too")


def test_a_start_that_never_becomes_ready_is_given_up_with_its_reason(launch_up: Launch) -> None:
    up = launch_up(EMBERANK_START_TIMEOUT_S="0.1")
    client = up.ready()
    reply = client.post(f"/v1/inference/{TINY}", ASK)
    assert reply.status == 503
    status = client.get(f"/v1/model-families/{TINY}/status?version=v1").json
    assert status["endpoints"][0]["reason"] == "start_timeout"
    until(lambda: up.runtimes() == [], "nothing of it is left")


def test_a_locked_database_holds_up_no_request_and_loses_no_usage(launch_up: Launch) -> None:
    up = launch_up()
    client = up.ready()
    warm(client)
    with contextlib.closing(sqlite3.connect(up.data / "emberank.db", isolation_level=None, timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert [client.post(f"/v1/inference/{TINY}", ASK).status for _ in range(10)] == [200] * 10
        other.execute("ROLLBACK")
    until(lambda: sum(row["requests"] for row in client.get("/v1/usage").json["data"]) == 10, "all of it is counted", 40)


def test_an_expired_key_is_refused_everywhere(shared: Up) -> None:
    admin = shared.ready()
    soon = datetime.fromtimestamp(time.time() + 1.5, UTC).isoformat()
    made = admin.post("/v1/keys", {"name": "short", "scopes": ["inference", "read"], "expires_at": soon})
    assert made.status == 201, made.body
    short = {"Authorization": f"Bearer {made.json['key']}"}
    until(lambda: admin.post(f"/v1/inference/{TINY}", ASK, short).status == 401, "it has expired")
    assert admin.get(f"/v1/models/{TINY}", short).status == 401
    assert "expired" in admin.post(f"/v1/inference/{TINY}", ASK, short).message


def test_a_budget_is_kept(shared: Up) -> None:
    admin = shared.ready()
    made = admin.post("/v1/keys", {"name": "poor", "scopes": ["inference"], "monthly_tokens": 10}).json
    poor = {"Authorization": f"Bearer {made['key']}"}
    until(lambda: admin.post(f"/v1/inference/{TINY}", ASK, poor).status != 401, "the gateway knows the key")
    until(lambda: admin.post(f"/v1/inference/{TINY}", ASK, poor).status == 429, "the budget is used up")
    assert "token" in admin.post(f"/v1/inference/{TINY}", ASK, poor).message


def test_a_pin_to_a_target_that_nothing_here_provides_says_why_and_what_else_there_is(shared: Up) -> None:
    reply = shared.ready().post(f"/v1/inference/{SLUG}", ASK | {"gpu_type": "H200", "region": "eu-north2"})
    assert 400 <= reply.status < 600
    assert "H200" in reply.message
    assert "B200" in reply.message


def test_everything_works_on_postgresql_too(launch_up: Launch, postgres: PostgresServer) -> None:
    url = postgres.new_schema()
    up = launch_up(EMBERANK_DATABASE_URL=url)
    client = up.ready()
    assert [client.post(f"/v1/inference/{TINY}", ASK).status for _ in range(3)] == [200] * 3
    until(lambda: sum(row["requests"] for row in client.get("/v1/usage").json["data"]) == 3, "usage is counted")
    assert not (up.data / "emberank.db").exists()
    assert up.stop() == 0
    again = launch_up(EMBERANK_DATABASE_URL=url)
    assert sum(row["requests"] for row in again.ready().get("/v1/usage").json["data"]) == 3
