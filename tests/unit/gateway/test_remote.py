"""Somebody else's server behind the gateway: asked in its own words, and whatever it does, a caller gets one clear sentence, and no key leaves for elsewhere."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from emberank.gateway import remote
from emberank.gateway.breaker import Breaker
from fleets import EMBEDDED, RANKED, RANKING, Asked, FakeEndpoint, Said, ScriptedFleet, endpoint, fake_endpoint, model, principal, soon
from gateways import Door, opened
from loopback import Script, Talk, answer, chunked, playing
from wire import Reply, nim_error

SECRET = "nvapi-very-secret"
PATH = "/v1/retrieval/nvidia/x/reranking"
COHERE = json.dumps(
    {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}], "meta": {"tokens": {"input_tokens": 21}}}
).encode()
HOSTED = {"dialect": "nim", "path": PATH, "secret": SECRET, "gpu_type": "REMOTE", "region": "elsewhere", "price_usd_per_hour": None}
RERANK = {"query": "q", "documents": ["a", "b"]}
Act = Callable[[Door, FakeEndpoint, ScriptedFleet], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits between two tries but what a server asks for."""
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.0)


def one(folder: Path, act: Act, *, wire: dict[str, Any] | None = None, row: Any = None, **settings: Any) -> Any:
    """One remote server, hosted by NVIDIA unless `wire` says otherwise."""

    async def play() -> Any:
        async with fake_endpoint() as fake:
            fleet = ScriptedFleet([row or model()], [endpoint(**{"url": fake.url} | HOSTED | (wire or {}))], [principal()])
            async with opened(fleet, folder, **settings) as door:
                return await act(door, fake, fleet)

    return asyncio.run(play())


def says(folder: Path, *said: Said, wire: dict[str, Any] | None = None, path: str = "/v1/ranking", body: Any = RANKING, **settings: Any) -> tuple[Reply, int]:
    """What a caller gets when the server says these in turn, and how often it was asked."""

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, int]:
        fake.answer = lambda asked: said[min(len(fake.asked), len(said)) - 1]
        return await door.ask(path, body), len(fake.asked)

    found: tuple[Reply, int] = one(folder, act, wire=wire, **settings)
    return found


def refused(reply: Reply) -> str:
    """The caller's sentence, which has no key in it and no word of ours about causes."""
    assert SECRET not in reply.body.decode()
    said = nim_error(reply)
    assert "internal error" not in said
    return said


# What it is asked


def test_nvidia_s_own_server_is_asked_at_its_path_with_our_key_and_its_name_for_the_model(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Asked]:
        return await door.ask(headers={"traceparent": "00-of-the-caller-01"}), fake.asked[0]

    reply, asked = one(tmp_path, act)
    assert reply.status == 200
    assert [entry["index"] for entry in reply.json["rankings"]] == [1, 0]
    assert (asked.path, asked.headers["authorization"], asked.json["model"]) == (PATH, f"Bearer {SECRET}", "served")
    assert asked.headers["user-agent"].startswith("emberank/")
    assert "traceparent" not in asked.headers, "a stranger learns nothing of the caller"
    assert reply.headers["x-emberank-target"] == "REMOTE/elsewhere"


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/ranking"])
def test_a_cohere_server_answers_callers_of_every_dialect(tmp_path: Path, path: str) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Asked]:
        fake.answer = lambda asked: Said(200, COHERE, {})
        return await door.ask(path, RERANK if path == "/v1/rerank" else RANKING), fake.asked[0]

    reply, asked = one(tmp_path, act, wire={"dialect": "cohere", "path": "/v2/rerank", "score": "sigmoid"})
    assert reply.status == 200
    assert asked.json == {"model": "served", "query": asked.json["query"], "documents": asked.json["documents"], "return_documents": False}
    if path == "/v1/rerank":
        assert [entry["relevance_score"] for entry in reply.json["results"]] == pytest.approx([0.9, 0.2])
    else:
        assert [round(entry["logit"], 3) for entry in reply.json["rankings"]] == [2.197, -1.386]
        assert reply.headers["emberank-ignored-fields"] == "truncate", "such a server cuts what is too long, and that is said"
    assert reply.headers["emberank-prompt-tokens"] == "21"


def test_what_it_has_no_words_for_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    reply, asked = says(tmp_path, Said(), wire={"dialect": "cohere", "path": "/v1/rerank"}, path="/v1/rerank", body=RERANK | {"max_chunks_per_doc": 3})
    assert (reply.status, asked) == (400, 0)
    assert "max_chunks_per_doc cannot be had here" in reply.json["message"]


