"""What two OpenAPI documents allow and forbid, sent: our own, and that of NVIDIA's reranking NIM. Never a 5xx, and every answer as described."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from wire import Client

with warnings.catch_warnings():
    # What schemathesis' own dependencies deprecate is not ours to mend.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from emberank.runtime.openapi import document
from emberank.settings import RuntimeSettings

THEIRS = json.loads((Path(__file__).parents[1] / "compat/reranking_nim_openapi.json").read_text("utf-8"))
CONFORMS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [(path, method) for path, operations in document(RuntimeSettings())["paths"].items() for method in operations if method in ("get", "post")]


def fuzz(schema: Any, path: str, method: str, check: Callable[[Any], None], examples: int) -> None:
    """Send what the operation's description allows, and what it forbids."""
    operation = schema[path][method.upper()]
    modes = [schemathesis.GenerationMode.POSITIVE]
    if method == "post":  # a GET without parameters has nothing that could be wrong
        modes.append(schemathesis.GenerationMode.NEGATIVE)
    for mode in modes:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
        def run(case: Any) -> None:
            check(case)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="schemathesis|hypothesis_jsonschema|hypothesis_graphql|jsonschema_rs")
            run()


@pytest.mark.claim("nim:openapi:own-document-holds")
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: str(value))
def test_every_answer_is_as_our_own_document_says(server: Client, path: str, method: str) -> None:
    schema = schemathesis.openapi.from_dict(server.get("/openapi.json").json)

    def check(case: Any) -> None:
        case.headers.pop("X-Request-Timeout", None)  # a deadline of a microsecond is rightly a 504
        case.call_and_validate(base_url=f"http://127.0.0.1:{server.port}", checks=CONFORMS)

    fuzz(schema, path, method, check, 40 if method == "post" else 4)


@pytest.mark.claim("nim:openapi:nvidias-document-holds")
def test_what_nvidias_document_allows_is_answered_as_it_says(start: Callable[..., Client]) -> None:
    server = start(ranking_unknown_fields="ignore")  # as that document does: it forbids no further fields
    # Its rankings carry no usage and its request no limits: ours are within it. Statuses it does not list (404, 413) are not held to it.
    schema = schemathesis.openapi.from_dict(THEIRS)
    checks = [not_a_server_error, response_schema_conformance]
    statuses: set[int] = set()

    def check(case: Any) -> None:
        if isinstance(case.body, dict):
            case.body["model"] = "acme/tiny-rank.v2"
        statuses.add(case.call_and_validate(base_url=f"http://127.0.0.1:{server.port}", checks=checks).status_code)

    fuzz(schema, "/v1/ranking", "post", check, 60)
    assert {200, 400} <= statuses
