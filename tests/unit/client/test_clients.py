"""Both Python clients against the same servers: what they send, what they make of the answers, and how they bear with bad ones."""

from __future__ import annotations

import asyncio
import base64
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from client_kinds import KEY, RANKED, Calling, Kind, always, asked, in_turn, refusal, served
from emberank.client import AsyncClient, Client
from emberank.contract.errors import (
    BadRequest,
    DeadlineExceeded,
    EmberankError,
    Forbidden,
    ModelNotFound,
    NotReady,
    QueueFull,
    ServerFault,
    Unauthorized,
)
from loopback import Talk, answer, certificate
from wire import WAIT_S


def test_a_ranking_goes_out_in_nim_s_shape_and_comes_back_with_all_that_is_known_of_it(kind: Kind) -> None:
    headers = (b"X-Request-Id: r-1", b"X-Emberank-Target: CPU/local", b"X-Emberank-Cost-USD: 0.000012", b"X-Emberank-Cold-Start-Ms: 812.5")
    with served(always(answer(RANKED, b"Server-Timing: tokenize;dur=0.5, queue;dur=1, engine;desc=x;dur=3.25, odd", *headers))) as server:
        got = kind.ask(server.url, lambda client: client.rank("q?", ["a", {"text": "b", "image": "data:image/png;base64,AA=="}], model="o/m", top_n=2))
        line, sent, body = asked(server)
    assert line == "POST /v1/ranking"
    assert body == {"model": "o/m", "query": {"text": "q?"}, "passages": [{"text": "a"}, {"text": "b", "image": "data:image/png;base64,AA=="}], "top_n": 2}
    assert (sent["authorization"], sent["content-type"]) == (f"Bearer {KEY}", "application/json")
    assert 0 < float(sent["x-request-timeout"]) <= WAIT_S
    assert sent["user-agent"].startswith("emberank")
    assert got.rankings == ((1, 2.5), (0, -1.0))
    assert (got.prompt_tokens, got.request_id, got.target, got.cost_usd) == (9, "r-1", ("CPU", "local"), 0.000012)
    assert got.timings == {"tokenize": 0.5, "queue": 1.0, "engine": 3.25, "cold-start": 812.5}


def test_a_server_that_says_less_is_no_error(kind: Kind) -> None:
    with served(always(answer(b'{"rankings":[{"index":0,"logit":1}]}'))) as server:
        got = kind.ask(server.url, lambda client: client.rank("q", ["a"]))
        _, _, body = asked(server)
    assert (got.rankings, got.prompt_tokens, got.request_id, got.target, got.cost_usd, got.timings) == (((0, 1.0),), None, None, None, None, {})
    assert set(body) == {"query", "passages"}


def test_a_pinned_call_takes_the_native_route(kind: Kind) -> None:
    with served(always(answer(RANKED))) as server:
        kind.ask(
            server.url, lambda client: client.rank("q", ["a"], model="nvidia/m", gpu_type="B200", region="us-central1", model_version="v1", truncate="END")
        )
        line, _, body = asked(server)
        refusal = kind.refused(server.url, lambda client: client.rank("q", ["a"], gpu_type="B200"))
    assert line == "POST /v1/inference/nvidia%2Fm"
    assert (body["model"], body["gpu_type"], body["region"], body["model_version"], body["truncate"]) == ("nvidia/m", "B200", "us-central1", "v1", "END")
    assert isinstance(refusal, BadRequest)


VECTORS = np.array([[0.1, -2.0, 3.5], [1.0, 0.25, -1e-7]], np.float32)


@pytest.mark.parametrize("encoded", [True, False])
def test_embeddings_are_an_array_in_the_order_of_the_texts(kind: Kind, encoded: bool) -> None:
    written = [base64.b64encode(vector.tobytes()).decode() if encoded else vector.tolist() for vector in VECTORS]
    data = [{"object": "embedding", "index": index, "embedding": written[index]} for index in (1, 0)]
    with served(always(answer(orjson.dumps({"object": "list", "data": data})))) as server:
        got = kind.ask(server.url, lambda client: client.embed(["a", "b"], model="m", input_type="query", dimensions=3))
        line, _, body = asked(server)
    assert line == "POST /v1/embeddings"
    assert body == {"input": ["a", "b"], "model": "m", "input_type": "query", "dimensions": 3, "encoding_format": "base64"}
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, VECTORS)
    got[0, 0] = 1  # the caller's own


