"""Who is signed in, asked of the forge over HTTP: its answer arrives whole, its refusals survive, and a gateway that is refused is told apart from a visitor."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from emberank.client.fleet import RemoteFleet
from emberank.client.pool import Pool
from emberank.contract.errors import DeadlineExceeded, EmberankError, Forbidden, LimitExceeded, NotFound, NotReady, Unauthorized
from emberank.contract.fleet import Principal
from emberank.dialects import fleet
from emberank.dialects.errors import render_error
from loopback import Talk, answer, playing

Run = Callable[[Coroutine[Any, Any, Any]], Any]
TOKEN = "s3cret-token"
HEADERS = [(b"cookie", b"emberank_session=abc"), (b"host", b"gate.example"), (b"x-csrf-token", b"t")]
WHO = Principal(key_id="k1", name="n", digest="", scopes=("read",), models=("a",), monthly_usd=2.5, month="2026-11", spent_usd=1.0)


def asked(run: Run, said: bytes, headers: Any = HEADERS, within_s: float = 5.0) -> tuple[Principal, bytes]:
    """What a fleet makes of a forge that says this, and what the forge got."""

    async def both() -> tuple[Principal, bytes]:
        requests: list[bytes] = []

        async def script(talk: Talk) -> None:
            requests.append(await talk.request())
            await talk.send(said)
            if within_s < 1:
                await talk.left()  # what is missing never comes

        async with playing(script) as server:
            pool = Pool()
            try:
                return await RemoteFleet(server.url, TOKEN, pool).session(headers, time.monotonic() + within_s), requests[0]
            finally:
                await pool.close()

    found: tuple[Principal, bytes] = run(both())
    return found


def refusal(error: EmberankError) -> bytes:
    return answer(render_error(error, "id", "nim"), status=b"%d Refused" % error.http_status)


def test_who_it_is_arrives_and_the_headers_go_there_beside_the_fleets_token(run: Run) -> None:
    who, head = asked(run, answer(fleet.encode(WHO)))
    assert who == WHO
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"post /internal/session ")
    assert {b"authorization: bearer s3cret-token", b"cookie: emberank_session=abc", b"host: gate.example", b"x-csrf-token: t"} <= set(lines)
    assert sum(line.startswith(b"host:") for line in lines) == 1


@pytest.mark.parametrize("error", [Unauthorized("sign in"), Forbidden("out of date"), LimitExceeded("too often", retry_after_s=2)])
def test_a_refusal_is_the_visitors(run: Run, error: EmberankError) -> None:
    with pytest.raises(type(error), match=error.message):
        asked(run, refusal(error))


@pytest.mark.parametrize(
    "said", [refusal(NotFound("no route '/internal/session'")), answer(b"{}"), answer(b"<html>"), b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]
)
def test_a_forge_that_does_not_answer_this_is_as_good_as_away(run: Run, said: bytes) -> None:
    with pytest.raises(NotReady) as caught:
        asked(run, said)
    assert caught.value.__cause__ is not None  # so a gateway says that the forge is away


def test_a_header_that_would_be_two_is_never_sent(run: Run) -> None:
    with pytest.raises(NotReady):
        asked(run, answer(fleet.encode(WHO)), [(b"cookie", b"a\r\nauthorization: Bearer x")])


def test_it_waits_no_longer_than_the_caller(run: Run) -> None:
    with pytest.raises(DeadlineExceeded):
        asked(run, answer(fleet.encode(WHO))[:-1], within_s=0.05)
