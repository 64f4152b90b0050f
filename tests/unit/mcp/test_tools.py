"""The tools in this process: what they show, what they send to a gateway, what they make of its answers and of its refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from jsonschema import Draft202012Validator
from mcp import Client, MCPError
from mcp_types import CallToolResult, TextContent

from client_kinds import KEY, RANKED, asked, in_turn, refusal, said, served
from emberank.contract.errors import DeadlineExceeded, EmberankError, Forbidden, LimitExceeded, ModelNotFound, NotReady, QueueFull, ServerFault, Unauthorized
from emberank.mcp.acts import ACTS
from emberank.mcp.callers import Callers
from emberank.mcp.server import advised, mcp_server
from emberank.mcp.tools import TOOLS
from loopback import Playing, Script, Talk, answer, playing
from wire import WAIT_S

SNAPSHOT = Path(__file__).with_name("tools.json")
Use = Callable[[Client], Coroutine[Any, Any, Any]]
TARGET = {"gpu_type": "CPU", "region": "local"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORGE_API_BASE", "FORGE_API_KEY", "EMBERANK_API_BASE", "EMBERANK_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol of 2026-07-28, and those with a handshake."""
    return str(request.param)


def used(url: str, use: Use, mode: str = "auto", timeout_s: float = WAIT_S) -> Any:
    """What `use` makes of the tools of a gateway."""

    async def go() -> Any:
        callers = Callers(url, KEY, timeout_s=timeout_s)
        try:
            async with asyncio.timeout(WAIT_S), Client(mcp_server(callers), mode=mode) as client:
                return await use(client)
        finally:
            await callers.close()

    return asyncio.run(go())


def call(url: str, name: str, mode: str = "auto", timeout_s: float = WAIT_S, **arguments: Any) -> CallToolResult:
    return used(url, lambda client: client.call_tool(name, arguments), mode, timeout_s)