TARGET = {"gpu_type": "L40S", "region": "eu-north1"}
FILTERED = "?model_version=v1&gpu_type=L40S&region=eu-north1"


ROUTES = {"slug": "m", "filters": {}, "routes": [], "reason": "no pool", "alternatives": []}
ESTIMATE = {"slug": "m", "model_version": "v1", **TARGET, "confidence": "low", "cold_confidence": "none", "payload": {"tokens": 900}, "shape": "new"}
RELIABILITY = {"slug": "m", "model_version": "v1", "reliability_status": "verified", "supported_rows": 0, "total_rows": 0, "rows": []}
STATUS = {"slug": "m", "version": "v2", "phase": "COLD", "endpoints": []}
STARTED = {"slug": "m", "version": "v1", **TARGET, "phase": "WARM", "was_cold_start": True, "keep_warm": False, "startup_ms": 812}
STOPPED = {"slug": "m", "stopped": [{"version": "v1", **TARGET, "phase": "DRAINING"}], "message": ""}
MADE = {"key_id": "k1", "name": "ci", "state": "active", "scopes": ["inference"], "key": "ember_k1_secret"}


@pytest.mark.parametrize(
    ("calling", "line", "body", "said"),
    [
        (lambda c: c.model("o/m"), "GET /v1/models/o%2Fm", None, {"id": "o/m", "versions": []}),
        (lambda c: c.routes("m", model_version="v1", **TARGET), f"GET /v1/models/m/inference-routes{FILTERED}", None, ROUTES),
        (lambda c: c.estimate("m", model_version="v1", **TARGET), f"GET /v1/models/m/run-estimate{FILTERED}", None, ESTIMATE),
        (lambda c: c.estimate("m", tokens=900, passages=3), "GET /v1/models/m/run-estimate?tokens=900&passages=3", None, ESTIMATE),
        (lambda c: c.reliability("m", model_version="v1", **TARGET), f"GET /v1/models/m/reliability{FILTERED}", None, RELIABILITY),
        (lambda c: c.reliability("m"), "GET /v1/models/m/reliability", None, RELIABILITY),
        (lambda c: c.status("m", version="v2"), "GET /v1/model-families/m/status?version=v2", None, STATUS),
        (lambda c: c.start("m", version="v1", **TARGET), "POST /v1/model-families/m/start", {"run_until_stopped": False, "version": "v1"} | TARGET, STARTED),
        (lambda c: c.start("m", run_until_stopped=True), "POST /v1/model-families/m/start", {"run_until_stopped": True}, STARTED),
        (lambda c: c.stop("m", **TARGET), "POST /v1/model-families/m/stop", TARGET, STOPPED),
        (
            lambda c: c.create_key("ci", scopes=["inference"], monthly_usd=5, models=["m"]),
            "POST /v1/keys",
            {"name": "ci", "scopes": ["inference"], "monthly_usd": 5, "models": ["m"]},
            MADE,
        ),
    ],
)
def test_every_other_method_asks_its_route_and_gives_the_answer_as_it_is(kind: Kind, calling: Calling, line: str, body: object, said: dict[str, Any]) -> None:
    with served(always(answer(orjson.dumps(said)))) as server:
        got = kind.ask(server.url, calling)
        assert (asked(server)[0], asked(server)[2]) == (line, body)
    assert got == said
    assert all(getattr(got, name) == said[name] for name in ("slug", "phase", "key", "confidence", "supported_rows", "reason") if name in said)