def test_an_embedder_of_nvidia_s_answers(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, Asked]:
        fake.answer = lambda asked: Said(200, EMBEDDED, {})
        return await door.ask("/v1/embeddings", {"input": ["a"]}), fake.asked[0]

    reply, asked = one(tmp_path, act, wire={"path": "/v1/embeddings"}, row=model(task="embed"))
    assert (reply.status, asked.path, reply.json["data"][0]["embedding"]) == (200, "/v1/embeddings", [1.0])


def test_more_passages_than_it_takes_are_sent_in_parts_and_come_back_as_one(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, list[int]]:
        def say(asked: Asked) -> Said:
            texts = asked.json["documents"]
            return Said(200, json.dumps({"results": [{"index": i, "relevance_score": int(text) / 10} for i, text in enumerate(texts)]}).encode(), {})

        fake.answer = say
        reply = await door.ask("/v1/rerank", {"query": "q", "documents": list("31425")})
        return reply, [len(asked.json["documents"]) for asked in fake.asked]

    reply, sizes = one(tmp_path, act, wire={"dialect": "cohere", "path": "/v1/rerank", "score": "sigmoid", "max_passages": 2, "usd_per_request": 0.5})
    assert sizes == [2, 2, 1]
    assert [entry["index"] for entry in reply.json["results"]] == [4, 2, 0, 3, 1]
    assert reply.headers["x-emberank-cost-usd"] == "1.5", "each part is a request to them"


# What it may do, and what a caller is told


@pytest.mark.parametrize(
    ("said", "status", "sentence", "tries"),
    [
        (Said(401, b'{"detail":"bad key nvapi-very-secret"}', {}), 502, "refuses the key that this installation has for it (401)", 1),
        (Said(403, b"<html>forbidden</html>", {}), 502, "refuses the key that this installation has for it (403)", 1),
        (Said(404, b"404 page not found", {}), 502, "does not know the model, or takes no such calls at its URL (404)", 1),
        (Said(405, b"", {}), 502, "takes no such calls at its URL (405)", 1),
        (Said(410, b'{"detail":"has reached its end of life on 2026-08-25"}', {}), 502, "the model is gone for good (410)", 1),
        (Said(202, b"", {"NVCF-REQID": "1"}), 502, "answered with status 202, which is no answer to the call", 1),
        (Said(204, b"", {}), 502, "answered with status 204", 1),
        (Said(301, b"", {"Location": "https://elsewhere.example/"}), 502, "sends elsewhere (301), and no key is taken elsewhere", 1),
        (Said(308, b"", {"Location": "/x"}), 502, "sends elsewhere (308)", 1),
        (Said(500, b"boom", {}), 503, "has a fault of its own (500)", 3),
        (Said(503, b"", {}), 503, "has a fault of its own (503)", 3),
        (Said(429, b"", {}), 503, "has had too many requests for now (429)", 3),
        (Said(status=0), 503, "broke the connection off before its whole answer was there", 3),
        (Said(200, b"<html><body>Welcome</body></html>", {}), 502, "sent an answer that is no whole ranking of the passages it was asked for", 1),
        (Said(200, b"", {}), 502, "no whole ranking", 1),
        (Said(200, b'{"rankings":[{"index":0,"logit":1}]}', {}), 502, "no whole ranking", 1),
        (Said(200, b'{"rankings":[{"index":0,"logit":1},{"index":0,"logit":2}]}', {}), 502, "no whole ranking", 1),
        (Said(200, b'{"rankings":[{"index":0,"logit":1},{"index":5,"logit":2}]}', {}), 502, "no whole ranking", 1),
    ],
)
def test_whatever_it_answers_a_caller_gets_one_sentence(tmp_path: Path, said: Said, status: int, sentence: str, tries: int) -> None:
    reply, asked = says(tmp_path, said)
    assert (reply.status, asked) == (status, tries)
    message = refused(reply)
    assert message.startswith("the remote server of 'acme-rank' ")
    assert sentence in message
    assert ("retry-after" in reply.headers) is (status == 503)


