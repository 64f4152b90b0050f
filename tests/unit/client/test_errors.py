"""Errors survive the wire: ours come back as they were, those of others as near as can be."""

from __future__ import annotations

import pytest

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
    RequestError,
    RequestTimeout,
    ServerFault,
    StartError,
    TargetUnavailable,
    Unauthorized,
)
from emberank.dialects.errors import ErrorStyle, render_error

OURS = [
    BadRequest("top_n must be a whole number from 1 on; got 'x'"),
    InputTooLong(700, 512),
    InputTooLong(700, 512, status=422),
    Unauthorized("send Authorization: Bearer"),
    Forbidden("this key may not manage"),
    NotFound("no such route"),
    ModelNotFound("x", ("a", "b")),
    MethodNotAllowed("POST only"),
    TargetUnavailable("no pool here provides B200"),
    RequestTimeout("the body did not arrive"),
    PayloadTooLarge("at most 1 MiB"),
    QueueFull("full", retry_after_s=3),
    QueueFull("full", status=503, retry_after_s=1),
    LimitExceeded("10 tokens a month", retry_after_s=60),
    NotReady("starting", retry_after_s=12),
    DeadlineExceeded("too late"),
    ServerFault(),
]


@pytest.mark.parametrize("style", ["nim", "openai"])
@pytest.mark.parametrize("error", OURS, ids=lambda error: f"{type(error).__name__}-{error.http_status}")
def test_an_error_of_ours_comes_back_as_it_was(error: EmberankError, style: ErrorStyle) -> None:
    headers = [] if error.retry_after_s is None else [(b"retry-after", b"%d" % error.retry_after_s)]
    back = error_from(error.http_status, headers, render_error(error, "id", style))
    assert type(back) is type(error)
    assert (back.message, back.http_status, back.type, back.retry_after_s, str(back)) == (
        error.message,
        error.http_status,
        error.type,
        error.retry_after_s,
        str(error),
    )


def test_every_class_that_can_leave_a_process_is_tried_above() -> None:
    def ends(cls: type[EmberankError]) -> set[type[EmberankError]]:
        below = {each for each in cls.__subclasses__() if each.__module__ == EmberankError.__module__ and not issubclass(each, StartError)}
        return set().union(*map(ends, below)) if below else {cls}

    assert ends(EmberankError) == {type(error) for error in OURS}


@pytest.mark.parametrize(
    ("status", "body", "cls", "message"),
    [
        (400, b'{"error":"Input is too long"}', BadRequest, "Input is too long"),
        (422, b'{"detail":[{"loc":["body","query"],"msg":"Field required"}]}', BadRequest, "Field required"),
        (401, b'{"detail":"Invalid key"}', Unauthorized, "Invalid key"),
        (402, b'{"message":"Cloud credits expired"}', RequestError, "Cloud credits expired"),
        (404, b"404 page not found", NotFound, "the server answered with status 404 and no reason"),
        (404, b'{"detail":"Not Found"}', NotFound, "Not Found"),
        (429, b'{"error":{"message":"slow down","type":"tokens","code":"rate_limit"}}', QueueFull, "slow down"),
        (500, b"<html>oops</html>", ServerFault, "the server answered with status 500 and no reason"),
        (501, b"{}", ServerFault, "the server answered with status 501 and no reason"),
        (502, b"", NotReady, "the server answered with status 502 and no reason"),
        (503, b'["no"]', NotReady, "the server answered with status 503 and no reason"),
        (504, b'{"message":""}', DeadlineExceeded, "the server answered with status 504 and no reason"),
        (302, b"", ServerFault, "the server answered with status 302 and no reason"),
        (500, b"[" * 100_000, ServerFault, "the server answered with status 500 and no reason"),
        (400, b'{"message":{"a":1},"detail":null,"error":7,"type":3}', BadRequest, "the server answered with status 400 and no reason"),
    ],
)
def test_an_error_of_others_is_judged_by_its_status_and_keeps_its_sentence(status: int, body: bytes, cls: type[EmberankError], message: str) -> None:
    error = error_from(status, [], body)
    assert isinstance(error, cls)
    assert (error.message, error.http_status) == (message, status)


def test_a_type_that_is_not_ours_is_kept() -> None:
    assert error_from(400, [], b'{"message":"m","type":"their_type"}').type == "their_type"
    assert BadRequest("x").type == "invalid_request_error"


def test_a_sentence_without_end_is_cut() -> None:
    assert len(error_from(400, [], b'{"message":"' + b"x" * 100_000 + b'"}').message) < 5000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"2")], 2.0),
        ([(b"retry-after", b"0.5")], 0.5),
        ([(b"retry-after", b"-3")], 0.0),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"Sat, 21 Nov 2026 04:00:30 GMT"), (b"date", b"Sat, 21 Nov 2026 04:00:00 GMT")], 30.0),
        ([(b"retry-after", b"Sat, 21 Nov 2026 04:00:30 GMT"), (b"date", b"Sat, 21 Nov 2026 05:00:00 GMT")], 0.0),
        ([(b"retry-after", b"Sat, 21 Nov 2026 04:00:30 GMT")], None),
        ([(b"retry-after", b"Sat, 21 Nov 2026 04:00:30"), (b"date", b"Sat, 21 Nov 2026 04:00:00 GMT")], None),
    ],
)
def test_when_to_come_again_in_seconds_or_as_a_date(headers: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    assert error_from(503, headers, b"").retry_after_s == seconds