def test_lists_are_lists(kind: Kind) -> None:
    with served(always(answer(b'{"object":"list","data":[{"id":"m"}]}'))) as server:
        models = kind.ask(server.url, lambda client: client.models())
        assert models == [{"id": "m"}]
        assert models[0].id == "m"
    key = {name: value for name, value in MADE.items() if name != "key"}
    with served(always(answer(orjson.dumps({"object": "list", "data": [key]})))) as server:
        assert kind.ask(server.url, lambda client: client.keys()) == [key]
        assert asked(server)[0] == "GET /v1/keys"
    with served(always(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        assert kind.ask(server.url, lambda client: client.revoke_key("k-1")) is None
        assert asked(server)[0] == "DELETE /v1/keys/k-1"


def test_a_start_need_not_be_waited_for(kind: Kind) -> None:
    starting = STARTED | {"phase": "STARTING", "startup_ms": None}
    with served(always(answer(orjson.dumps(starting), status=b"202 Accepted"))) as server:
        got = kind.ask(server.url, lambda client: client.start("m", wait=False))
        assert (got.phase, got.startup_ms) == ("STARTING", None)
        assert asked(server)[1]["prefer"] == "respond-async"


# --- where, and who


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/forge", "/forge/v1"])
def test_a_base_may_end_in_v1_or_not(kind: Kind, end: str) -> None:
    with served(always(answer(RANKED))) as server:
        kind.ask(server.url + end, lambda client: client.rank("q", ["a"]))
        assert asked(server)[0] == f"POST {'/forge' if 'forge' in end else ''}/v1/ranking"


@pytest.mark.parametrize("prefix", ["FORGE", "EMBERANK"])
def test_base_and_key_come_from_the_environment(kind: Kind, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(always(answer(RANKED))) as server:
        monkeypatch.setenv(f"{prefix}_API_BASE", f"{server.url}/v1")
        monkeypatch.setenv(f"{prefix}_API_KEY", KEY)
        kind.ask("", lambda client: client.rank("q", ["a"]), base_url=None, api_key=None)
        assert asked(server)[1]["authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(kind: Kind) -> None:
    with served(always(answer(RANKED))) as server:
        kind.ask(server.url, lambda client: client.rank("q", ["a"]), api_key=None)
        assert "authorization" not in asked(server)[1]


@pytest.mark.parametrize("cls", [Client, AsyncClient])
def test_the_key_is_shown_to_nobody(cls: Any) -> None:
    client = cls("http://127.0.0.1:1", KEY)
    assert repr(client) == f"{cls.__name__}('http://127.0.0.1:1')"
    assert KEY not in f"{client} {client._account!r}"


@pytest.mark.parametrize("cls", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("base", "key", "error", "said"),
    [
        ("https://YOUR_FORGE_HOST", KEY, BadRequest, "FORGE_API_BASE"),
        ("http://h", "replace-with-your-forge-api-key", Unauthorized, "FORGE_API_KEY"),
        ("http://h", "two words", Unauthorized, "characters"),
        ("http://h", "line\r\nX-Evil: 1", Unauthorized, "characters"),
        ("http://h", "clé", Unauthorized, "characters"),
        ("h:8000", KEY, BadRequest, "http://"),
        ("http://u:secret@h", KEY, BadRequest, "user name"),
        ("ftp://h", KEY, BadRequest, "http://"),
    ],
)
def test_a_placeholder_or_a_broken_address_is_refused_before_anything_is_sent(cls: Any, base: str, key: str, error: type[EmberankError], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        cls(base, key)
    assert not {"two words", "clé", "secret"} & {word for word in ("two words", "clé", "secret") if word in str(raised.value)}


@pytest.mark.parametrize("calling", [lambda c: c.model(""), lambda c: c.status(".."), lambda c: c.embed("one text"), lambda c: c.rank("\udc00", ["a"])])
def test_what_cannot_be_asked_is_refused_here(kind: Kind, calling: Calling) -> None:
    assert isinstance(kind.refused("http://127.0.0.1:1", calling), BadRequest)


# --- refusals


@pytest.mark.parametrize(
    "error", [BadRequest("no"), Unauthorized("no key"), Forbidden("not yours"), ModelNotFound("x", ("m",)), ServerFault(), DeadlineExceeded("late")]
)
def test_a_refusal_is_raised_as_what_it_is_and_not_asked_again(kind: Kind, error: EmberankError) -> None:
    with served(always(refusal(error, b"Retry-After: 1"))) as server:
        raised = kind.refused(server.url, lambda client: client.model("x"))
        assert (type(raised), raised.message) == (type(error), error.message)
        assert len(server.asked) == 1
    assert kind.slept == []


def test_a_busy_server_is_asked_again_when_it_says(kind: Kind) -> None:
    with served(in_turn(refusal(QueueFull("full"), b"Retry-After: 2"), refusal(NotReady("starting"), b"Retry-After: 3"))) as server:
        assert kind.ask(server.url, lambda client: client.rank("q", ["a"])).rankings
        assert len(server.asked) == 3
    assert kind.slept == [2.0, 3.0]


def test_a_busy_server_that_does_not_say_when_is_not_asked_again(kind: Kind) -> None:
    with served(in_turn(refusal(NotReady("starting")))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.models()), NotReady)
        assert len(server.asked) == 1


def test_a_busy_server_is_not_waited_for_beyond_the_deadline_nor_for_ever(kind: Kind) -> None:
    with served(always(refusal(QueueFull("full"), b"Retry-After: 100"))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.models(), timeout_s=90), QueueFull)
    assert kind.slept == []
    with served(always(refusal(QueueFull("full"), b"Retry-After: 0"))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.models()), QueueFull)
        assert len(server.asked) == 6


@pytest.mark.parametrize("said", [b"hello", b"[1]", b'{"rankings":[{"index":"x"}]}', b'{"rankings":7}', b"{}"])
def test_an_answer_that_is_none_is_a_server_s_fault(kind: Kind, said: bytes) -> None:
    with served(always(answer(said))) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.rank("q", ["a"])), ServerFault)
        assert isinstance(kind.refused(server.url, lambda client: client.embed(["a"])), ServerFault)
        assert isinstance(kind.refused(server.url, lambda client: client.models()), ServerFault)