def test_what_it_says_of_the_caller_s_own_mistake_is_passed_on_cut_short_and_without_the_key(tmp_path: Path) -> None:
    reply, asked = says(tmp_path, Said(400, json.dumps({"message": "bad\nquery " + "x" * 999, "type": "their_own_word"}).encode(), {}))
    assert (reply.status, asked) == (400, 1)
    assert refused(reply) == "bad query " + "x" * (300 - len("bad query ")) + "…"
    assert reply.json["type"] == "invalid_request_error"
    reply, _ = says(tmp_path, Said(422, b'{"detail":[{"msg":"passages too long"}]}', {}))
    assert (reply.status, nim_error(reply)) == (422, "passages too long")


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        SECRET.upper(),
        " ".join(SECRET),
        quote(SECRET, safe=""),
        "".join(f"%{ord(letter):02x}" for letter in SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"Bearer " + SECRET.encode()).decode(),
        SECRET[3:],
        SECRET[:-3],
    ],
)
def test_a_sentence_that_repeats_the_key_in_whatever_spelling_is_not_passed_on(tmp_path: Path, spelling: str) -> None:
    reply, _ = says(tmp_path, Said(400, json.dumps({"message": f"bad query, you sent {spelling} as your key"}).encode(), {}))
    assert (reply.status, "you sent" in refused(reply), "refuses the request (400)" in refused(reply)) == (400, False, True)


def test_what_a_server_quotes_of_a_request_is_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    says(tmp_path, Said(500, json.dumps({"message": "cannot rank 'two roads' for 'which way?'"}).encode(), {}))
    assert "a remote server fails: status 500" in caplog.messages
    assert "two roads" not in caplog.text


def test_a_strangers_header_of_cut_places_holds_places_or_is_dropped(tmp_path: Path) -> None:
    for value, kept in (("0,1", "0,1"), (f"Bearer {SECRET}", None), ("9" * 5000, None)):
        reply, _ = says(tmp_path, Said(200, RANKED, {"Emberank-Truncated": value, "Server-Timing": f"x;desc={SECRET}, engine;dur=2"}))
        assert (reply.status, reply.headers.get("emberank-truncated")) == (200, kept)
        assert reply.headers["server-timing"] == "engine;dur=2.00"


def test_a_fault_that_passes_is_tried_again_and_nobody_notices(tmp_path: Path) -> None:
    reply, asked = says(tmp_path, Said(503, b"", {}), Said(429, b"", {"Retry-After": "0"}), Said())
    assert (reply.status, asked) == (200, 3)


def test_how_often_is_a_setting(tmp_path: Path) -> None:
    assert says(tmp_path, Said(500, b"", {}), remote_retries=0)[1] == 1
    assert says(tmp_path, Said(500, b"", {}), remote_retries=4)[1] == 5


def test_a_server_that_wants_a_long_rest_gets_it_from_the_caller(tmp_path: Path) -> None:
    reply, asked = says(tmp_path, Said(429, b"", {"Retry-After": "40"}))
    assert (reply.status, asked, reply.headers["retry-after"]) == (503, 1, "40")


def test_a_rest_that_does_not_fit_into_the_deadline_is_not_waited_for(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, int]:
        fake.answer = lambda asked: Said(503, b"", {"Retry-After": "5"})
        return (await door.ask(headers={"X-Request-Timeout": "3"})).status, len(fake.asked)

    assert one(tmp_path, act) == (503, 1)


def test_a_try_has_its_own_time_and_another_one_follows(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, int]:
        async def first_never(asked: Asked) -> Said:
            if len(fake.asked) == 1:
                await asyncio.Event().wait()
            return Said()

        fake.answer = first_never
        return await door.ask(), len(fake.asked)

    reply, asked = one(tmp_path, act, wire={"timeout_s": 0.1})
    assert (reply.status, asked) == (200, 2)


