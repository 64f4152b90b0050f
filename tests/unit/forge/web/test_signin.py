"""A link of the terminal or an API key signs a browser in; a cookie is never a key."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest

from browser import Browser
from control_plane import ADMIN, FLEET, Plane
from emberank.forge.web.forms import local_address
from emberank.forge.web.signin.tries import MOST

Launch = Callable[..., Plane]


def cookie_of(browser: Browser) -> str:
    return browser.cookies["emberank_session"]


def link(plane: Plane) -> str:
    """The path of a new link."""
    reply = plane.as_gateway("POST", "/internal/signin")
    assert reply.status == 200
    return str(reply.json["url"]).removeprefix(f"http://127.0.0.1:{plane.port}")


def test_looking_at_a_link_does_not_use_it_up_and_its_button_does_once(plane: Plane, browser: Browser) -> None:
    path = link(plane)
    token = path.partition("token=")[2]
    for _ in range(2):
        page = browser.get(path)
        assert page.status == 200
        assert b"Sign in as admin" in page.body
        assert page.headers["cache-control"] == "no-store"
    assert browser.ask("HEAD", path).status == 200
    assert browser.cookies == {}
    entered = browser.send("/signin", {"token": token})
    assert (entered.status, entered.headers["location"]) == (303, "/")
    account = browser.get("/account")
    assert b"Signed in as <strong>admin</strong>" in account.body

    again = Browser(plane.port).send("/signin", {"token": token})
    assert again.status == 410
    assert b"was used already" in again.body
    assert Browser(plane.port).get(path).status == 410


def test_the_cookie_is_for_this_server_only_and_not_for_scripts(plane: Plane, browser: Browser) -> None:
    reply = browser.send("/signin", {"key": ADMIN})
    attributes = [part.strip().lower() for part in reply.headers["set-cookie"].split(";")[1:]]
    assert set(attributes) == {"httponly", "samesite=lax", "path=/", "max-age=604800"}
    assert len(cookie_of(browser)) == 43
    assert reply.headers["cache-control"] == "no-store"


def test_the_cookie_is_for_https_only_where_the_installation_is_reached_by_it(launch: Launch) -> None:
    browser = Browser(launch(public_url="https://rank.example").port)
    reply = browser.send("/signin", {"key": ADMIN}, {"Origin": "https://rank.example"})
    assert "secure" in reply.headers["set-cookie"].lower()


def test_a_callers_own_word_that_it_came_by_https_is_not_believed(plane: Plane, browser: Browser) -> None:
    reply = browser.send("/signin", {"key": ADMIN}, {"X-Forwarded-Proto": "https"})
    assert reply.status == 303
    assert "secure" not in reply.headers["set-cookie"].lower()


def test_a_key_signs_in_with_its_own_rights_and_no_more(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("read")["Authorization"].partition(" ")[2])
    assert b"Scopes: read." in browser.get("/account").body
    assert browser.get("/web/api/v1/models").status == 200
    refused = browser.get("/web/api/v1/keys")
    assert refused.status == 403
    assert "scope 'manage'" in refused.message


@pytest.mark.parametrize(
    ("key", "words"), [("nonsense", b"is not known here"), ("", b"needs an API key"), (FLEET, b"is not known here"), ("<b>&", b"is not known here")]
)
def test_a_wrong_key_signs_nobody_in_and_is_not_shown_again(plane: Plane, browser: Browser, key: str, words: bytes) -> None:
    reply = browser.send("/signin", {"key": key})
    assert reply.status == 401
    assert words in reply.body
    assert "set-cookie" not in reply.headers
    assert not key or key.encode() not in reply.body


def test_a_session_is_no_key_on_any_route_of_the_api(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    for method, path in (("GET", "/v1/models"), ("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", "/v1/usage"), ("GET", "/v1/models/huge")):
        reply = browser.ask(method, path, {} if method == "POST" else None)
        assert reply.status == 401, path
        assert "needs an API key" in reply.message
    token = cookie_of(browser)
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}, {"Authorization": token}, {"Authorization": f"Bearer session:{token}"}):
        assert Browser(plane.port).get("/v1/models", headers).status == 401
    assert browser.get("/internal/snapshot").status == 404


def test_a_key_is_no_session(plane: Plane, browser: Browser) -> None:
    for cookie in (ADMIN, FLEET, "", "x" * 5000, '"', base64.b64encode(b"\xff" * 32).decode()):
        browser.cookies = {"emberank_session": cookie}
        assert browser.get("/web/api/v1/models").status == 401
    assert Browser(plane.port).get("/web/api/v1/models", {"Authorization": f"Bearer {ADMIN}"}).status == 401


def test_a_new_sign_in_has_a_new_token_and_ends_the_one_before(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    before = cookie_of(browser)
    browser.sign_in(ADMIN)
    assert cookie_of(browser) != before
    other = Browser(plane.port)
    other.cookies = {"emberank_session": before}
    assert other.get("/web/api/v1/models").status == 401


def test_signing_out_ends_the_session_on_the_server_and_in_the_browser(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    kept = dict(browser.cookies)
    reply = browser.send("/signout", {})
    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert browser.cookies == {}
    browser.cookies = kept
    assert browser.get("/web/api/v1/models").status == 401
    assert browser.send("/signout", {}).status == 303  # once more does no harm


def test_whoever_is_not_signed_in_is_sent_to_sign_in_and_back_again(plane: Plane, browser: Browser) -> None:
    away = browser.get("/account")
    assert (away.status, away.headers["location"]) == (303, "/signin?next=/account")
    page = browser.get(away.headers["location"])
    assert b'name="next" value="/account"' in page.body
    assert b"has ended" not in page.body
    assert browser.send("/signin", {"key": ADMIN, "next": "/account"}).headers["location"] == "/account"
    assert browser.get("/signin?next=/account").headers["location"] == "/account"


def test_a_session_that_has_ended_is_said_on_the_way_to_a_new_one(plane: Plane, browser: Browser) -> None:
    browser.sign_in(ADMIN)
    plane.wall_s += plane.settings.web_session_idle_s
    away = browser.get("/account")
    assert (away.status, away.headers["location"]) == (303, "/signin?next=/account")
    page = browser.get(away.headers["location"])
    assert b"Your session has ended" in page.body
    assert browser.cookies == {}
    assert "sign in at /signin" in browser.get("/web/api/v1/models").message


def test_a_revoked_key_takes_its_sessions_with_it(plane: Plane, browser: Browser) -> None:
    made = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"]}).json
    browser.sign_in(made["key"])
    assert plane.ask("DELETE", f"/v1/keys/{made['key_id']}").status == 200
    assert browser.get("/web/api/v1/models").status == 401
    assert browser.get("/account").status == 303


@pytest.mark.parametrize(
    "given",
    ["//evil.example", "/\\evil.example", "\\\\evil", "https://evil.example", "javascript:alert(1)", "/\t/evil.example", "/\n/evil", "evil", "", "/é", "/ x",
     "/signin", "/signin?next=/", "/signout", "/v1", "/v1/keys", "/web/api/v1/keys", "/internal/snapshot", "/" + "a" * 600],
)  # fmt: skip
def test_the_way_back_never_leads_elsewhere(given: str) -> None:
    assert local_address(given) == "/"


@pytest.mark.parametrize("given", ["/", "/account", "/models/a-b?gpu_type=B200&region=x#y", "/signin-help"])
def test_the_way_back_leads_to_any_page_of_ours(given: str) -> None:
    assert local_address(given) == given


def test_a_page_shows_what_is_in_its_address_as_text(plane: Plane, browser: Browser) -> None:
    evil = "/%22%3E%3Cscript%3Ealert(1)%3C/script%3E"
    page = browser.get(f"/signin?next={evil}&token={evil}")
    assert b"<script>alert" not in page.body
    page = browser.get("/signin?next=/a%26b%3D%22%27%3C")
    assert b"/a&amp;b=&#34;&#39;&lt;" in page.body


def test_few_tries_a_minute_are_taken_from_one_address(plane: Plane, browser: Browser) -> None:
    statuses = [browser.send("/signin", {"key": f"wrong {number}"}).status for number in range(MOST)]
    assert statuses == [401] * MOST
    refused = browser.send("/signin", {"key": ADMIN})
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert browser.cookies == {}
    # An address that a gateway of the fleet names is another one; one that anybody names is not.
    by_gateway = {"X-Emberank-Fleet": FLEET, "X-Forwarded-For": "192.0.2.7"}
    assert browser.send("/signin", {"key": ADMIN}, {**by_gateway, "X-Emberank-Fleet": "guess"}).status == 429
    assert browser.send("/signin", {"key": ADMIN}, by_gateway).status == 303


def test_the_fleets_token_on_what_a_gateway_relays_opens_nothing(plane: Plane, browser: Browser) -> None:
    for path, status in (("/v1/models", 401), ("/internal/snapshot", 404), ("/web/api/v1/models", 401)):
        assert browser.get(path, {"X-Emberank-Fleet": FLEET}).status == status


def test_links_are_made_for_the_operator_only(plane: Plane, browser: Browser) -> None:
    assert plane.post("/internal/signin", {}).status == 404  # an admin key is not enough
    assert browser.send("/internal/signin", {}).status == 404
    assert plane.as_gateway("POST", "/internal/signin").headers["cache-control"] == "no-store"


def test_where_no_keys_are_asked_for_there_is_nothing_to_sign_in_to(launch: Launch) -> None:
    plane = launch(auth="none")
    browser = Browser(plane.port)
    assert (browser.get("/signin").status, browser.get("/signin").headers["location"]) == (303, "/")
    assert browser.send("/signin", {"key": "x"}).status == 303
    assert browser.cookies == {}
    refused = plane.as_gateway("POST", "/internal/signin")
    assert (refused.status, "auth=none" in refused.message) == (400, True)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"key": "x"}', {"Content-Type": "application/json"}, 400),
        (b"key=x", {"Content-Type": "text/plain"}, 400),
        (b"key=\xff", {}, 400),
        (b"&".join([b"key=x"] * 2000), {}, 400),
        (b"key=" + b"x" * 100_000, {}, 413),
        (b"", {}, 401),
        (b"key=%ff%00%F0%9F", {}, 401),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_on_a_page(browser: Browser, body: bytes, headers: dict[str, str], status: int) -> None:
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": browser.home}
    reply = browser.ask("POST", "/signin", body, sent | headers)
    assert reply.status == status
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_no_secret_is_in_any_log_line(plane: Plane, browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path = link(plane)
    token = path.partition("token=")[2]
    made = plane.post("/v1/keys", {"name": "ann", "scopes": ["manage", "read"]}).json["key"]
    browser.get(path)
    browser.send("/signin", {"token": token})
    browser.send("/signin", {"token": token})
    browser.send("/signin", {"key": "wrong-key-0123456789"})
    browser.sign_in(made)
    session, csrf = cookie_of(browser), browser.csrf
    browser.post("/web/api/v1/keys", {"name": "x"}, {"X-CSRF-Token": csrf})
    browser.get("/v1/models")
    browser.send("/signout", {})
    # uvicorn's own lines are switched off, which pytest undoes to see them.
    lines: list[Any] = [(record.getMessage(), vars(record)) for record in caplog.records if record.name != "uvicorn.access"]
    assert any("/signin" in str(line) for line in lines)
    for secret in (token, made, "wrong-key-0123456789", session, csrf, FLEET):
        assert secret not in str(lines)