# --- connections


def test_nobody_there_is_not_ready(kind: Kind) -> None:
    with served(always(b"")) as server:
        pass
    raised = kind.refused(server.url, lambda client: client.models())
    assert isinstance(raised, NotReady)
    assert server.url in raised.message


@pytest.mark.parametrize("said", [b"", b"junk\r\n\r\n", answer(RANKED)[:-5], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"])
def test_a_connection_that_breaks_is_not_ready(kind: Kind, said: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)

    with served(script) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.models()), NotReady)
        assert len(server.asked) == 1


@pytest.mark.parametrize("said", [b"", answer(RANKED)[:-5]])
def test_an_answer_that_does_not_come_in_time_is_said(kind: Kind, said: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(said)
        await talk.left()

    with served(script) as server:
        assert isinstance(kind.refused(server.url, lambda client: client.models(), timeout_s=0.1), DeadlineExceeded)


def twice(client: Any) -> Any:
    if isinstance(client, Client):
        return client.models(), client.models()

    async def both() -> Any:
        return await client.models(), await client.models()

    return both()


LIST = answer(b'{"data":[]}')


def test_a_connection_is_kept_and_a_dead_one_replaced(kind: Kind) -> None:
    with served(always(LIST)) as server:
        kind.ask(server.url, twice)
        assert (server.opened, len(server.asked)) == (1, 2)

    async def dies(talk: Talk) -> None:
        await talk.request()
        await talk.send(LIST)
        await talk.request()

    with served(dies) as server:
        kind.ask(server.url, twice)
        assert [number for number, _ in server.asked] in ([0, 0, 1], [0, 1])


def test_a_key_is_not_made_twice(kind: Kind) -> None:
    async def dies(talk: Talk) -> None:
        await talk.request()
        if talk.number == 0:
            await talk.send(LIST)
            await talk.request()

    def make(client: Any) -> Any:
        if isinstance(client, Client):
            client.models()
            return client.create_key("k")

        async def both() -> Any:
            await client.models()
            return await client.create_key("k")

        return both()

    with served(dies) as server:
        assert isinstance(kind.refused(server.url, make), NotReady)
        assert sum(b"POST /v1/keys" in said for _, said in server.asked) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate of this test")
def test_https_is_checked(kind: Kind, tmp_path: Path) -> None:
    ours, trusting = certificate(tmp_path)
    with served(always(LIST), ours) as server:
        url = f"https://localhost:{server.port}"
        assert kind.ask(url, lambda client: client.models(), tls=trusting) == []
        assert isinstance(kind.refused(url, lambda client: client.models()), NotReady)
        assert len(server.asked) == 1


def test_many_threads_share_one_client() -> None:
    with served(always(LIST)) as server, Client(server.url, KEY, WAIT_S) as client:
        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(lambda _: client.models(), range(200))) == [[]] * 200
        assert server.opened <= 16
    with pytest.raises(RuntimeError, match="closed"):
        client.models()


def test_a_cancelled_call_leaves_the_server_alone() -> None:
    gone = threading.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.left()
        gone.set()

    async def go(url: str) -> None:
        async with AsyncClient(url, KEY, WAIT_S) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.models(), 0.1)

    with served(script) as server:
        asyncio.run(go(server.url))
        assert gone.wait(WAIT_S)
