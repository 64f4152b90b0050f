"""`/v1/usage` over HTTP: sums by day and hour, one's own or all."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane import NVIDIA, Plane
from emberank.contract.fleet import UsageRecord
from stores import record

DAY_S, HOUR_S = 86_400, 3600


def fields(one: UsageRecord) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def report(plane: Plane, number: int, *usage: UsageRecord) -> None:
    body = {"gateway_id": "g1", "number": number, "usage": [fields(one) for one in usage]}
    reply = plane.as_gateway("POST", "/internal/report", body)
    assert reply.status == 200, reply.body


def used(plane: Plane) -> tuple[dict[str, str], str]:
    """Some usage of a key of one's own and of another one; returns that key's header and id."""
    header = plane.key("read")
    mine = plane.get("/v1/keys").json["data"][-1]["key_id"]
    now = plane.wall_s
    report(
        plane,
        1,
        record(at_s=now, key_id=mine, slug=NVIDIA, tokens=10, cost_usd=0.1),
        record(at_s=now - HOUR_S, key_id=mine, slug=NVIDIA, tokens=20, cost_usd=0.2, status=500),
        record(at_s=now - 3 * DAY_S, key_id=mine, slug="tiny-embed", tokens=40, cost_usd=0.4),
        record(at_s=now, key_id="other", slug=NVIDIA, tokens=80, cost_usd=0.8),
    )
    return header, mine


def test_usage_is_summed_by_day_key_model_version_and_target(plane: Plane) -> None:
    _, mine = used(plane)
    answer = plane.get("/v1/usage").json
    assert answer["by"] == "day"
    first = answer["data"][0]
    assert (first["start"], first["key_id"], first["slug"], first["model_version"]) == ("2027-01-12T00:00:00Z", mine, "tiny-embed", "v1")
    assert [row["start"][:10] for row in answer["data"]] == ["2027-01-12", "2027-01-15", "2027-01-15"]
    today = next(row for row in answer["data"] if row["key_id"] == mine and row["slug"] == NVIDIA)
    assert (today["requests"], today["errors"], today["tokens"], today["passages"], today["cost_usd"]) == (2, 1, 30, 6, 0.3)
    assert (today["gpu_type"], today["region"], today["model_ms"]) == ("CPU", "local", 16.0)
    assert (answer["total"]["requests"], answer["total"]["cost_usd"]) == (4, 1.5)


def test_usage_by_hour_is_of_the_last_two_days(plane: Plane) -> None:
    _, mine = used(plane)
    answer = plane.get(f"/v1/usage?by=hour&key_id={mine}").json
    assert [(row["start"], row["tokens"]) for row in answer["data"]] == [("2027-01-15T07:00:00Z", 20), ("2027-01-15T08:00:00Z", 10)]


def test_a_key_sees_its_own_usage_and_one_that_manages_sees_all(plane: Plane) -> None:
    header, mine = used(plane)
    assert {row["key_id"] for row in plane.get("/v1/usage", header).json["data"]} == {mine}
    assert {row["key_id"] for row in plane.get("/v1/usage").json["data"]} == {mine, "other"}
    refused = plane.get("/v1/usage?key_id=other", header)
    assert refused.status == 403
    assert "'manage'" in refused.message
    assert plane.get(f"/v1/usage?key_id={mine}", header).status == 200


def test_usage_is_filtered_by_model_and_time(plane: Plane) -> None:
    used(plane)
    assert {row["slug"] for row in plane.get("/v1/usage?model=acme/tiny-embed").json["data"]} == {"tiny-embed"}
    of_day = plane.get("/v1/usage?from=2027-01-12&to=2027-01-13").json
    assert [row["slug"] for row in of_day["data"]] == ["tiny-embed"]
    assert (of_day["from"], of_day["to"]) == ("2027-01-12T00:00:00Z", "2027-01-13T00:00:00Z")
    assert plane.get("/v1/usage?from=2027-01-15T08:00:00%2B00:00&by=hour").json["total"]["requests"] == 2


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("by=week", 400, "'hour', 'day'"),
        ("from=yesterday", 400, "a day or a time such as"),
        ("from=2027-01-15&to=2027-01-15", 400, "from must be before to"),
        ("by=hour&from=2026-01-01&to=2027-01-01", 400, "at most 31 days"),
        ("from=2020-01-01&to=2027-01-01", 400, "at most 400 days"),
        ("from=9999-12-31T23:59:59", 400, "between 1970 and 3000"),
        ("model=unknown", 404, "not found"),
        ("group=key", 400, "group"),
    ],
)
def test_a_wrong_question_is_told_what_would_be_right(shared: Plane, query: str, status: int, says: str) -> None:
    reply = shared.get(f"/v1/usage?{query}")
    assert reply.status == status
    assert says in reply.message
