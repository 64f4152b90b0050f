"""Every kind of error in every dialect's shape: one body that all of that dialect's readers can read."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emberank.client.errors import error_from
from emberank.contract.errors import (
    BadRequest,
    DeadlineExceeded,
    EmberankError,
    Forbidden,
    InputTooLong,
    LimitExceeded,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    NotReady,
    PayloadTooLarge,
    QueueFull,
    RequestTimeout,
    ServerFault,
    StartError,
    TargetUnavailable,
    Unauthorized,
)
from emberank.dialects.errors import ErrorStyle, render_error, style_of

STYLES: tuple[ErrorStyle, ...] = get_args(ErrorStyle)
# Each kind, TEI's word for it and vLLM's.
KINDS: list[tuple[EmberankError, str, str]] = [
    (BadRequest("top_n must be a whole number"), "Validation", "BadRequestError"),
    (InputTooLong(700, 512), "Validation", "BadRequestError"),
    (InputTooLong(700, 512, status=422), "Validation", "invalid_request_error"),
    (Unauthorized("send a key"), "Validation", "authentication_error"),
    (Forbidden("not with this key"), "Validation", "permission_error"),
    (NotFound("no route"), "Validation", "NotFoundError"),
    (ModelNotFound("x", ("a", "b")), "Validation", "NotFoundError"),
    (MethodNotAllowed("POST only"), "Validation", "method_not_allowed"),
    (TargetUnavailable("no pool has it"), "Backend", "target_unavailable"),
    (TargetUnavailable("no pool at all", status=503), "Backend", "target_unavailable"),
    (RequestTimeout("it did not arrive"), "Validation", "request_timeout"),
    (PayloadTooLarge("at most 1 MiB"), "Validation", "payload_too_large"),
    (QueueFull("full", retry_after_s=3), "Overloaded", "rate_limit_exceeded"),
    (QueueFull("full", status=503, retry_after_s=1), "Overloaded", "rate_limit_exceeded"),
    (LimitExceeded("10 a month", retry_after_s=60), "Overloaded", "limit_exceeded"),
    (NotReady("loading", retry_after_s=2), "Unhealthy", "service_unavailable"),
    (DeadlineExceeded("too late"), "Backend", "deadline_exceeded"),
    (ServerFault(), "Backend", "InternalServerError"),
]
every_kind = pytest.mark.parametrize(("error", "tei", "vllm"), KINDS, ids=[f"{type(error).__name__}-{error.http_status}" for error, _, _ in KINDS])
every_style = pytest.mark.parametrize("style", STYLES)


def body(error: EmberankError, style: ErrorStyle) -> dict[str, Any]:
    said = json.loads(render_error(error, "id-1", style))
    assert isinstance(said, dict)
    return said


def test_every_kind_that_can_leave_a_process_is_tried_here() -> None:
    def ends(cls: type[EmberankError]) -> set[type[EmberankError]]:
        below = {each for each in cls.__subclasses__() if each.__module__ == EmberankError.__module__ and not issubclass(each, StartError)}
        return set().union(*map(ends, below)) if below else {cls}

    assert ends(EmberankError) == {type(error) for error, _, _ in KINDS}


@every_style
@every_kind
def test_what_all_readers_share_is_in_every_shape(error: EmberankError, tei: str, vllm: str, style: ErrorStyle) -> None:
    said = body(error, style)
    shared = {"object": "error", "message": error.message, "type": error.type, "code": error.http_status, "detail": error.message, "request_id": "id-1"}
    assert {name: said.get(name) for name in shared} == shared
    assert "errors" not in said  # FastAPI's and Hugging Face's list


@every_kind
def test_nims_and_teis_readers_find_a_string_and_openais_and_vllms_an_object(error: EmberankError, tei: str, vllm: str) -> None:
    assert {style: body(error, style)["error"] for style in STYLES} == {
        "nim": error.message,
        "cohere": error.message,
        "tei": error.message,
        "openai": {"message": error.message, "type": error.type, "param": None, "code": error.http_status},
        "vllm": {"message": error.message, "type": vllm, "param": None, "code": error.http_status},
    }


@every_kind
def test_a_dialect_has_its_own_fields_and_no_other_has_them(error: EmberankError, tei: str, vllm: str) -> None:
    own = {style: {name: value for name, value in body(error, style).items() if name in ("id", "error_type", "param")} for style in STYLES}
    assert own == {"nim": {}, "openai": {}, "cohere": {"id": "id-1", "error_type": tei}, "tei": {"error_type": tei}, "vllm": {"param": None}}


@every_style
@every_kind
def test_our_own_client_knows_the_kind_from_any_shape(error: EmberankError, tei: str, vllm: str, style: ErrorStyle) -> None:
    back = error_from(error.http_status, [], render_error(error, "id-1", style))
    assert (back.message, back.http_status) == (error.message, error.http_status)
    if style != "vllm":  # which has words of its own for what a kind is
        assert type(back) is type(error)


@every_style
def test_what_is_no_utf8_is_said_with_replacement_marks(style: ErrorStyle) -> None:
    said = body(BadRequest("é \ud800"), style)
    assert said["message"] == said["detail"] == "é ?"
    assert said["error"] == "é ?" or said["error"]["message"] == "é ?"


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(STYLES))
def test_any_sentence_makes_a_body(message: str, style: ErrorStyle) -> None:
    said = body(BadRequest(message), style)
    assert isinstance(said["detail"], str)
    assert said["detail"] == said["message"] == message.encode("utf-8", "replace").decode("utf-8")


@every_style
def test_a_cause_is_never_said(style: ErrorStyle) -> None:
    fault = ServerFault()
    fault.__cause__ = RuntimeError("secret")
    assert b"secret" not in render_error(fault, "id", style)


@pytest.mark.parametrize(
    ("path", "style"),
    [
        ("/v1/ranking", "nim"),
        ("/v1/reranking", "nim"),
        ("/v1/retrieval/{org}/{model}/reranking", "nim"),
        ("/v1/inference/{slug}", "nim"),
        ("/v1/rerank", "cohere"),
        ("/v2/rerank", "cohere"),
        ("/rerank", "cohere"),
        ("/rerank/", "cohere"),
        ("/infinity/rerank", "cohere"),
        ("/models/minilm/v1/rerank", "cohere"),
        ("/v1/embed", "cohere"),
        ("/v2/embed", "cohere"),
        ("/models/minilm/v2/embed", "cohere"),
        ("/embed", "tei"),
        ("/models/minilm/embed", "tei"),
        ("/similarity", "tei"),
        ("/predict", "tei"),
        ("/info", "tei"),
        ("/health", "tei"),
        ("/v1/embeddings", "openai"),
        ("/embeddings", "openai"),
        ("/v1/chat/completions", "openai"),
        ("/models", "openai"),
        ("/score", "vllm"),
        ("/v1/score", "vllm"),
        ("/pooling", "vllm"),
        ("", "nim"),
        ("/", "nim"),
        ("/no/such/route", "nim"),
    ],
)
def test_a_paths_last_part_says_whose_shape_its_errors_have(path: str, style: ErrorStyle) -> None:
    assert style_of(path) == style
