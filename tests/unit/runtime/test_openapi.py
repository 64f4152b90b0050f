"""The OpenAPI document follows the settings in force, names every route and field, and can be read as a page."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route

from emberank.dialects.nim import RANKING_FIELDS
from emberank.dialects.openai_embeddings import FIELDS as EMBEDDING_FIELDS
from emberank.runtime.metrics import Metrics
from emberank.runtime.openapi import document
from emberank.runtime.openapi_page import page
from emberank.runtime.server import RuntimeServer
from emberank.settings import RuntimeSettings


def schema(name: str, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = document(RuntimeSettings(**settings))["components"]["schemas"][name]
    return found


def test_every_route_of_the_server_is_in_the_document_or_known_to_be_left_out() -> None:
    app: Any = RuntimeServer(RuntimeSettings(), None, Metrics()).app()  # type: ignore[arg-type]
    routes = {re.sub(r":path\}", "}", route.path) for route in app._app.routes if isinstance(route, Route)}
    left_out = {"/openapi.json", "/docs", "/", "/v1/reranking", "/v1/retrieval/{org}/reranking"}  # the document itself, and two clients' spellings
    assert routes - left_out == set(document(RuntimeSettings())["paths"])


def test_every_field_that_is_parsed_is_described() -> None:
    assert set(schema("RankingRequest")["properties"]) == set(RANKING_FIELDS)
    assert set(schema("EmbeddingsRequest")["properties"]) == set(EMBEDDING_FIELDS)


@pytest.mark.claim("nim:ranking:passage-limit-setting")
def test_the_limits_are_those_in_force() -> None:
    assert schema("RankingRequest")["properties"]["passages"]["maxItems"] == 512
    assert schema("RankingRequest", max_passages=1000)["properties"]["passages"]["maxItems"] == 1000
    assert schema("EmbeddingsRequest", max_inputs=9)["properties"]["input"]["anyOf"][1]["maxItems"] == 9
    assert schema("RankingRequest", default_truncate="END")["properties"]["truncate"]["default"] == "END"


def test_the_default_truncation_of_a_ranking_is_one_that_a_ranking_has() -> None:
    truncate = schema("RankingRequest", default_truncate="START")["properties"]["truncate"]
    assert truncate["default"] in truncate["enum"]


@pytest.mark.parametrize(("name", "setting"), [("RankingRequest", "ranking_unknown_fields"), ("EmbeddingsRequest", "embeddings_unknown_fields")])
def test_strictness_is_said(name: str, setting: str) -> None:
    assert schema(name, **{setting: "reject"})["additionalProperties"] is False
    assert "additionalProperties" not in schema(name, **{setting: "ignore"})


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    whole = document(RuntimeSettings())
    names = set(whole["components"]["schemas"])
    assert set(re.findall(r"'#/components/schemas/(\w+)'", str(whole))) <= names
    for name in names:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": whole["components"]})


@pytest.mark.parametrize("name", ["RankingRequest", "EmbeddingsRequest"])
def test_the_examples_are_valid(name: str) -> None:
    described = schema(name)
    assert described["examples"]
    for example in described["examples"]:
        jsonschema_rs.validate(described, example)


def test_the_page_holds_every_operation_and_its_fields() -> None:
    html = page(document(RuntimeSettings()), "http://127.0.0.1:8111")
    for path in document(RuntimeSettings())["paths"]:
        assert f"<code>{path}</code>" in html
    for field in (*RANKING_FIELDS, *EMBEDDING_FIELDS):
        assert f"<code>{field}</code>" in html
    assert "curl -s http://127.0.0.1:8111/v1/ranking" in html


def test_the_page_escapes_what_it_shows() -> None:
    described = document(RuntimeSettings())
    described["info"]["title"] = "<script>alert(1)</script>"
    described["paths"]["/v1/ranking"]["post"]["summary"] = "<b>"
    html = page(described, "http://<script>")
    assert "<script" not in html
    assert "&lt;b&gt;" in html
