"""`emberank mcp` as an agent's program meets it: a real process, the official SDK's client, a whole installation behind it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from acceptance_environment import environment
from emberank import Client as EmberankClient
from small_installation import EMBEDDER, RERANKER, launch
from up_process import END_S, KEY, Up
from wire import until

WORDS = [sys.executable, "-m", "emberank.cli", "mcp"]
Asked = Callable[[Client], Coroutine[Any, Any, Any]]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = launch(tmp_path_factory.mktemp("mcp"))
    running.ready()
    yield running
    running.end()


@pytest.fixture(scope="module")
def url(up: Up) -> str:
    return f"http://127.0.0.1:{up.ready().port}"


@pytest.fixture(scope="module")
def narrow(url: str) -> str:
    """A key that may use the embedder, once a minute."""
    with EmberankClient(url, KEY, END_S) as admin:
        return admin.create_key("narrow", scopes=["inference", "read"], models=[EMBEDDER], requests_per_minute=1).key


def words(result: CallToolResult) -> str:
    return "".join(content.text for content in result.content)


# --- standard input and output


def over_stdio(ask: Asked, *arguments: str, mode: str = "auto", **variables: str) -> Any:
    async def go() -> Any:
        server = StdioServerParameters(command=WORDS[0], args=[*WORDS[1:], *arguments], env=environment(**variables))
        async with asyncio.timeout(END_S), Client(server, mode=mode) as client:
            return await ask(client)

    return asyncio.run(go())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_finds_starts_and_uses_models(url: str, mode: str) -> None:
    told: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)

    async def ask(client: Client) -> None:
        listed = await client.call_tool("list_models", {"task": "rank"})
        assert RERANKER in [model["slug"] for model in listed.structured_content["models"]]
        assert EMBEDDER not in [model["slug"] for model in listed.structured_content["models"]]
        started = await client.call_tool("start_model", {"model": RERANKER}, progress_callback=on_progress)
        assert started.structured_content["phase"] == "WARM"
        status = await client.call_tool("model_status", {"model": RERANKER})
        assert status.structured_content["endpoints"][0]["phase"] == "WARM"
        ranked = await client.call_tool("rank", {"query": "which way", "passages": ["the road", "red hot ice"], "model": RERANKER, "score_mode": "sigmoid"})
        places = ranked.structured_content["rankings"]
        assert sorted(place["index"] for place in places) == [0, 1]
        assert 1 > places[0]["score"] >= places[1]["score"] > 0
        vectors = await client.call_tool("embed", {"texts": ["the road", "the snow"], "model": EMBEDDER, "input_type": "query"})
        assert (vectors.structured_content["dimensions"], len(vectors.structured_content["vectors"])) == (16, 2)
        estimate = await client.call_tool("estimate", {"model": RERANKER, "tokens": 40})
        assert estimate.structured_content["cost_per_gpu_hour_usd"] == 0.36
        assert not any(result.is_error for result in (listed, started, status, ranked, vectors, estimate))

    over_stdio(ask, mode=mode, FORGE_API_BASE=url, FORGE_API_KEY=KEY)
    assert told == [] or told[-1] == f"{RERANKER}: WARM"


def test_a_key_s_limits_hold_and_are_told_in_words(url: str, narrow: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{narrow}\n")

    async def ask(client: Client) -> None:
        forbidden = await client.call_tool("rank", {"query": "q", "passages": ["a"], "model": RERANKER})
        assert forbidden.is_error
        assert "more rights" in words(forbidden)
        first = await client.call_tool("embed", {"texts": ["the road"], "model": EMBEDDER})
        second = await client.call_tool("embed", {"texts": ["the road"], "model": EMBEDDER})
        assert [first.is_error, second.is_error] == [False, True]
        assert re.search(r"Try again in \d+ s\.$", words(second))
        assert narrow not in f"{forbidden}{second}"

    # The gateway says when there is room again; nobody waits for that longer than --timeout.
    over_stdio(ask, "--api-base", url, "--api-key-file", str(file), "--timeout", "5")


def test_a_wrong_key_is_told_in_words_and_not_repeated(url: str) -> None:
    async def ask(client: Client) -> CallToolResult:
        return await client.call_tool("list_models", {})

    got = over_stdio(ask, FORGE_API_BASE=url, FORGE_API_KEY="ember_wrong_0123456789")
    assert got.is_error
    assert "FORGE_API_KEY" in words(got)
    assert "ember_wrong_0123456789" not in str(got)


def test_standard_output_belongs_to_the_protocol_and_the_log_does_not_say_what_was_asked(url: str) -> None:
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    sent = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "rank", "arguments": {"query": "a private question", "passages": ["the road"], "model": RERANKER}},
        },
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "rank", "arguments": {"query": 1}}},
    ]
    process = subprocess.Popen(
        [*WORDS, "--log-level", "debug"],
        env=environment(FORGE_API_BASE=url, FORGE_API_KEY=KEY),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write("".join(json.dumps(message) + "\n" for message in sent) + "this is no JSON\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(3)]
        out, err = process.communicate(timeout=END_S)  # which closes its input: that ends it
    finally:
        process.kill()
        process.wait(END_S)
    assert sorted(message["id"] for message in answers if message.get("id")) == [1, 2, 3]
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in out.splitlines())
    assert process.returncode == 0
    assert "action" not in out
    assert "tool=rank" in err
    assert [word for word in ("a private question", "the road", "this is no JSON", KEY) if word in err] == []


# --- HTTP


class Served:
    """One `emberank mcp --http`."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen([*WORDS, "--http", "--port", "0", *arguments], env=environment(**variables), stdout=out, stderr=err)
        until(lambda: " MCP on " in self._out.read_text() or self.process.poll() is not None, "it says where it is", END_S)
        found = re.search(r"MCP on http://\S+:(\d+)/mcp, for ", self._out.read_text())
        assert found, self._err.read_text()
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}/mcp"

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_S)


