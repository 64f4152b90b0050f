"""What a gateway says it serves, in the words of those who ask: OpenAI's list, Infinity's, TEI's facts; of all models, and below one model's base URL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fleets import ScriptedFleet, model, principal
from gateways import Door, opened

MODELS = [model("acme-embed", "embed"), model(), model("acme-other", "rank")]


def told(folder: Path, *paths: str, key: Any = None, heard: bool = True) -> list[tuple[int, Any]]:
    async def play() -> list[tuple[int, Any]]:
        async with opened(ScriptedFleet(MODELS, [], [key or principal()]) if heard else None, folder, wait=heard) as door:
            return [await _get(door, path) for path in paths]

    return asyncio.run(play())


async def _get(door: Door, path: str) -> tuple[int, Any]:
    reply = await door.get(path)
    return reply.status, reply.json


def test_infinitys_list_holds_the_same_models_as_openais(tmp_path: Path) -> None:
    (_, openai), (status, infinity) = told(tmp_path, "/v1/models", "/models")
    assert status == 200
    assert [one["id"] for one in infinity["data"]] == [one["id"] for one in openai["data"]] == ["acme/acme-embed", "acme/acme-rank", "acme/acme-other"]
    assert {(one["owned_by"], str(one["stats"])) for one in infinity["data"]} == {("infinity", "{}")}


def test_teis_facts_are_of_the_first_reranker_and_below_a_model_of_that_one(tmp_path: Path) -> None:
    (_, whole), (_, own), (unknown, _) = told(tmp_path, "/info", "/models/acme-embed/info", "/models/nobody/info")
    assert (whole["model_id"], list(whole["model_type"])) == ("acme/acme-rank", ["reranker"])
    assert (own["model_id"], list(own["model_type"])) == ("acme/acme-embed", ["embedding"])
    assert unknown == 404


def test_a_models_own_list_has_one_entry(tmp_path: Path) -> None:
    (_, listed), (_, infinity) = told(tmp_path, "/models/acme-other/v1/models", "/models/acme.other/models")
    assert [one["id"] for one in listed["data"]] == [one["id"] for one in infinity["data"]] == ["acme/acme-other"]


def test_a_key_sees_only_its_models(tmp_path: Path) -> None:
    (_, listed), (status, own), (_, info) = told(tmp_path, "/models", "/models/acme-rank/v1/models", "/info", key=principal(models=("acme-embed",)))
    assert [one["id"] for one in listed["data"]] == ["acme/acme-embed"]
    assert (status, own["data"], info["model_id"]) == (200, [], "acme/acme-embed")


def test_health_needs_no_key_and_is_503_until_the_forge_was_heard(tmp_path: Path) -> None:
    ((status, body),) = told(tmp_path, "/health")
    assert (status, isinstance(body["unix"], float)) == (200, True)


def test_without_a_key_no_health_check_says_which_models_there_are(tmp_path: Path) -> None:
    (status, body), (known, _) = told(tmp_path, "/models/nobody/health", "/models/acme-rank/health")
    assert (status, known) == (404, 200)
    assert "nobody" in str(body)
    assert "acme" not in str(body)


def test_every_route_of_the_table_is_in_the_document_of_the_installation() -> None:
    from emberank.dialects.routes import ROUTES
    from emberank.forge.openapi import document

    left_out = {"/v1/reranking", "/v1/retrieval/{org}/reranking", "/embeddings"}  # other spellings
    assert {route.path for route in ROUTES} - left_out <= set(document()["paths"])
