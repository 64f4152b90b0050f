"""What a gateway is told of a page's call: who is behind its session, when a page of ours had the browser send it; and only a gateway is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from browser import Browser
from control_plane import ADMIN, FLEET, Plane
from emberank.contract.fleet import SCOPES
from emberank.dialects import fleet
from wire import Reply

Launch = Callable[..., Plane]
PATH = "/internal/session"


def asked(browser: Browser, headers: Mapping[str, str] | None = None, *, token: str = FLEET, csrf: str | None = None) -> Reply:
    """As a gateway asks for this browser."""
    own = {"Authorization": f"Bearer {token}", "X-CSRF-Token": browser.csrf if csrf is None else csrf}
    return browser.ask("POST", PATH, b"", own | dict(headers or {}))


def test_a_gateway_is_told_whose_session_it_is_and_what_they_may_do(plane: Plane, browser: Browser) -> None:
    made = plane.post("/v1/keys", {"name": "pages", "scopes": ["inference"], "models": ["huge"], "monthly_usd": 2.0, "requests_per_minute": 7}).json
    browser.sign_in(made["key"])
    reply = asked(browser)
    assert reply.status == 200
    who = fleet.decode_principal(reply.body)
    assert (who.key_id, who.name, who.scopes, who.models) == (made["key_id"], "pages", ("inference",), ("huge",))
    assert (who.monthly_usd, who.requests_per_minute, who.digest) == (2.0, 7, "")


def test_the_local_admin_has_a_name_too(plane: Plane, browser: Browser) -> None:
    link = plane.as_gateway("POST", "/internal/signin").json["url"]
    assert browser.send("/signin", {"token": link.partition("token=")[2]}).status == 303
    browser.get("/account")
    who = fleet.decode_principal(asked(browser).body)
    assert (who.key_id, who.scopes) == ("admin", SCOPES)


@pytest.mark.parametrize("token", ["", ADMIN, "x"])
def test_nobody_else_is_told_that_there_is_such_a_route(plane: Plane, browser: Browser, token: str) -> None:
    browser.sign_in(ADMIN)
    reply = asked(browser, token=token)
    assert (reply.status, "no route" in reply.message) == (404, True)


def test_without_a_session_the_sentence_says_where_to_sign_in(plane: Plane, browser: Browser) -> None:
    for cookies in ({}, {"emberank_session": "x" * 43}, {"emberank_session": ADMIN}):
        browser.cookies = cookies
        reply = asked(browser, {"Origin": browser.home})
        assert (reply.status, "sign in at /signin" in reply.message) == (401, True)


@pytest.mark.parametrize("csrf", ["", "wrong"])
def test_without_the_sessions_token_it_is_refused(plane: Plane, browser: Browser, csrf: str) -> None:
    browser.sign_in(ADMIN)
    reply = asked(browser, csrf=csrf)
    assert (reply.status, "load it anew" in reply.message) == (403, True)


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_what_another_site_had_the_browser_send_is_refused(plane: Plane, browser: Browser, headers: dict[str, str]) -> None:
    browser.sign_in(ADMIN)
    assert asked(browser, headers).status == 403


@pytest.mark.parametrize("way", ["revoked", "idle", "signed out"])
def test_a_session_that_has_ended_is_nobodys(plane: Plane, browser: Browser, way: str) -> None:
    made = plane.post("/v1/keys", {"name": "one", "scopes": ["read"]}).json
    browser.sign_in(made["key"])
    cookies = dict(browser.cookies)
    assert asked(browser).status == 200
    if way == "revoked":
        plane.ask("DELETE", f"/v1/keys/{made['key_id']}")
    elif way == "idle":
        plane.wall_s += plane.settings.web_session_idle_s + 1
    else:
        browser.send("/signout", {})
    browser.cookies = cookies
    assert asked(browser, {"Origin": browser.home}).status == 401


def test_what_the_gateway_counts_is_not_counted_here_as_well(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("inference", requests_per_minute=2)["Authorization"].removeprefix("Bearer "))
    assert [asked(browser).status for _ in range(5)] == [200] * 5


def test_where_keys_are_off_everybody_is_the_same_and_another_sites_page_nobody(launch: Launch) -> None:
    browser = Browser(launch(auth="none").port)
    reply = asked(browser, {"Origin": browser.home})
    assert (reply.status, reply.json["key_id"]) == (200, "anonymous")
    assert asked(browser, {"Origin": "https://evil.example"}).status == 403
