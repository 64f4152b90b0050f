"""A page's stream: what it says, to whom, when it ends, and that it holds nothing when it has."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from browser import Browser
from control_plane import ADMIN, LOCAL, MODELS, NVIDIA, Plane
from emberank.forge.launchers.fake import Script
from emberank.forge.web import live
from event_streams import opened_stream
from wire import Client, Reply, until

Launch = Callable[..., Plane]
OWN = "tiny-embed"  # its source is its owner


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that nothing gives the signal for, twenty times a second."""
    monkeypatch.setattr(live, "LATER_S", 0.05)
    monkeypatch.setattr(live, "SOON_S", 0.05)


def cookie(browser: Browser) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}


def refused(client: Client, path: str, headers: dict[str, str] | None = None) -> Reply:
    return client.ask("GET", path, None, {"Accept": "text/event-stream", **(headers or {})})


def test_the_first_event_says_what_is_so_and_the_next_what_changed(plane: Plane, browser: Browser) -> None:
    with opened_stream(browser) as stream:
        first = stream.next()
        assert (first.name, first.data) == ("phases", {"phases": {}})
        assert stream.retry_ms > 0
        plane.warm()
        assert stream.until("phases", lambda data: data["phases"].get(NVIDIA) == "WARM") == browser.get("/web/phases").json
        plane.post(f"/v1/model-families/{NVIDIA}/stop", {})
        assert stream.until("phases", lambda data: NVIDIA not in data["phases"]) == {"phases": {}}


def test_nothing_is_said_while_nothing_changes(plane: Plane, browser: Browser, hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.2)
    with opened_stream(browser) as stream:
        assert [stream.next().name for _ in range(3)] == ["phases", ":", ":"]


def test_a_models_own_events_are_what_its_status_route_says(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    with opened_stream(browser, f"/web/events?model={NVIDIA}&version=v1", cookie(browser)) as stream:
        assert stream.next("model").data == plane.get(f"/v1/model-families/{NVIDIA}/status?version=v1").json
        plane.warm(version="v1", gpu_type=LOCAL.gpu_type, region=LOCAL.region)
        said = stream.until("model", lambda data: data["phase"] == "WARM")
        assert (said["slug"], said["version"]) == (NVIDIA, "v1")
        there = plane.get(f"/v1/model-families/{NVIDIA}/status?version=v1").json["endpoints"]
        moving = ("idle_for_s", "stops_at", "since")
        assert [{k: v for k, v in one.items() if k not in moving} for one in said["endpoints"]] == [
            {k: v for k, v in one.items() if k not in moving} for one in there
        ]


def test_another_version_of_it_is_not_told(plane: Plane, browser: Browser, hurried: None) -> None:
    with opened_stream(browser, f"/web/events?model={NVIDIA}&version=v2") as stream:
        plane.warm(version="v1")
        stream.until("phases", lambda data: data["phases"].get(NVIDIA) == "WARM")
        plane.warm(version="v2")
        assert stream.until("model", lambda data: data["endpoints"])["endpoints"][0]["version"] == "v2"


def test_a_start_and_an_idle_time_are_told_as_they_go_on(plane: Plane, browser: Browser, hurried: None) -> None:
    gate = threading.Event()
    plane.launcher.scripts[NVIDIA] = Script(ready_after_s=0.0, gate=gate)
    with opened_stream(browser, f"/web/events?model={NVIDIA}") as stream:
        plane.ask("POST", f"/v1/model-families/{NVIDIA}/start", {}, {"Prefer": "respond-async"})
        try:
            for _ in range(3):  # the same phase, again and again, for its progress
                stream.until("model", lambda data: data["phase"] == "STARTING")
        finally:
            gate.set()
        idle = [stream.until("model", lambda data: data["phase"] == "WARM")["endpoints"][0]["idle_for_s"] for _ in range(8)]
        assert idle == sorted(idle)
        assert idle[-1] > idle[0]


def test_own_models_are_told_to_those_who_may_see_them(plane: Plane, browser: Browser) -> None:
    plane.warm(OWN)
    plane.warm()
    with opened_stream(browser) as stream:
        assert stream.next("phases").data == {"phases": {NVIDIA: "WARM"}}
    browser.sign_in(ADMIN)
    with opened_stream(browser, headers=cookie(browser)) as stream:
        assert stream.next("phases").data == {"phases": {NVIDIA: "WARM", OWN: "WARM"}}
    restricted = Browser(plane.port)
    restricted.sign_in(plane.key("read", models=[OWN])["Authorization"].removeprefix("Bearer "))
    with opened_stream(restricted, f"/web/events?model={OWN}", cookie(restricted)) as stream:
        assert stream.next("phases").data == {"phases": {OWN: "WARM"}}
        assert stream.next("model").data["phase"] == "WARM"
    assert refused(restricted, f"/web/events?model={NVIDIA}", cookie(restricted)).status == 404


@pytest.mark.parametrize("name", [OWN, f"acme/{OWN}", "nobodys"])
def test_who_may_not_see_a_model_learns_no_more_of_it_than_of_one_that_is_none(shared: Plane, name: str) -> None:
    reply = refused(Browser(shared.port), f"/web/events?model={name}")
    assert reply.status == 404
    assert reply.message.startswith(f"model '{name}' not found; available: ")
    assert OWN not in reply.message.removeprefix(f"model '{name}'")


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [("model=huge&version=v9", 404, "v1"), ("modle=huge", 400, "modle"), ("version=v1", 400, "model"), ("model=huge&model=huge", 400, "twice")],
)
def test_what_cannot_be_told_is_an_error_at_once(shared: Plane, query: str, status: int, says: str) -> None:
    reply = refused(Browser(shared.port), f"/web/events?{query}")
    assert (reply.status, says in reply.message) == (status, True), reply.body


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_sites_page_gets_no_stream(shared: Plane, headers: dict[str, str]) -> None:
    assert refused(Browser(shared.port), "/web/events", headers).status == 403