def test_a_server_that_never_answers_is_given_up_with_its_time_in_the_sentence(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        async def never(asked: Asked) -> Said:
            await asyncio.Event().wait()
            return Said()

        fake.answer = never
        return await door.ask()

    reply = one(tmp_path, act, remote_timeout_s=0.05, remote_retries=1)
    assert (reply.status, refused(reply)) == (503, "the remote server of 'acme-rank' did not answer within 0.05 s")


def test_the_caller_s_own_deadline_is_a_504_and_no_failure_of_the_server(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[int, float]:
        async def never(asked: Asked) -> Said:
            await asyncio.Event().wait()
            return Said()

        fake.answer = never
        reply = await door.ask(headers={"X-Request-Timeout": "0.05"})
        await soon(lambda: fake.left == 1, "the server sees us leave")
        return reply.status, door.value("emberank_remote_failures_total", model="acme-rank")

    assert one(tmp_path, act) == (504, 0)


def test_nobody_there_is_said_and_the_forge_is_told(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        reply = await door.ask()
        await soon(lambda: any("e1" in report.unreachable for report in fleet.reports), "the forge is told")
        return reply

    reply = one(tmp_path, act, wire={"url": "http://127.0.0.1:1"})
    assert (reply.status, refused(reply), reply.headers["retry-after"]) == (503, "the remote server of 'acme-rank' cannot be reached", "1")


async def _promises_more(talk: Talk) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + RANKED)


async def _dies_half_way(talk: Talk) -> None:
    await talk.request()
    await talk.send(chunked(RANKED)[:-10])


async def _sends_less_than_it_says(talk: Talk) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + RANKED)


async def _no_http(talk: Talk) -> None:
    await talk.request()
    await talk.send(b"\x16\x03\x01 what?\r\n\r\n")


async def _endless(talk: Talk) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await talk.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def _gzipped(talk: Talk) -> None:
    await talk.request()
    await talk.send(answer(b"\x1f\x8b\x08\x00", b"Content-Encoding: gzip"))


@pytest.mark.parametrize(
    ("script", "status", "sentence", "tries"),
    [
        (_promises_more, 503, "broke the connection off before its whole answer was there", 3),
        (_dies_half_way, 503, "broke the connection off before its whole answer was there", 3),
        (_sends_less_than_it_says, 502, "no whole ranking", 1),
        (_no_http, 502, "answered with something that is not HTTP", 3),
        (_endless, 502, "sent an answer larger than this gateway takes", 1),
        (_gzipped, 502, "no whole ranking", 1),
    ],
)
def test_a_server_that_lies_or_breaks_off_is_caught_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script, status: int, sentence: str, tries: int
) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> tuple[Reply, int]:
        monkeypatch.setattr(door.gateway.pool, "_max_body_bytes", 1 << 20)
        async with playing(script) as server:
            fleet.publish(endpoints=[endpoint(server.url, **HOSTED)])
            await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
            return await door.ask(), len(server.asked)

    reply, asked = one(tmp_path, act)
    assert (reply.status, asked) == (status, tries)
    assert sentence in refused(reply)


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> list[Any]:
        async with fake_endpoint() as thief:
            fake.answer = lambda asked: Said(307, b"", {"Location": f"{thief.url}{PATH}"})
            assert (await door.ask()).status == 502
            return thief.asked

    assert one(tmp_path, act) == []


def test_the_log_has_what_happened_and_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    says(tmp_path, Said(401, json.dumps({"message": f"key {SECRET} is unknown"}).encode(), {}))
    assert "a remote server fails: 401: " in caplog.messages, "what it says holds the key"
    caplog.clear()
    says(tmp_path, Said(401, b'{"message": "this key is unknown"}', {}))
    assert "a remote server fails: 401: this key is unknown" in caplog.messages
    assert SECRET not in caplog.text + "".join(str(vars(record)) for record in caplog.records)


def test_its_own_headers_are_not_taken_for_ours(tmp_path: Path) -> None:
    headers = {"Emberank-Fallback": "x@v1", "Emberank-Random-Weights": "true", "Emberank-Prompt-Tokens": "9" * 30, "Server-Timing": "engine;dur=nan"}
    reply, _ = says(tmp_path, Said(200, RANKED, headers))
    assert not {"emberank-fallback", "emberank-random-weights"} & set(reply.headers)
    assert reply.headers["emberank-prompt-tokens"] == "12", "as the body has it"
    assert float(reply.headers["x-emberank-model-ms"]) > 0


# The circuit


def quick(door: Door, **how: Any) -> Breaker:
    """A breaker of the test's own for the one endpoint."""
    (place,) = door.gateway.view.places._by_id.values()
    place.breaker = Breaker(**how)
    return place.breaker


def test_after_failures_in_a_row_it_is_left_alone_and_everybody_is_told_when_it_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        quick(door, failures=2, first_s=50.0)
        fake.answer = lambda asked: Said(500, b"", {})
        assert (await door.ask()).status == 503
        asked = len(fake.asked)
        reply = await door.ask()
        assert len(fake.asked) == asked == 2, "a circuit that opens ends the retries as well"
        assert door.value("emberank_circuit_open", model="acme-rank") == 1
        assert fleet.wakes == [], "there is nothing to start"
        return reply

    reply = one(tmp_path, act)
    assert (reply.status, reply.headers["retry-after"]) == (503, "50")
    assert refused(reply) == "the remote server of 'acme-rank' has a fault of its own (500); it failed 2 times in a row, and is tried again in 50 s"
    assert "a remote server is not asked for 50 s: it failed 2 times in a row" in caplog.messages


