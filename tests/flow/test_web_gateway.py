"""Pages through a gateway, over real sockets: a real forge with real sessions, a real runtime behind both. Streams of events, and inference by session."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import control_plane
from browser import Browser
from control_plane import ADMIN, FLEET, Plane
from emberank.forge.catalog import Model, Version
from emberank.forge.launchers.base import Observed, Running
from emberank.forge.launchers.fake import FakeLauncher
from emberank.forge.web import live
from emberank.gateway.process import GatewayProcess
from emberank.serving.listener import bind
from emberank.settings import GatewaySettings
from event_streams import opened_stream
from signal_loop import SignalLoop
from wire import WAIT_S, Client, Reply, read, until

SLUG, OWN = "tiny-rank", "own-rank"
RERANKER = "acme/tiny-rank.v2"  # of the runtime in conftest.py
PAGE, NATIVE = f"/web/api/v1/inference/{SLUG}", f"/v1/inference/{SLUG}"
BODY = {"query": {"text": "which way?"}, "passages": [{"text": "two roads"}, {"text": "the ice"}]}


def _model(slug: str, **more: Any) -> Model:
    version = Version(name="v1", source="file:nowhere", memory_gb=0.1)
    return Model(**{"slug": slug, "id": RERANKER, "title": slug, "description": "A reranker.", "task": "rank", "versions": (version,)} | more)


MODELS = (_model(SLUG), _model(OWN, id="own/rank", source="yours"))


class Door:
    """A gateway in a thread of its own."""

    def __init__(self, folder: Path, forge_port: int, **settings: Any) -> None:
        values = {"port": 0, "data_dir": str(folder), "forge_url": f"http://127.0.0.1:{forge_port}", "fleet_token": FLEET, "usage_flush_s": 0.02}
        self.process = GatewayProcess(GatewaySettings(**values | {"shutdown_grace_s": WAIT_S * 2} | settings))
        listener = bind(self.process.settings)
        self.port: int = listener.getsockname()[1]
        self._loop = SignalLoop()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="gateway")
        self._thread.start()
        until(lambda: self.process.gateway.view.ready or not self._thread.is_alive(), "the gateway has heard of the forge")

    def _run(self, listener: Any) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self.process.serve(listener))

    def stop(self) -> None:
        """As at a SIGTERM. Fails when it waits for anything that has no end."""
        if self._thread.is_alive():
            self._loop.signals[signal.SIGTERM]()
            self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the gateway did not end"


@dataclass
class Scene:
    """A forge, a gateway in front of it, and a browser that knows the gateway only."""

    plane: Plane
    door: Door
    browser: Browser

    def key(self, **rights: Any) -> dict[str, Any]:
        made = self.plane.post("/v1/keys", {"name": "pages", "scopes": ["inference", "read"], **rights})
        assert made.status == 201, made.body
        answer: dict[str, Any] = made.json
        until(lambda: self.door.process.gateway.view.keys.of(answer["key_id"]) is not None, "the gateway knows the key")
        return answer

    def infer(self, path: str = PAGE, body: object = None, **headers: str) -> Reply:
        """As a page's script sends it."""
        own = {"X-CSRF-Token": self.browser.csrf, "Origin": self.browser.home, "Sec-Fetch-Site": "same-origin"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.browser.post(path, BODY if body is None else body, {name: value for name, value in (own | given).items() if value})

    def usage(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.plane.get("/v1/usage").json["data"]
        return rows


@pytest.fixture
def scene(tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """The forge's endpoints are the runtime of these tests; nobody is signed in."""

    class Pointing(FakeLauncher):
        def look(self, running: Running) -> Observed:
            seen = super().look(running)
            return replace(seen, url=f"http://127.0.0.1:{server.port}") if seen.state == "ready" else seen

    monkeypatch.setattr(control_plane, "FakeLauncher", Pointing)
    (tmp_path / "forge").mkdir()
    with contextlib.ExitStack() as stack:
        plane = Plane(tmp_path / "forge", models=MODELS)
        stack.callback(plane.stop)
        plane.wall_s = time.time()  # the gateway's months are the real ones
        door = Door(tmp_path, plane.port)
        stack.callback(door.stop)
        plane.warm(SLUG)
        until(lambda: door.process.gateway.view.places.endpoints() != (), "the gateway knows the endpoint")
        yield Scene(plane, door, Browser(door.port))


# --- inference by session


def test_a_page_infers_by_its_session_and_it_is_billed_once_to_the_key_behind_it(scene: Scene) -> None:
    made = scene.key()
    scene.browser.sign_in(made["key"])
    page, native = scene.infer(), Client(scene.door.port).post(NATIVE, BODY, {"Authorization": f"Bearer {ADMIN}"})
    assert (page.status, page.json["rankings"]) == (200, native.json["rankings"])
    assert page.headers["x-emberank-target"] == native.headers["x-emberank-target"]
    assert float(page.headers["x-emberank-model-ms"]) > 0
    until(lambda: len(scene.usage()) == 2, "both are reported")
    counted = {row["key_id"]: row["requests"] for row in scene.usage()}
    assert counted[made["key_id"]] == 1
    assert sum(counted.values()) == 2
    label = "/web/api/v1/inference/{slug}"
    assert Client(scene.door.port).metric("emberank_requests_total", route=label, status="200") == 1


def test_a_cold_model_is_held_for_and_started_by_a_page_too(scene: Scene) -> None:
    scene.plane.post(f"/v1/model-families/{SLUG}/stop", {})
    scene.plane.until_phase("COLD", SLUG)
    until(lambda: scene.door.process.gateway.view.places.endpoints() == (), "the gateway knows that nothing runs")
    scene.browser.sign_in(scene.key()["key"])
    reply = scene.infer()
    assert (reply.status, float(reply.headers["x-emberank-cold-start-ms"]) > 0) == (200, True)
    assert scene.plane.phase(SLUG) == "WARM"


@pytest.mark.parametrize(
    ("headers", "status", "says"),
    [
        ({"Cookie": "none=1"}, 401, "sign in at /signin"),
        ({"Cookie": f"emberank_session={ADMIN}"}, 401, "sign in at /signin"),
        ({"Cookie": "none=1", "Authorization": f"Bearer {ADMIN}"}, 401, "sign in at /signin"),
        ({"X_CSRF_Token": ""}, 403, "load it anew"),
        ({"X_CSRF_Token": "wrong"}, 403, "load it anew"),
        ({"Origin": "https://evil.example", "Sec_Fetch_Site": ""}, 403, "not sent by a page"),
        ({"Sec_Fetch_Site": "cross-site"}, 403, "not sent by a page"),
        ({"Sec_Fetch_Site": "same-site"}, 403, "not sent by a page"),
    ],
)
def test_what_no_page_of_a_signed_in_visitor_sent_is_refused(scene: Scene, headers: dict[str, str], status: int, says: str) -> None:
    scene.browser.sign_in(scene.key()["key"])
    reply = scene.infer(**headers)
    assert (reply.status, says in reply.message) == (status, True), reply.body


@pytest.mark.parametrize("way", ["revoked", "expired", "signed out"])
def test_a_session_that_has_ended_meanwhile_infers_nothing_and_says_what_to_do(scene: Scene, way: str) -> None:
    made = scene.key()
    scene.browser.sign_in(made["key"])
    cookies, token = dict(scene.browser.cookies), scene.browser.csrf
    assert scene.infer().status == 200
    if way == "revoked":
        assert scene.plane.ask("DELETE", f"/v1/keys/{made['key_id']}").status == 200
    elif way == "expired":
        scene.plane.wall_s += scene.plane.settings.web_session_idle_s + 1
    else:
        assert scene.browser.send("/signout", {}).status == 303
    scene.browser.cookies, scene.browser.csrf = cookies, token
    reply = scene.infer()
    assert (reply.status, "sign in" in reply.message) == (401, True)


@pytest.mark.parametrize(
    ("rights", "status", "says"),
    [({"scopes": ["read", "manage"]}, 403, "'inference'"), ({"models": [OWN]}, 403, "may not use the model")],
)
def test_a_session_may_what_its_key_may(scene: Scene, rights: dict[str, Any], status: int, says: str) -> None:
    scene.browser.sign_in(scene.key(**rights)["key"])
    reply = scene.infer()
    assert (reply.status, says in reply.message) == (status, True)


def test_a_budget_that_the_page_has_used_up_is_used_up_for_page_and_key(scene: Scene) -> None:
    made = scene.key(monthly_tokens=1)
    scene.browser.sign_in(made["key"])
    assert scene.infer().status == 200
    refused = scene.infer()
    assert (refused.status, "monthly budget" in refused.message, "retry-after" in refused.headers) == (429, True, True)
    assert Client(scene.door.port).post(NATIVE, BODY, {"Authorization": f"Bearer {made['key']}"}).status == 429


def test_a_cookie_is_no_key_and_the_page_route_exists_at_the_gateway_only(scene: Scene) -> None:
    scene.browser.sign_in(ADMIN)
    for path in (NATIVE, "/v1/ranking", "/v1/rerank", f"/models/{SLUG}/v1/ranking"):
        reply = scene.infer(path)
        assert (reply.status, "API key" in reply.message) == (401, True)
    scene.browser.port = scene.plane.port
    assert scene.infer().status == 404


def test_what_is_wrong_with_a_body_is_said_as_on_the_native_route(scene: Scene) -> None:
    scene.browser.sign_in(ADMIN)
    for body in (b"{", {"query": {"text": "a"}}, {**BODY, "gpu_type": "B999"}):
        page, native = scene.infer(body=body), Client(scene.door.port).post(NATIVE, body, {"Authorization": f"Bearer {ADMIN}"})
        assert (page.status, page.message) == (native.status, native.message)
        assert page.status >= 400


def test_without_a_forge_a_page_cannot_infer_and_a_key_can(scene: Scene) -> None:
    scene.browser.sign_in(ADMIN)
    with _away(scene):
        reply = scene.infer()
        assert (reply.status, reply.message.startswith("the forge, which knows who is signed in")) == (503, True)
        assert int(reply.headers["retry-after"]) >= 1
        assert Client(scene.door.port).post(NATIVE, BODY, {"Authorization": f"Bearer {ADMIN}"}).status == 200
        page = scene.browser.get("/status", {"Accept": "text/html"})
        assert (page.status, b"Back in a moment" in page.body) == (503, True)
    assert scene.infer().status == 200


@contextlib.contextmanager
def _away(scene: Scene) -> Iterator[None]:
    """The gateway finds nobody where the forge is."""
    settings = scene.door.process.settings
    link = scene.door.process.gateway.relay._address.__self__  # type: ignore[attr-defined]
    nowhere = replace(settings, forge_url="http://127.0.0.1:1")
    link._settings = nowhere
    try:
        yield
    finally:
        link._settings = settings


# --- streams of events


def test_events_come_through_the_gateway_one_by_one_while_they_happen(scene: Scene) -> None:
    with opened_stream(scene.browser, f"/web/events?model={SLUG}") as stream:
        assert stream.next("phases").data == {"phases": {SLUG: "WARM"}}
        assert stream.next("model").data["phase"] == "WARM"
        scene.plane.post(f"/v1/model-families/{SLUG}/stop", {})
        stream.until("phases", lambda data: data == {"phases": {}})
        assert stream.until("model", lambda data: data["phase"] == "COLD")["slug"] == SLUG
        scene.plane.warm(SLUG)
        stream.until("model", lambda data: data["phase"] == "WARM")


def test_a_stream_knows_its_visitor_through_the_gateway(scene: Scene) -> None:
    scene.plane.warm(OWN)
    with opened_stream(scene.browser) as stream:
        assert stream.next("phases").data == {"phases": {SLUG: "WARM"}}
    scene.browser.sign_in(ADMIN)
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in scene.browser.cookies.items())}
    with opened_stream(scene.browser, headers=cookie) as stream:
        assert stream.next("phases").data == {"phases": {SLUG: "WARM", OWN: "WARM"}}


def test_a_client_that_leaves_a_stream_at_the_gateway_frees_its_place_at_the_forge(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_EACH", 1)
    with opened_stream(scene.browser) as stream:
        stream.next("phases")
        refused = scene.browser.get("/web/events")
        assert (refused.status, refused.json["type"], "retry-after" in refused.headers) == (429, "limit_exceeded", True)

    def granted() -> bool:
        with contextlib.closing(scene.browser.connect()) as connection:
            connection.request("GET", "/web/events")
            response = connection.getresponse()
            if response.status != 200:
                read(response)
            response.close()
            return response.status == 200

    until(granted, "the place is free")


def test_a_gateway_that_is_stopped_does_not_wait_for_open_streams(scene: Scene) -> None:
    with opened_stream(scene.browser) as stream:
        stream.next("phases")
        scene.door.stop()
        assert stream.rest() == []


def test_a_forge_that_is_stopped_ends_the_streams_at_its_gateways(scene: Scene) -> None:
    with opened_stream(scene.browser) as stream:
        stream.next("phases")
        scene.plane.do(scene.plane.parts.snapshots.close)  # what a signal does first
        assert stream.rest() == []
