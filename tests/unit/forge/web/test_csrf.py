"""What changes something must come from a page of ours: the session's token is in it, and the browser names no other site."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from browser import FORM, Browser
from control_plane import ADMIN, NVIDIA, Plane
from wire import Reply

Launch = Callable[..., Plane]
EVIL = {"Origin": "https://evil.example"}


@pytest.fixture
def admin(browser: Browser) -> Browser:
    browser.sign_in(ADMIN)
    return browser


def keys(plane: Plane) -> int:
    return len(plane.get("/v1/keys").json["data"])


@pytest.mark.parametrize("token", ["", "wrong", "é", "0" * 43])
@pytest.mark.parametrize("path", ["/signout", "/account/keys"])
def test_a_form_without_the_sessions_token_does_nothing(plane: Plane, admin: Browser, path: str, token: str) -> None:
    before = keys(plane)
    reply = admin.send(path, {"name": "x", "scopes": ["read"]}, csrf=token if token else "no")
    assert reply.status == 403
    assert b"out of date" in reply.body
    assert keys(plane) == before
    assert admin.get("/account").status == 200


def test_a_form_of_another_session_does_nothing(plane: Plane, admin: Browser) -> None:
    other = Browser(plane.port)
    other.sign_in(ADMIN)
    assert admin.send("/account/keys", {"name": "x", "scopes": ["read"]}, csrf=other.csrf).status == 403


@pytest.mark.parametrize(
    "headers",
    [EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1"}, {"Origin": "http://["}],
)
def test_what_another_site_sends_does_nothing_even_with_the_token(plane: Plane, admin: Browser, headers: dict[str, str]) -> None:
    before = keys(plane)
    assert admin.send("/account/keys", {"name": "x", "scopes": ["read"]}, headers).status == 403
    call = admin.post("/web/api/v1/keys", {"name": "x", "scopes": ["read"]}, headers | {"X-CSRF-Token": admin.csrf})
    assert (call.status, call.json["object"]) == (403, "error")
    assert keys(plane) == before


@pytest.mark.parametrize("headers", [EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_another_site_cannot_sign_a_visitor_in_as_somebody_else(browser: Browser, headers: dict[str, str]) -> None:
    reply = browser.send("/signin", {"key": ADMIN}, headers)
    assert (reply.status, browser.cookies) == (403, {})


def test_a_sign_in_that_does_not_say_where_it_comes_from_is_refused(browser: Browser) -> None:
    reply = browser.ask("POST", "/signin", f"key={ADMIN}".encode(), {"Content-Type": FORM})
    assert (reply.status, browser.cookies) == (403, {})


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {"Sec-Fetch-Site": "same-origin"}, {}])
def test_our_own_pages_are_let_in(plane: Plane, browser: Browser, headers: dict[str, str]) -> None:
    assert browser.send("/signin", {"key": ADMIN}, headers).status == 303


def test_the_public_address_is_ours_too_whatever_a_proxy_makes_of_the_host(launch: Launch) -> None:
    browser = Browser(launch(public_url="https://rank.example/").port)
    assert browser.send("/signin", {"key": ADMIN}, {"Origin": "https://rank.example"}).status == 303
    assert browser.send("/signin", {"key": ADMIN}, {"Origin": "https://rank.example.evil.example"}).status == 403


def call(browser: Browser, method: str, path: str, body: object = None, **headers: str) -> Reply:
    return browser.ask(method, f"/web/api{path}", body, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_pages_call_is_answered_like_the_apis_own(plane: Plane, admin: Browser) -> None:
    for path in ("/v1/models", f"/v1/models/{NVIDIA}", f"/v1/models/{NVIDIA}/run-estimate", f"/v1/models/{NVIDIA}/inference-routes", "/v1/keys", "/v1/usage"):
        reply = call(admin, "GET", path)
        assert (reply.status, reply.json) == (200, plane.get(path).json), path
        assert (reply.headers["cache-control"], reply.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert call(admin, "GET", "/v1/models/nobodys").status == plane.get("/v1/models/nobodys").status == 404
    assert call(admin, "GET", "/v1/nowhere").status == 404


def test_a_pages_button_can_start_and_stop_a_model(plane: Plane, admin: Browser) -> None:
    started = call(admin, "POST", f"/v1/model-families/{NVIDIA}/start", {}, X_CSRF_Token=admin.csrf, Origin=admin.home)
    assert started.status == 200, started.body
    assert call(admin, "GET", f"/v1/model-families/{NVIDIA}/status").json["phase"] == "WARM"
    assert call(admin, "POST", f"/v1/model-families/{NVIDIA}/stop", {}, X_CSRF_Token=admin.csrf, Sec_Fetch_Site="same-origin").status in (200, 202)


def test_somebody_who_opened_a_link_can_start_a_model_too(plane: Plane, browser: Browser) -> None:
    url = plane.as_gateway("POST", "/internal/signin").json["url"]
    assert browser.send("/signin", {"token": url.partition("token=")[2]}).status == 303
    browser.get("/account")
    assert call(browser, "POST", f"/v1/model-families/{NVIDIA}/start", {}, X_CSRF_Token=browser.csrf).status == 200


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("token", ["", "wrong", "\xe9"])
def test_a_pages_call_that_changes_something_needs_the_sessions_token(plane: Plane, admin: Browser, method: str, token: str) -> None:
    path = "/v1/keys" if method == "POST" else f"/v1/keys/{plane.get('/v1/keys').json['data'][0]['key_id']}"
    before = plane.get("/v1/keys").json
    sent = {"X_CSRF_Token": token} if token else {}
    assert call(admin, method, path, {"name": "x", "scopes": ["read"]}, **sent).status == 403
    assert plane.get("/v1/keys").json == before


def test_reading_needs_no_token_but_no_other_site_may_have_it_done(admin: Browser) -> None:
    assert call(admin, "GET", "/v1/keys").status == 200
    assert call(admin, "GET", "/v1/keys", Sec_Fetch_Site="same-origin").status == 200
    assert call(admin, "GET", "/v1/keys", Sec_Fetch_Site="cross-site").status == 403


def test_a_key_may_ask_as_often_by_its_pages_as_by_itself(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("read", requests_per_minute=2)["Authorization"].partition(" ")[2])
    assert [call(browser, "GET", "/v1/models").status for _ in range(2)] == [200, 200]
    assert call(browser, "GET", "/v1/models").status == 429


def test_where_no_keys_are_asked_for_another_site_still_changes_nothing(launch: Launch) -> None:
    plane = launch(auth="none")
    browser = Browser(plane.port)
    assert call(browser, "GET", "/v1/models").status == 200
    body = {"name": "x", "scopes": ["read"]}
    assert call(browser, "POST", "/v1/keys", body).status == 403
    assert call(browser, "POST", "/v1/keys", body, **EVIL).status == 403
    assert call(browser, "POST", "/v1/keys", body, Origin=browser.home).status == 201
    assert browser.send("/account/keys", body, EVIL).status == 403
    assert browser.send("/account/keys", body).status == 201
