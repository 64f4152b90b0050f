"""`/v1/keys…` and who may do what, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import ADMIN, FLEET, NVIDIA, Plane
from wire import Client

READ = ["/v1/models", f"/v1/models/{NVIDIA}", f"/v1/models/{NVIDIA}/reliability", f"/v1/models/{NVIDIA}/run-estimate", "/v1/usage", "/v1/targets"]
START, STOP = f"/v1/model-families/{NVIDIA}/start", f"/v1/model-families/{NVIDIA}/stop"


def made(plane: Plane, **fields: Any) -> Any:
    reply = plane.post("/v1/keys", {"name": "one", "scopes": ["read"], **fields})
    assert reply.status == 201, reply.body
    return reply.json


# --- who calls


@pytest.mark.parametrize("path", [*READ, "/v1/keys", "/v1/probes", "/v1/schedules"])
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic d3Jvbmc="}])
def test_every_route_needs_a_key(shared: Plane, path: str, header: dict[str, str]) -> None:
    reply = Client(shared.port).get(path, header)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "emberank key" in reply.message
    assert "wrong" not in reply.message


def test_the_placeholder_of_the_snippets_is_named_as_such(shared: Plane) -> None:
    reply = Client(shared.port).get("/v1/models", {"Authorization": "Bearer replace-with-your-forge-api-key"})
    assert reply.status == 401
    assert "placeholder" in reply.message


@pytest.mark.parametrize(
    "header",
    [
        {"Authorization": f"Bearer {ADMIN}"},
        {"Authorization": f"bearer  {ADMIN}"},
        {"Authorization": ADMIN},
        {"X-API-Key": ADMIN},
        {"Api-Key": ADMIN},
        {"Authorization": f"Bearer {FLEET}"},
    ],
)
def test_a_key_may_come_in_any_of_the_usual_headers_and_the_fleet_s_token_is_the_operator_s(shared: Plane, header: dict[str, str]) -> None:
    assert Client(shared.port).get("/v1/models", header).status == 200


def test_with_auth_none_everybody_may_do_everything(launch: Any) -> None:
    plane = launch(auth="none")
    anybody = Client(plane.port)
    assert anybody.get("/v1/keys").status == 200
    assert anybody.post(START, {"run_until_stopped": True}).status == 200
    assert anybody.get("/internal/snapshot?gateway=g").status == 404  # but for the fleet's own


def test_with_auth_none_a_page_of_another_site_may_nothing(launch: Any) -> None:
    anybody = Client(launch(auth="none").port)
    before = anybody.get("/v1/keys").json
    evil = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    assert anybody.post("/v1/keys", {"name": "x", "scopes": ["manage"]}, evil).status == 403
    rebound = {"Host": "evil.example:8000", "User-Agent": "Mozilla/5.0"}
    assert [anybody.get(path, rebound).status for path in ("/v1/keys", "/", "/account")] == [403, 403, 403]
    assert anybody.get("/v1/keys").json == before


@pytest.mark.parametrize(
    ("scopes", "method", "path", "allowed"),
    [
        (["read"], "GET", f"/v1/models/{NVIDIA}", True),
        (["inference"], "GET", f"/v1/models/{NVIDIA}", True),
        (["read"], "POST", START, False),
        (["inference"], "POST", START, True),
        (["inference"], "POST", STOP, False),
        (["manage"], "POST", STOP, True),
        (["read", "inference"], "GET", "/v1/keys", False),
        (["manage"], "GET", "/v1/keys", True),
        (["inference"], "GET", "/v1/probes", False),
        (["read"], "GET", "/v1/probes", True),
        (["read"], "POST", "/v1/probes", False),
        (["read"], "POST", "/v1/schedules", False),
    ],
)
def test_scopes_decide_what_a_key_may_do(shared: Plane, scopes: list[str], method: str, path: str, allowed: bool) -> None:
    reply = shared.ask(method, path, {} if method == "POST" else None, shared.key(*scopes))
    if allowed:
        assert reply.status == 200, reply.body
    else:
        assert reply.status == 403
        assert "needs a key with the scope" in reply.message
        assert all(scope in reply.message for scope in scopes)


def test_only_who_may_stop_a_model_may_have_it_run_for_ever(plane: Plane) -> None:
    assert plane.ask("POST", START, {"run_until_stopped": True}, plane.key("inference")).status == 403
    assert plane.ask("POST", START, {"run_until_stopped": True}, plane.key("inference", "manage")).status == 200


def test_a_key_of_some_models_sees_and_starts_no_others(plane: Plane) -> None:
    header = plane.key("inference", "read", "manage", models=["acme/tiny-embed"])
    assert [row["slug"] for row in plane.get("/v1/models", header).json["data"]] == ["tiny-embed"]
    assert plane.get("/v1/models/tiny-embed", header).status == 200
    for method, path in (("GET", f"/v1/models/{NVIDIA}"), ("POST", START), ("POST", STOP), ("GET", f"/v1/usage?model={NVIDIA}")):
        reply = plane.ask(method, path, None, header)
        assert reply.status == 403
        assert "tiny-embed" in reply.message
    assert plane.post("/v1/probes", {"slug": NVIDIA}, header).status == 403
    assert plane.post("/v1/schedules", {"slug": NVIDIA, "cron": "0 7 * * *"}, header).status == 403


def test_a_rate_is_kept_on_the_control_plane_too(plane: Plane) -> None:
    header = plane.key("read", requests_per_minute=2)
    assert [plane.get("/v1/models", header).status for _ in range(3)] == [200, 200, 429]
    reply = plane.get("/v1/models", header)
    assert 1 <= int(reply.headers["retry-after"]) <= 31
    assert "2 requests a minute" in reply.message


# --- the keys themselves


def test_a_key_is_shown_once_and_works_at_once(plane: Plane) -> None:
    reply = plane.post("/v1/keys", {"name": "search", "scopes": ["inference", "read"], "models": ["tiny-embed"], "expires_in_days": 1, "monthly_usd": 5})
    assert reply.status == 201
    key = reply.json
    assert key["key"].startswith(f"ember_{key['key_id']}_")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["location"] == f"/v1/keys/{key['key_id']}"
    assert (key["name"], key["scopes"], key["models"], key["monthly_usd"], key["state"]) == ("search", ["inference", "read"], ["tiny-embed"], 5.0, "active")
    assert key["expires_at"] == "2027-01-16T08:00:00Z"
    assert plane.get("/v1/models", {"Authorization": f"Bearer {key['key']}"}).status == 200
    everywhere = plane.get("/v1/keys").body + plane.get(f"/v1/keys/{key['key_id']}").body + plane.get("/v1/metrics").body
    assert key["key"].encode() not in everywhere
    assert b"digest" not in everywhere


def test_keys_are_listed_with_their_state_and_use(plane: Plane) -> None:
    key = made(plane)
    assert plane.get("/v1/keys").json["data"][1]["last_used_at"] is None
    plane.get("/v1/models", {"Authorization": f"Bearer {key['key']}"})
    assert plane.get(f"/v1/keys/{key['key_id']}").json["last_used_at"] == "2027-01-15T08:00:00Z"
    assert [row["name"] for row in plane.get("/v1/keys").json["data"]] == ["EMBERANK_API_KEY", "one"]


def test_a_revoked_key_is_refused_at_once_and_stays_listed(plane: Plane) -> None:
    key = made(plane)
    reply = plane.ask("DELETE", f"/v1/keys/{key['key_id']}")
    assert (reply.status, reply.json["state"]) == (200, "revoked")
    refused = plane.get("/v1/models", {"Authorization": f"Bearer {key['key']}"})
    assert refused.status == 401
    assert "revoked" in refused.message
    assert plane.ask("DELETE", f"/v1/keys/{key['key_id']}").status == 200
    assert plane.ask("DELETE", "/v1/keys/nobody").status == 404


def test_a_rotated_key_is_followed_by_one_with_the_same_rights(plane: Plane) -> None:
    key = made(plane, monthly_tokens=9)
    reply = plane.post(f"/v1/keys/{key['key_id']}/rotate", {"overlap_s": 3600})
    assert reply.status == 201
    assert (reply.json["rotated_from"], reply.json["monthly_tokens"]) == (key["key_id"], 9)
    for one in (key["key"], reply.json["key"]):
        assert plane.get("/v1/models", {"Authorization": f"Bearer {one}"}).status == 200
    plane.wall_s += 3600
    assert plane.get("/v1/models", {"Authorization": f"Bearer {key['key']}"}).status == 401
    assert plane.get(f"/v1/keys/{key['key_id']}").json["state"] == "expired"
    assert plane.ask("POST", f"/v1/keys/{reply.json['key_id']}/rotate").status == 201  # without a body the old one ends now
    assert plane.get("/v1/models", {"Authorization": f"Bearer {reply.json['key']}"}).status == 401


def test_rights_change_in_place_and_what_is_left_out_stays(plane: Plane) -> None:
    key = made(plane, monthly_usd=1, concurrency=2)
    reply = plane.ask("PATCH", f"/v1/keys/{key['key_id']}", {"monthly_usd": 50, "concurrency": None, "scopes": ["read", "manage"]})
    assert reply.status == 200
    assert (reply.json["monthly_usd"], reply.json["concurrency"], reply.json["scopes"], reply.json["name"]) == (50.0, None, ["read", "manage"], "one")
    assert plane.get("/v1/keys", {"Authorization": f"Bearer {key['key']}"}).status == 200


def test_nobody_gives_rights_that_they_have_not(plane: Plane) -> None:
    header = plane.key("manage", "read", models=["tiny-embed"])
    scopes = plane.post("/v1/keys", {"name": "x", "scopes": ["inference"], "models": ["tiny-embed"]}, header)
    assert (scopes.status, "'inference'" in scopes.message) == (403, True)
    models = plane.post("/v1/keys", {"name": "x", "scopes": ["read"]}, header)
    assert (models.status, "tiny-embed" in models.message) == (403, True)
    assert plane.post("/v1/keys", {"name": "x", "scopes": ["read"], "models": ["acme/tiny-embed"]}, header).status == 201
    admin = plane.get("/v1/keys").json["data"][0]["key_id"]
    assert plane.post(f"/v1/keys/{admin}/rotate", {}, header).status == 403  # its answer would be an admin key
    other = made(plane)["key_id"]
    assert plane.ask("PATCH", f"/v1/keys/{other}", {"scopes": ["inference"]}, header).status == 403


WRONG = {
    "no name": ({"scopes": ["read"]}, "name: missing field"),
    "a blank name": ({"name": " ", "scopes": ["read"]}, "name must not be blank"),
    "a name of two lines": ({"name": "a\nb", "scopes": ["read"]}, "name must be a line"),
    "a long name": ({"name": "x" * 101, "scopes": ["read"]}, "at most 100 characters"),
    "no scopes": ({"name": "x"}, "scopes must be an array"),
    "empty scopes": ({"name": "x", "scopes": []}, "all three make an admin key"),
    "an unknown scope": ({"name": "x", "scopes": ["admin"]}, "'inference', 'read', 'manage'"),
    "a scope that is none": ({"name": "x", "scopes": [["read"]]}, "scopes holds an array"),
    "an unknown model": ({"name": "x", "scopes": ["read"], "models": ["gpt"]}, "models: model 'gpt' not found"),
    "models that are no list": ({"name": "x", "scopes": ["read"], "models": "tiny-embed"}, "models must be an array"),
    "an expiry in the past": ({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01"}, "in the future"),
    "an expiry that is none": ({"name": "x", "scopes": ["read"], "expires_at": "soon"}, "a day or a time such as"),
    "two expiries": ({"name": "x", "scopes": ["read"], "expires_at": "2030-01-01", "expires_in_days": 3}, "one of the two"),
    "days below 0": ({"name": "x", "scopes": ["read"], "expires_in_days": -1}, "above 0"),
    "a rate of 0": ({"name": "x", "scopes": ["read"], "requests_per_minute": 0}, "from 1 on"),
    "a rate that is a text": ({"name": "x", "scopes": ["read"], "requests_per_minute": "10"}, "from 1 on"),
    "true for a number": ({"name": "x", "scopes": ["read"], "concurrency": True}, "from 1 on"),
    "a budget of 0": ({"name": "x", "scopes": ["read"], "monthly_usd": 0}, "above 0"),
    "tokens beyond counting": ({"name": "x", "scopes": ["read"], "monthly_tokens": 10**16}, "from 1 on"),
    "an unknown field": ({"name": "x", "scopes": ["read"], "budget": 5}, "budget: unknown field"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_key_is_refused_with_what_would_be_right(shared: Plane, what: str) -> None:
    body, says = WRONG[what]
    before = len(shared.get("/v1/keys").json["data"])
    reply = shared.post("/v1/keys", body)
    assert reply.status == 400
    assert says in reply.message
    assert len(shared.get("/v1/keys").json["data"]) == before


@pytest.mark.parametrize("overlap_s", [-1, "1", True, 10**9])
def test_an_overlap_has_bounds(shared: Plane, overlap_s: object) -> None:
    key_id = made(shared)["key_id"]
    assert "overlap_s must be a number of seconds" in shared.post(f"/v1/keys/{key_id}/rotate", {"overlap_s": overlap_s}).message