@pytest.fixture(scope="module")
def served(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    running = Served(tmp_path_factory.mktemp("http"), FORGE_API_BASE=url, FORGE_API_KEY=KEY)
    yield running
    running.end()


@contextlib.asynccontextmanager
async def connected(url: str, mode: str, headers: dict[str, str]) -> AsyncIterator[Client]:
    async with httpx2.AsyncClient(headers=headers, timeout=END_S) as wire, Client(streamable_http_client(url, http_client=wire), mode=mode) as client:
        yield client


def over_http(url: str, ask: Asked, mode: str = "auto", **headers: str) -> Any:
    async def go() -> Any:
        async with asyncio.timeout(END_S), connected(url, mode, headers) as client:
            return await ask(client)

    return asyncio.run(go())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http_without_a_key_of_one_s_own_the_server_s_is_used(served: Served, mode: str) -> None:
    async def ask(client: Client) -> CallToolResult:
        assert [tool.name for tool in (await client.list_tools()).tools][:2] == ["list_models", "rank"]
        return await client.call_tool("rank", {"query": "which way", "passages": ["the road", "red hot ice"], "model": RERANKER})

    got = over_http(served.url, ask, mode)
    assert not got.is_error
    assert len(got.structured_content["rankings"]) == 2


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http_a_caller_s_own_key_is_the_one_that_counts(served: Served, url: str, mode: str) -> None:
    with EmberankClient(url, KEY, END_S) as admin:
        own = admin.create_key("caller", scopes=["inference", "read"], models=[EMBEDDER]).key

    async def ask(client: Client) -> tuple[CallToolResult, CallToolResult]:
        rank = await client.call_tool("rank", {"query": "q", "passages": ["a"], "model": RERANKER})
        return rank, await client.call_tool("embed", {"texts": ["the road"], "model": EMBEDDER})

    rank, embed = over_http(served.url, ask, mode, Authorization=f"Bearer {own}")
    assert rank.is_error
    assert "more rights" in words(rank)
    assert not embed.is_error
    rank, embed = over_http(served.url, ask, mode, Authorization="Bearer ember_wrong_0123456789")
    assert rank.is_error
    assert embed.is_error
    assert "ember_wrong_0123456789" not in f"{rank}{embed}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8765"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 400),
    ],
)
def test_a_web_page_s_requests_are_refused(served: Served, headers: dict[str, str], status: int) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
    ordinary = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=END_S)
    with contextlib.closing(connection):
        connection.request("POST", "/mcp", body, ordinary | headers)
        assert connection.getresponse().status == status


def test_a_body_has_a_bound(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=END_S)
    with contextlib.closing(connection):
        connection.request("POST", "/mcp", b" " * ((8 << 20) + 1), {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"})
        assert connection.getresponse().status == 413


def test_beyond_loopback_the_server_s_key_is_not_lent(url: str, tmp_path: Path) -> None:
    async def ask(client: Client) -> CallToolResult:
        return await client.call_tool("list_models", {"limit": 1})

    running = Served(tmp_path, "--host", "0.0.0.0", "--allowed-host", "tools.example", FORGE_API_BASE=url, FORGE_API_KEY=KEY)
    try:
        refused = over_http(running.url, ask)
        assert refused.is_error
        assert "your own key" in words(refused)
        assert not over_http(running.url, ask, Authorization=f"Bearer {KEY}").is_error
        assert not over_http(running.url, ask, Authorization=f"Bearer {KEY}", Host="tools.example").is_error
    finally:
        running.end()


def test_sigterm_ends_it_with_status_0(url: str, tmp_path: Path) -> None:
    running = Served(tmp_path, FORGE_API_BASE=url, FORGE_API_KEY=KEY)
    try:
        assert running.stop() == 0
    finally:
        running.end()


# --- what cannot start


def line(*arguments: str, code: str = "", **variables: str) -> str:
    """Its one line on standard error, when it ends with status 2."""
    command = [sys.executable, "-c", code, *arguments] if code else [*WORDS, *arguments]
    done = subprocess.run(command, env=environment(**variables), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=END_S, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (said,) = done.stderr.splitlines()
    return said


def test_without_the_extra_one_line_says_how_to_have_it() -> None:
    code = "import sys; sys.modules['mcp'] = sys.modules['mcp_types'] = None\nfrom emberank.cli import main\nsys.exit(main(['mcp']))"
    assert line(code=code) == "emberank: `emberank mcp` needs the MCP SDK, version 2: pip install 'emberank[mcp]'"


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        ((), {"FORGE_API_KEY": "replace-with-your-forge-api-key"}, "placeholder"),
        (("--api-base", "ftp://h"), {}, "http://"),
        (("--api-key-file", "nowhere.txt"), {}, "nowhere.txt"),
        (("--timeout", "0"), {}, "greater than 0"),
        (("--http", "--host", "0.0.0.0"), {}, "--allowed-host"),
        (("--http", "--host", "203.0.113.1", "--port", "1"), {}, "cannot listen"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(arguments: tuple[str, ...], variables: dict[str, str], said: str) -> None:
    assert said in line(*arguments, **variables)
