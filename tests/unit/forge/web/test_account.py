"""The account page: who is signed in, what the month has cost, and keys that are made, replaced and revoked by forms."""

from __future__ import annotations

import re
from html import unescape

import pytest

from browser import Browser
from control_plane import ADMIN, NVIDIA, Plane
from stores import record
from wire import Reply


@pytest.fixture
def admin(browser: Browser) -> Browser:
    browser.sign_in(ADMIN)
    return browser


def new_key(reply: Reply) -> str:
    found = re.search(r"FORGE_API_KEY=(ember_[\w-]+)", unescape(reply.body.decode()))
    assert found, reply.body
    return found[1]


def works(plane: Plane, key: str) -> bool:
    return plane.get("/v1/models", {"Authorization": f"Bearer {key}"}).status == 200


def test_a_key_is_made_with_what_the_form_says_and_shown_once(plane: Plane, admin: Browser) -> None:
    form = {"name": "ann", "scopes": ["inference", "read"], "models": f"{NVIDIA}, tiny-embed", "monthly_usd": "2.5", "requests_per_minute": "60"}
    reply = admin.send("/account/keys", {**form, "monthly_tokens": "", "expires_in_days": "30"})
    assert (reply.status, reply.headers["cache-control"]) == (201, "no-store")
    key = new_key(reply)
    assert works(plane, key)
    row = plane.get("/v1/keys").json["data"][-1]
    assert (row["name"], row["scopes"], row["models"], row["monthly_usd"]) == ("ann", ["inference", "read"], [NVIDIA, "tiny-embed"], 2.5)
    assert (row["requests_per_minute"], row["monthly_tokens"]) == (60, None)
    page = admin.get("/account").body.decode()
    assert "ann" in page
    assert key not in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes must be"),
        ({"models": "nobodys"}, "nobodys"),
        ({"monthly_usd": "much"}, "monthly_usd must be a number"),
        ({"monthly_usd": "nan"}, "monthly_usd must be a number"),
        ({"monthly_tokens": "-1"}, "monthly_tokens must be a whole number"),
        ({"expires_in_days": "1e999"}, "expires_in_days must be a number"),
    ],
)
def test_a_form_that_is_refused_comes_back_as_it_was_typed(admin: Browser, fields: dict[str, str], words: str) -> None:
    form = {"name": "<b>ann", "scopes": ["manage"], "models": "", "monthly_usd": "7", **fields}
    reply = admin.send("/account/keys", form)
    page = reply.body.decode()
    assert reply.status == 400
    assert words in unescape(page)
    assert "<b>ann" not in page
    typed = dict(re.findall(r'name="(\w+)" type="\w+"[^>]*? value="([^"]*)"', page))
    assert unescape(typed["name"]) == form["name"]
    assert typed["monthly_usd"] == form["monthly_usd"]
    assert ('value="manage" checked' in page) is (form["scopes"] == ["manage"])


def test_a_key_is_replaced_and_the_old_one_works_as_long_as_was_said(plane: Plane, admin: Browser) -> None:
    old = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"]}).json
    new = new_key(admin.send(f"/account/keys/{old['key_id']}/rotate", {"overlap_s": "3600"}))
    assert (works(plane, old["key"]), works(plane, new)) == (True, True)
    plane.wall_s += 3600
    assert (works(plane, old["key"]), works(plane, new)) == (False, True)
    assert admin.send(f"/account/keys/{old['key_id']}/rotate", {"overlap_s": "7"}).status == 400
    assert admin.send("/account/keys/nobodys/rotate", {}).status == 404


def test_a_key_is_revoked(plane: Plane, admin: Browser) -> None:
    made = plane.post("/v1/keys", {"name": "ann", "scopes": ["read"]}).json
    reply = admin.send(f"/account/keys/{made['key_id']}/revoke", {})
    assert (reply.status, reply.headers["location"]) == (303, "/account")
    assert not works(plane, made["key"])
    assert b"1 key revoked or expired" in admin.get("/account").body


def test_whoever_revokes_the_key_that_they_signed_in_with_is_signed_out(plane: Plane, browser: Browser) -> None:
    made = plane.post("/v1/keys", {"name": "ann", "scopes": ["manage"]}).json
    browser.sign_in(made["key"])
    assert browser.send(f"/account/keys/{made['key_id']}/revoke", {}).status == 303
    assert browser.get("/account").headers["location"] == "/signin?next=/account"


def test_nobody_gives_what_they_have_not(plane: Plane, browser: Browser) -> None:
    browser.sign_in(plane.key("manage", models=["tiny-embed"])["Authorization"].partition(" ")[2])
    beyond = browser.send("/account/keys", {"name": "x", "scopes": ["read"]})
    assert beyond.status == 403
    assert "has not the scope" in unescape(beyond.body.decode())
    assert browser.send("/account/keys", {"name": "x", "scopes": ["manage"]}).status == 403  # for all models
    admins = next(row["key_id"] for row in plane.get("/v1/keys").json["data"] if len(row["scopes"]) == 3)
    assert browser.send(f"/account/keys/{admins}/rotate", {}).status == 403


def test_who_may_not_manage_sees_their_own_key_and_usage_and_no_forms(plane: Plane, browser: Browser) -> None:
    mine, other = (plane.post("/v1/keys", {"name": name, "scopes": ["read"]}).json for name in ("my own", "somebody else"))
    used = [record(key_id=one["key_id"], slug=slug, at_s=plane.wall_s, tokens=tokens) for one, slug, tokens in ((mine, "a", 1234), (other, "b", 5678))]
    plane.run(lambda: plane.parts.stored(lambda store: store.usage.append("gw", 1, used)))
    browser.sign_in(mine["key"])
    page = browser.get("/account").body.decode()
    assert "my own" in page
    assert "somebody else" not in page
    assert "1,234" in page
    assert "5,678" not in page
    assert "/account/keys" not in page
    assert browser.send("/account/keys", {"name": "x", "scopes": ["read"]}).status == 403
    assert browser.send(f"/account/keys/{other['key_id']}/revoke", {}).status == 403
    assert works(plane, other["key"])
    browser.sign_in(ADMIN)
    assert "5,678" in browser.get("/account").body.decode()


def test_hostile_names_are_text(plane: Plane, admin: Browser) -> None:
    plane.post("/v1/keys", {"name": "<script>alert(1)</script>\"'", "scopes": ["read"]})
    page = admin.get("/account").body.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_form_of_a_session_that_has_ended_does_nothing_and_leads_to_the_sign_in(plane: Plane, admin: Browser) -> None:
    before = len(plane.get("/v1/keys").json["data"])
    plane.wall_s += plane.settings.web_session_max_s
    for path in ("/account/keys", "/account/keys/x/rotate", "/account/keys/x/revoke"):
        reply = admin.send(path, {"name": "x", "scopes": ["read"]})
        assert (reply.status, reply.headers["location"]) == (303, "/signin?next=/account")
    assert len(plane.get("/v1/keys").json["data"]) == before
