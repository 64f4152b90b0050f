"""A folder in, a running `emberank up` out, with a key, and ended by its pid. Knows no client package and imports nothing of ours: it starts the command.

The catalogue's NVIDIA names are served with the default models' weights, so that examples written for NVIDIA's models run as they stand and come out in a sensible order.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PYTHON = Path(os.environ.get("COMPAT_SERVER_PYTHON", ROOT / ".venv/bin/python"))  # the environment that has emberank
KEY = "test-key-0123456789abcdef"
WAIT_S = 60.0

RERANK = "nvidia/llama-3.2-nv-rerankqa-1b-v2"
RERANK_SLUG = "nvidia-llama-3-2-nv-rerankqa-1b-v2"
EMBED = "nvidia/llama-3.2-nv-embedqa-1b-v2"
EMBED_SLUG = "nvidia-llama-3-2-nv-embedqa-1b-v2"
OUR_RERANK = "emberank/all-MiniLM-L6-v2-rerank"
OUR_EMBED = "sentence-transformers/all-MiniLM-L6-v2"
# Known, and never to be started: 503. Each failure makes the next Retry-After longer, so a client that heeds it whatever it is told has one of its own.
NOWHERE = {"rank": "tests/nowhere", "embed": "tests/nowhere-embed", "retried": "tests/nowhere-retried"}
STRICT = {"rank": "tests/strict", "embed": "tests/strict-embed"}  # an input that is too long is a 422 there, as a setting
DIMENSIONS = 384

MODELS = f"""
[[model]]
extends = "{RERANK_SLUG}"
[[model.version]]
name = "v1"
source = "preset:emberank/all-MiniLM-L6-v2-rerank"
head = "late_interaction"
memory_gb = 0.3

[[model]]
extends = "{EMBED_SLUG}"
[[model.version]]
name = "v1"
source = "preset:sentence-transformers/all-MiniLM-L6-v2"
memory_gb = 0.3

"""
MODELS += "".join(
    f"""
[[model]]
slug = "{name.replace("/", "-")}"
id = "{name}"
title = "Nowhere"
task = "{"rank" if task == "rank" else "embed"}"
[[model.version]]
name = "v1"
source = "file:/nowhere/at-all"
memory_gb = 0.3
"""
    for task, name in NOWHERE.items()
) + "".join(
    f"""
[[model]]
slug = "{name.replace("/", "-")}"
id = "{name}"
title = "Strict"
task = "{task}"
context_tokens = 256
[[model.version]]
name = "v1"
{source}
memory_gb = 0.3
settings = {{ over_length_status = 422 }}
"""
    for name, task, source in (
        (STRICT["rank"], "rank", 'source = "preset:emberank/all-MiniLM-L6-v2-rerank"\nhead = "late_interaction"'),
        (STRICT["embed"], "embed", 'source = "preset:sentence-transformers/all-MiniLM-L6-v2"'),
    )
)

# Room for all of them at once: what the tests ask of one model must not stop another.
POOLS = """
[[pool]]
gpu_type = "CPU"
region = "local"
memory_gb = 6
slots = 8
"""


@dataclass(frozen=True)
class Reply:
    """One response, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Something that answers on loopback: plain HTTP, as an app's own code sends it."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    @property
    def url(self) -> str:
        """The root, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def base(self, slug: str) -> str:
        """A model's own base URL, for clients that name no model."""
        return f"{self.url}/models/{slug}/v1"

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request with the key, unless the headers bring another."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | dict(headers or {})
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            connection.request(method, path, data, {name: value for name, value in sent.items() if value})
            response = connection.getresponse()
            return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("POST", path, body, headers)


class Process:
    """A command with its output in files. Ended by its pid."""

    def __init__(self, folder: Path, words: list[str], environment: Mapping[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(words, env=dict(environment), cwd=folder, stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    @property
    def output(self) -> str:
        return self._out.read_text("utf-8", "replace") + self._err.read_text("utf-8", "replace")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        """SIGTERM, and SIGKILL for one that does not heed it."""
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(WAIT_S)


@contextlib.contextmanager
def installation(folder: Path) -> Iterator[Server]:
    """`emberank up` on a data folder of its own."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    (data / "models.toml").write_text(MODELS, "utf-8")
    (data / "pools.toml").write_text(POOLS, "utf-8")
    ours = re.compile(r"EMBERANK_(?!CACHE_DIR)|NIM_|FORGE_|OTEL_|LOG_FORMAT$|RUST_LOG$|SHOW_CONFIG$")
    environment = {name: value for name, value in os.environ.items() if not ours.match(name)}
    environment |= {"EMBERANK_API_KEY": KEY, "EMBERANK_PROBE_AFTER_START": "no"}
    process = Process(folder, [str(PYTHON), "-m", "emberank.cli", "up", "--port", "0", "--data-dir", str(data)], environment)
    try:
        until(lambda: "ready on" in process.output or process.ended, "emberank says that it is ready")
        found = re.search(r"emberank: ready on http://\S+:(\d+)", process.output)
        assert found, process.output
        yield Server(int(found[1]), KEY)
    finally:
        process.end()
        _end_what_is_left(str(data))


def _end_what_is_left(mark: str) -> None:
    """`up` ends its children; should it have been killed, they are known by their data folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if "emberank.cli" in words and any(mark in word for word in words):
                os.kill(int(entry.name), signal.SIGKILL)


def until(true: Any, what: str, wait_s: float = WAIT_S) -> None:
    """Wait until something is so; an error says what was not."""
    end_s = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < end_s, f"after {wait_s} s it is not so that {what}"
        time.sleep(0.05)