def test_a_key_opens_nothing_here(plane: Plane) -> None:
    plane.warm(OWN)
    with opened_stream(plane, headers={"Authorization": f"Bearer {ADMIN}"}) as stream:
        assert stream.next("phases").data == {"phases": {}}


@pytest.mark.parametrize("way", ["revoked", "expired", "signed out"])
def test_a_stream_ends_with_its_session(plane: Plane, browser: Browser, hurried: None, way: str) -> None:
    made = plane.post("/v1/keys", {"name": "one", "scopes": ["read"]}).json
    browser.sign_in(made["key"])
    with opened_stream(browser, headers=cookie(browser)) as stream:
        stream.next("phases")
        if way == "revoked":
            assert plane.ask("DELETE", f"/v1/keys/{made['key_id']}").status == 200
        elif way == "expired":
            plane.wall_s += plane.settings.web_session_idle_s + 1
        else:
            assert browser.send("/signout", {}).status == 303
        plane.warm(OWN)  # which it may not learn any more
        assert stream.next("ended").data == {"why": "session"}
        assert stream.rest() == []


def test_a_stream_is_no_use_of_a_session_and_does_not_keep_it(plane: Plane, browser: Browser, hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    browser.sign_in(ADMIN)
    plane.wall_s += plane.settings.web_session_idle_s - 1
    with opened_stream(browser, headers=cookie(browser)) as stream:
        for _ in range(3):
            stream.next()
        plane.wall_s += 2
        stream.next("ended")


@pytest.mark.parametrize(("path", "said"), [("/web/phases", {}), (f"/web/api/v1/model-families/{NVIDIA}/status", {"X-Live": "1"})])
def test_a_page_that_asks_because_it_gets_no_stream_does_not_keep_its_session_either(plane: Plane, browser: Browser, path: str, said: dict[str, str]) -> None:
    browser.sign_in(ADMIN)
    for _ in range(2):
        plane.wall_s += plane.settings.web_session_idle_s * 0.4
        assert browser.get(path, said).status == 200
    plane.wall_s += plane.settings.web_session_idle_s * 0.4
    assert browser.get("/account").status == 303


def test_who_is_signed_in_meanwhile_is_no_reason_to_end_a_guests_stream(plane: Plane, browser: Browser, hurried: None) -> None:
    with opened_stream(browser) as stream:
        stream.next("phases")
        browser.sign_in(ADMIN)
        plane.warm()
        stream.until("phases", lambda data: data["phases"].get(NVIDIA) == "WARM")


def test_a_stream_ends_by_itself_and_cleanly_so_that_the_browser_asks_anew(plane: Plane, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LASTS_S", 0.2)
    monkeypatch.setattr(live, "SPREAD_S", 0.0)
    with opened_stream(browser) as stream:
        stream.next("phases")
        assert stream.rest() == []


def test_an_address_has_so_many_streams_and_who_leaves_makes_room(plane: Plane, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_EACH", 2)
    with opened_stream(browser) as first:
        first.next("phases")
        with opened_stream(browser) as second:
            second.next("phases")
            reply = refused(browser, "/web/events")
            assert (reply.status, reply.json["type"], int(reply.headers["retry-after"]) > 0) == (429, "limit_exceeded", True)
            assert "close a page" in reply.message
        until(lambda: _granted(browser), "the place of the client that left is free")
        plane.warm()
        first.until("phases", lambda data: data["phases"].get(NVIDIA) == "WARM")  # the others go on


def test_all_streams_together_are_bounded(plane: Plane, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST", 1)
    with opened_stream(browser) as first:
        first.next("phases")
        reply = refused(browser, "/web/events")
        assert (reply.status, int(reply.headers["retry-after"]) > 0) == (503, True)
        assert "/web/phases" in reply.message
    until(lambda: _granted(browser), "there is room again")


def _granted(client: Client) -> bool:
    connection = client.connect()
    try:
        connection.request("GET", "/web/events")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def test_a_look_at_the_head_alone_holds_no_place(plane: Plane, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_EACH", 1)
    for _ in range(3):
        reply = browser.ask("HEAD", "/web/events")
        assert (reply.status, reply.body) == (200, b"")
    assert _granted(browser)


def test_a_forge_that_ends_ends_its_streams_cleanly_and_at_once(tmp_path: Path) -> None:
    plane = Plane(tmp_path)
    with contextlib.ExitStack() as stack, opened_stream(Client(plane.port)) as stream:
        stack.callback(plane.stop)
        stream.next("phases")
        stack.close()  # fails when it takes as long as running requests have after a signal
        assert stream.rest() == []


def test_a_model_that_leaves_the_catalogue_ends_the_streams_that_are_about_it(plane: Plane, browser: Browser, hurried: None) -> None:
    browser.sign_in(ADMIN)
    with opened_stream(browser, f"/web/events?model={OWN}", cookie(browser)) as stream:
        stream.next("model")
        plane.do(lambda: _leave(plane))
        assert stream.rest() == []
    assert refused(browser, f"/web/events?model={OWN}", cookie(browser)).status == 404


def _leave(plane: Plane) -> None:
    left = tuple(model for model in MODELS if model.slug != OWN)
    vars(plane)["_catalog"] = type(plane.parts.catalog())(left)


def test_without_keys_everybody_sees_everything(launch: Launch) -> None:
    plane = launch(auth="none")
    plane.warm(OWN)
    with opened_stream(Client(plane.port), f"/web/events?model={OWN}") as stream:
        assert stream.next("phases").data == {"phases": {OWN: "WARM"}}
        assert stream.next("model").data["phase"] == "WARM"