def test_when_it_answers_the_one_trial_the_circuit_is_closed(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        breaker = quick(door, failures=1, first_s=0.05)
        fake.answer = lambda asked: Said(500, b"", {})
        await door.ask()
        await soon(lambda: breaker.admits(asyncio.get_running_loop().time()), "its time is over")
        gate = asyncio.Event()

        async def slow(asked: Asked) -> Said:
            await gate.wait()
            return Said()

        fake.answer = slow
        trial = asyncio.create_task(door.ask())
        await soon(lambda: len(fake.asked) == 2, "the trial is on its way")
        assert (await door.ask()).status == 503, "one trial at a time"
        gate.set()
        assert (await trial).status == 200
        assert (await door.ask()).status == 200
        assert door.value("emberank_circuit_open", model="acme-rank") == 0

    one(tmp_path, act)


def test_a_trial_whose_caller_leaves_is_no_answer_and_the_next_one_is_the_trial(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> None:
        breaker = quick(door, failures=1, first_s=0.05)
        fake.answer = lambda asked: Said(500, b"", {})
        await door.ask()
        await soon(lambda: breaker.admits(asyncio.get_running_loop().time()), "its time is over")

        async def never(asked: Asked) -> Said:
            await asyncio.Event().wait()
            return Said()

        fake.answer = never
        assert (await door.ask(headers={"X-Request-Timeout": "0.05"})).status == 504
        fake.answer = lambda asked: Said()
        assert (await door.ask()).status == 200

    one(tmp_path, act)


def test_a_caller_s_mistakes_do_not_open_the_circuit(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> set[int]:
        breaker = quick(door, failures=2)
        fake.answer = lambda asked: Said(400, b'{"message":"no"}', {})
        statuses = {(await door.ask()).status for _ in range(5)}
        assert (breaker.state(0.0), breaker.failures) == ("closed", 0)
        return statuses

    assert one(tmp_path, act) == {400}


def test_a_better_key_closes_the_circuit(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> int:
        quick(door, failures=1, first_s=50.0)
        fake.answer = lambda asked: Said() if asked.headers["authorization"] == "Bearer better" else Said(401, b"", {})
        await door.ask()
        assert (await door.ask()).status == 503
        fleet.publish(endpoints=[endpoint(fake.url, **HOSTED | {"secret": "better"})])
        await soon(lambda: door.gateway.view.revisions.endpoints == 2, "the snapshot is there")
        return (await door.ask()).status

    assert one(tmp_path, act) == 200


# What it costs


@pytest.mark.parametrize(
    ("wire", "usd"),
    [
        ({"usd_per_request": 0.002}, 0.002),
        ({"usd_per_million_tokens": 50.0}, 12 * 50e-6),
        ({"usd_per_request": 0.002, "usd_per_million_tokens": 50.0}, 0.0026),
        ({"usd_per_request": 0.002, "price_usd_per_hour": 0.0}, 0.002),
        ({"usd_per_request": 1e-9, "price_usd_per_hour": 3.6e9}, 10e3),  # 10 ms of the engine
    ],
)
def test_a_request_costs_what_its_owner_charges_or_the_time_whichever_is_more(tmp_path: Path, wire: dict[str, Any], usd: float) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        reply = await door.ask()
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        assert fleet.usage[0].cost_usd == pytest.approx(usd)
        return reply

    assert float(one(tmp_path, act, wire=wire).headers["x-emberank-cost-usd"]) == pytest.approx(usd)


def test_tokens_that_nobody_counts_are_reckoned_from_the_texts_for_the_price_alone(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> Reply:
        fake.answer = lambda asked: Said(200, b'{"rankings":[{"index":1,"logit":1},{"index":0,"logit":0}]}', {})
        reply = await door.ask(body={"query": {"text": "q" * 100}, "passages": [{"text": "p" * 150}, {"text": "p" * 150}]})
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        assert fleet.usage[0].tokens == 0
        return reply

    assert float(one(tmp_path, act, wire={"usd_per_million_tokens": 1e6}).headers["x-emberank-cost-usd"]) == 101


def test_a_failure_costs_nothing_here(tmp_path: Path) -> None:
    async def act(door: Door, fake: FakeEndpoint, fleet: ScriptedFleet) -> float:
        fake.answer = lambda asked: Said(500, b"", {})
        await door.ask()
        await soon(lambda: bool(fleet.usage), "the usage is reported")
        return float(fleet.usage[0].cost_usd)

    assert one(tmp_path, act, wire={"usd_per_request": 1.0}) == 0