def words(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


# --- what is shown


def test_the_tools_are_the_ones_that_were_agreed_on(mode: str) -> None:
    """A change here changes what agents are told. When it is meant, this file as a script writes the new snapshot."""
    listed = used("http://127.0.0.1:1", lambda client: client.list_tools(), mode)
    shown = [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in listed.tools]
    assert shown == json.loads(SNAPSHOT.read_text("utf-8"))


def test_every_tool_has_an_act_and_schemas_that_are_schemas() -> None:
    assert set(ACTS) == {tool.name for tool in TOOLS}
    for tool in TOOLS:
        for schema in (tool.takes, tool.gives):
            Draft202012Validator.check_schema(schema)
        assert tool.takes["additionalProperties"] is False
        for name, field in tool.takes["properties"].items():
            assert bounded(field), f"{tool.name}.{name}"


def bounded(field: dict[str, Any]) -> bool:
    """Whether nothing endless can be sent in it."""
    if "enum" in field:
        return True
    if field["type"] == "array":
        return "maxItems" in field and bounded(field["items"])
    return "maxLength" in field if field["type"] == "string" else {"minimum", "maximum"} <= set(field)


def test_only_a_start_is_more_than_reading() -> None:
    listed = used("http://127.0.0.1:1", lambda client: client.list_tools())
    assert [tool.name for tool in listed.tools if not tool.annotations.read_only_hint] == ["start_model"]
    assert not any(tool.annotations.destructive_hint or tool.annotations.open_world_hint for tool in listed.tools)


# --- what is sent, and what comes back


def test_a_ranking_is_asked_for_and_told(mode: str) -> None:
    place = {"index": 1, "logit": 2.5, "score": 0.92, "chunk": {"start": 3, "end": 9, "number": 0, "of": 2}}
    ranked = orjson.dumps({"rankings": [place, {"index": 0, "logit": -1, "score": 0.27}], "usage": {"prompt_tokens": 9, "total_tokens": 9}})
    headers = (b"X-Emberank-Target: CPU/local", b"X-Emberank-Cost-USD: 0.000012", b"X-Request-Id: r-1")
    with served(in_turn(then=answer(ranked, *headers))) as server:
        got = call(
            server.url,
            "rank",
            mode,
            query="q",
            passages=["a", "b"],
            model="m",
            top_n=2,
            score_mode="sigmoid",
            max_chunks_per_doc=2,
            truncate="END",
            region=None,
        )
        line, sent, body = asked(server)
    assert (line, sent["authorization"]) == ("POST /v1/ranking", f"Bearer {KEY}")
    assert body == {
        "query": {"text": "q"},
        "passages": [{"text": "a"}, {"text": "b"}],
        "model": "m",
        "top_n": 2,
        "truncate": "END",
        "score_mode": "sigmoid",
        "max_chunks_per_doc": 2,
    }
    assert not got.is_error
    assert got.structured_content == {
        "rankings": [place, {"index": 0, "logit": -1.0, "score": 0.27}],
        "prompt_tokens": 9,
        "cost_usd": 0.000012,
        **TARGET,
        "request_id": "r-1",
    }
    assert words(got) == "passage 1: 0.92\npassage 0: 0.27"


def test_many_places_are_told_in_a_few_words() -> None:
    rankings = [{"index": i, "logit": -i} for i in range(12)]
    with served(in_turn(then=said({"rankings": rankings}))) as server:
        got = call(server.url, "rank", query="q", passages=["a"] * 12)
    assert len(got.structured_content["rankings"]) == 12
    assert words(got).splitlines()[-1] == "and 2 more"
    assert len(words(got).splitlines()) == 11


def embedded(*vectors: Any) -> bytes:
    return said({"data": [{"index": i, "embedding": list(vector)} for i, vector in enumerate(vectors)]})


def test_vectors_come_back_whole_and_to_the_last_bit() -> None:
    with served(in_turn(then=embedded([0.1, -2.0], [1e-7, 3.25]))) as server:
        got = call(server.url, "embed", texts=["a", "b"], model="m", input_type="query", dimensions=2, truncate="START")
        body = asked(server)[2]
    assert (body["input"], body["input_type"], body["dimensions"], body["model"], body["truncate"]) == (["a", "b"], "query", 2, "m", "START")
    assert got.structured_content["dimensions"] == 2
    assert np.array_equal(np.array(got.structured_content["vectors"], np.float32), np.array([[0.1, -2.0], [1e-7, 3.25]], np.float32))
    assert words(got) == "2 vectors of 2 numbers each, in the structured result"


def test_more_numbers_than_an_answer_holds_are_refused_with_what_to_do() -> None:
    with served(in_turn(then=embedded(*[[0.0] * 5000] * 32))) as server:
        got = call(server.url, "embed", texts=["a"] * 32)
    assert got.is_error
    assert "fewer texts, or ask for fewer dimensions" in words(got)


MODEL = {"id": "o/m", "slug": "m", "task": "text→ranking", "phase": "WARM", "title": "M", "description": "A reranker.", "context_window": 512}


def catalogue(*models: dict[str, Any], plain: tuple[str, ...] = ()) -> Script:
    """A gateway whose list is plain, with entries for the models, and none for the plain ones."""
    known = {model["id"]: model for model in models}

    async def script(talk: Talk) -> None:
        while True:
            path = (await talk.request()).split(b" ")[1].decode()
            if path == "/v1/models":
                await talk.send(said({"object": "list", "data": [{"id": name} for name in [*known, *plain]]}))
                continue
            found = known.get(path.rpartition("/")[2].replace("%2F", "/"))
            await talk.send(refusal(ModelNotFound("x", ())) if found is None else said(found))

    return script


def test_models_are_listed_with_their_tasks() -> None:
    embedder = {"id": "o/e", "slug": "e", "task": "text→embedding", "phase": "COLD", "dimensions": 384}
    with served(catalogue(MODEL, embedder, plain=("p",))) as server:
        every = call(server.url, "list_models")
        some = call(server.url, "list_models", task="embed")
        few = call(server.url, "list_models", limit=1)
    rows = every.structured_content["models"]
    assert [(row["id"], row["task"], row["phase"], row["context_window"], row["dimensions"]) for row in rows] == [
        ("o/m", "rank", "WARM", 512, None),
        ("o/e", "embed", "COLD", None, 384),
        ("p", None, None, None, None),
    ]
    assert words(every).splitlines() == ["m (rank, WARM)", "e (embed, COLD)", "p (task unknown, phase unknown)"]
    assert [row["slug"] for row in some.structured_content["models"]] == ["e"]
    assert (len(few.structured_content["models"]), few.structured_content["more"], words(few)) == (1, 2, "m (rank, WARM)\nand 2 more")


def test_no_model_is_said_so() -> None:
    with served(catalogue()) as server:
        assert words(call(server.url, "list_models")) == "no model"


def test_an_estimate_is_told_in_words_and_numbers() -> None:
    known = {"slug": "m", "model_version": "v1", **TARGET, "confidence": "high", "cold_confidence": "low", "payload": {}, "phase": "COLD", "message": "look"}
    known |= {"estimated_warm_request_ms": 12.5, "estimated_warm_request_cost_usd": 0.0000012}
    with served(in_turn(then=said(known))) as server:
        got = call(server.url, "estimate", model="o/m", tokens=900, passages=3, gpu_type="CPU", region="local")
        assert asked(server)[0] == "GET /v1/models/o%2Fm/run-estimate?tokens=900&passages=3&gpu_type=CPU&region=local"
    assert got.structured_content["estimated_warm_request_ms"] == 12.5
    assert got.structured_content["estimated_cold_request_ms"] is None
    assert words(got) == "m v1 on CPU in local: running 12.5 ms, $0.000001, with a start before it not measured; confidence high. look"


STARTED = {"slug": "m", "version": "v1", **TARGET, "phase": "STARTING", "was_cold_start": True, "keep_warm": False}
ROW = {"version": "v1", **TARGET, "phase": "STARTING", "eta_s": 4.0, "message": "", "startup_ms": None}
STARTING = said(STARTED, b"202 Accepted")
LOOK = said({"slug": "m", "phase": "STARTING", "endpoints": [ROW | {"progress": {"step": "fetching", "percent": 25.0}}]})
READY = said({"slug": "m", "phase": "WARM", "endpoints": [ROW | {"phase": "WARM", "startup_ms": 812.0}]})
WARM = said(STARTED | {"phase": "WARM", "startup_ms": 812.0})


def test_a_start_tells_how_far_it_is_while_it_is_waited_for(mode: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    with served(in_turn(STARTING, STARTING, LOOK, WARM, READY)) as server:
        got = used(server.url, lambda client: client.call_tool("start_model", {"model": "m", "wait_s": 5}, progress_callback=on_progress), mode)
    assert got.structured_content | {"eta_s": None} == {
        "slug": "m",
        "version": "v1",
        **TARGET,
        "phase": "WARM",
        "startup_ms": 812.0,
        "step": None,
        "percent": None,
        "eta_s": None,
        "message": "",
    }
    assert words(got) == "m v1 on CPU in local is ready"
    assert [message for _, _, message in told] == ["m: STARTING, fetching 25 %", "m: WARM"]
    assert told[0][0] <= told[1][0]
    assert told[0][1] is not None


def test_a_start_that_is_not_waited_for_says_where_to_ask() -> None:
    with served(in_turn(STARTING)) as server:
        got = call(server.url, "start_model", model="m", wait_s=0)
        assert asked(server)[2] == {"run_until_stopped": False}
    assert (got.structured_content["phase"], words(got)) == ("STARTING", "m v1 on CPU in local is still starting: ask model_status")


def test_a_start_that_takes_longer_than_it_is_waited_for_is_no_error() -> None:
    async def for_ever(talk: Talk) -> None:
        while True:
            await talk.send(LOOK if (await talk.request()).startswith(b"GET") else STARTING)

    with served(for_ever) as server:
        got = call(server.url, "start_model", model="m", wait_s=0.3)
    assert not got.is_error
    assert (got.structured_content["phase"], got.structured_content["step"]) == ("STARTING", "fetching")
    assert words(got) == "m v1 on CPU in local is still starting; about 4 s more are expected: ask model_status"


def test_a_status_tells_every_endpoint() -> None:
    failed = ROW | {"phase": "FAILED", "eta_s": None, "reason": "out_of_memory", "message": "it does not fit", "retry_in_s": 30.0, "region": "two"}
    with served(in_turn(said({"slug": "m", "phase": "STARTING", "endpoints": [ROW | {"progress": {"step": "loading"}}, failed]}))) as server:
        got = call(server.url, "model_status", model="m", model_version="v1")
        assert asked(server)[0] == "GET /v1/model-families/m/status?version=v1"
    first, second = got.structured_content["endpoints"]
    assert (first["step"], first["eta_s"]) == ("loading", 4.0)
    assert (second["reason"], second["retry_in_s"]) == ("out_of_memory", 30.0)
    assert words(got) == "m: STARTING\nv1 on CPU in local: STARTING\nv1 on CPU in two: FAILED — it does not fit"


# --- what is wrong


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("rank", {"query": "q"}, "'passages' is a required property"),
        ("rank", {"query": "q", "passages": []}, "passages: "),
        ("rank", {"query": "q", "passages": ["a"] * 513}, "passages: "),
        ("rank", {"query": "", "passages": ["a"]}, "query: "),
        ("rank", {"query": "q", "passages": ["a", 7]}, "passages[1]: 7 is not of type 'string'"),
        ("rank", {"query": "q", "passages": ["a"], "top_n": 0}, "top_n: 0 is less than the minimum of 1"),
        ("rank", {"query": "q", "passages": ["a"], "score_mode": "best"}, "score_mode: 'best' is not one of"),
        ("rank", {"query": "q", "passages": ["a"], "topn": 1}, "'topn' was unexpected"),
        ("rank", {"query": "q", "passages": ["a"], "gpu_type": "CPU"}, "name it"),
        ("rank", {"query": "q", "passages": ["x" * 100_000] * 41}, "at most 4000000"),
        ("embed", {"texts": ["a"] * 33}, "texts: "),
        ("embed", {"texts": "a"}, "texts: 'a' is not of type 'array'"),
        ("list_models", {"task": "chat"}, "task: 'chat' is not one of"),
        ("list_models", {"limit": 1000}, "limit: 1000 is greater than"),
        ("estimate", {}, "'model' is a required property"),
        ("start_model", {"model": "m", "wait_s": 1e9}, "wait_s: "),
        ("start_model", {"model": "m" * 201}, "model: "),
    ],
)
def test_wrong_arguments_are_refused_here_in_words(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with served(in_turn(then=answer(RANKED))) as server:
        got = used(server.url, lambda client: client.call_tool(name, arguments))
        assert not server.asked
    assert got.is_error
    assert sentence in words(got)
    assert len(words(got)) < 500
    assert got.structured_content is None


def test_a_tool_that_is_not_there_is_an_error_of_the_protocol(mode: str) -> None:
    async def refused(client: Client) -> None:
        with pytest.raises(MCPError, match="no tool 'chat'; there are: list_models, rank"):
            await client.call_tool("chat", {})

    used("http://127.0.0.1:1", refused, mode)


@pytest.mark.parametrize(
    ("error", "headers", "sentence"),
    [
        (
            Unauthorized("unknown key"),
            (),
            "unknown key. The key that this MCP server was given (FORGE_API_KEY), or that you send, is not one of the gateway's.",
        ),
        (Forbidden("the key may not use 'm'"), (), "the key may not use 'm'. The key may not do this; somebody with an admin key can give it more rights."),
        (ModelNotFound("x", ("m",)), (), "model 'x' not found; available: 'm'."),
        (QueueFull("full"), (b"Retry-After: 900",), "full. Try again in 900 s."),
        (LimitExceeded("the month's budget is used up."), (b"Retry-After: 86400",), "the month's budget is used up. Try again in 86400 s."),
        (NotReady("the forge is away"), (), "the forge is away. Try again later."),
        (ServerFault(), (), "internal error; the cause is in the server's log under this request id."),
    ],
)
def test_what_a_gateway_refuses_is_told_with_what_to_do(error: EmberankError, headers: tuple[bytes, ...], sentence: str) -> None:
    with served(in_turn(then=refusal(error, *headers))) as server:
        got = call(server.url, "rank", query="q", passages=["a"])
    assert (got.is_error, words(got)) == (True, sentence)
    assert KEY not in str(got)


def test_a_gateway_that_is_not_there_is_told() -> None:
    with served(in_turn()) as server:
        pass
    got = call(server.url, "model_status", model="m")
    assert got.is_error
    assert "cannot be reached" in words(got)


def test_a_gateway_that_does_not_answer_in_time_is_told() -> None:
    async def silent(talk: Talk) -> None:
        await talk.request()
        await talk.left()

    with served(silent) as server:
        got = call(server.url, "rank", timeout_s=0.2, query="q", passages=["a"])
    assert got.is_error
    assert words(got) == advised(DeadlineExceeded("no answer came within the request's deadline"))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"rankings": [{"index": 0}]}'])
def test_a_gateway_that_is_none_is_told(body: bytes) -> None:
    with served(in_turn(then=answer(body))) as server:
        got = call(server.url, "rank", query="q", passages=["a"])
    assert got.is_error
    assert "Emberank server" in words(got) or "not a ranking" in words(got)


def test_our_own_mistake_says_nothing_of_its_inside(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> Any:
        raise KeyError("a secret detail")

    monkeypatch.setitem(ACTS, "rank", broken)  # type: ignore[arg-type]
    got = call("http://127.0.0.1:1", "rank", query="q", passages=["a"])
    assert (got.is_error, words(got)) == (True, "internal error of the MCP server; its log has the cause")
    assert "a secret detail" in caplog.text


def test_a_call_that_is_cancelled_drops_the_gateway_s_work() -> None:
    left = asyncio.Event()

    async def silent(talk: Talk) -> None:
        await talk.request()
        await talk.left()
        left.set()

    async def go() -> None:
        async with playing(silent) as server:
            callers = Callers(server.url, KEY, timeout_s=WAIT_S)
            async with Client(mcp_server(callers), mode="legacy") as client:
                task = asyncio.ensure_future(client.call_tool("rank", {"query": "q", "passages": ["a"]}))
                await server.some_asked()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await left.wait()
            await callers.close()

    asyncio.run(asyncio.wait_for(go(), WAIT_S))


def test_calls_at_one_time_are_answered_each_for_itself() -> None:
    def mirror(talk: Talk) -> Any:
        async def play() -> None:
            while True:
                body = orjson.loads((await talk.request()).partition(b"\r\n\r\n")[2])
                await talk.send(said({"rankings": [{"index": 0, "logit": float(body["query"]["text"])}]}))

        return play()

    async def many(client: Client) -> list[float]:
        results = await asyncio.gather(*(client.call_tool("rank", {"query": str(i), "passages": ["a"]}) for i in range(20)))
        return [result.structured_content["rankings"][0]["logit"] for result in results]

    with served(mirror) as server:
        assert used(server.url, many) == [float(i) for i in range(20)]


def authorized(server: Playing) -> str | None:
    return asked(server)[1].get("authorization")


def test_a_caller_s_own_key_goes_before_the_server_s() -> None:
    async def go(url: str, header: str | None, lends: bool) -> None:
        callers = Callers(url, KEY, timeout_s=WAIT_S, lends_key=lends)
        try:
            await callers.client(header).models()
        finally:
            await callers.close()

    with served(in_turn(then=said({"data": []}))) as server:
        for header, expected in ((None, KEY), ("", KEY), ("Bearer own-key", "own-key"), ("bearer own-key", "own-key"), ("own-key", "own-key")):
            asyncio.run(go(server.url, header, True))
            assert authorized(server) == f"Bearer {expected}"
        asyncio.run(go(server.url, "Bearer own-key", False))
        assert authorized(server) == "Bearer own-key"
        before = len(server.asked)
        for header in (None, "", "Bearer ", "Bearer two words"):
            with pytest.raises(Unauthorized) as raised:
                asyncio.run(go(server.url, header, False))
            assert "two words" not in str(raised.value)
        assert len(server.asked) == before


if __name__ == "__main__":  # PYTHONPATH=tests python tests/unit/mcp/test_tools.py
    listed = used("http://127.0.0.1:1", lambda client: client.list_tools())
    SNAPSHOT.write_text(
        json.dumps([tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in listed.tools], indent=1, ensure_ascii=False) + "\n"
    )
