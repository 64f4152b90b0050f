"""A folder in, `emberank up` with the default models on this machine's CPU out, and two models of its own: one's every text is hostile, one cannot start. Knows no browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from acceptance_environment import environment
from browser import Browser
from emberank.contract.errors import StartError
from emberank.runtime.presets import defaults
from emberank.runtime.process import pull
from emberank.settings import load
from tinybert import write_checkpoint
from up_process import KEY, Authorized, Up, phase
from wire import WAIT_S, until

RERANKER, EMBEDDER = "all-minilm-l6-v2-rerank", "all-minilm-l6-v2"
HOSTILE, BROKEN = "hostile-words", "gone-away"
MARKUP = (
    "</code></script><script>window.ran=1</script><img src=x onerror=window.ran=2>\"' onmouseover=window.ran=3 {{ 7 * 7 }} &amp;<style>*{display:none}</style>"
)
_LONG = "unbreakable" * 30
_POOLS = """
[[pool]]
gpu_type = "CPU"
region = "local"
memory_gb = 4
slots = 4
usd_per_hour = 0.36
"""
_MODELS = """
[[model]]
slug = "hostile-words"
id = "acme/hostile-words"
title = {title}
description = {both}
task = "rank"
category = {markup}
source = {markup}
licenses = [{markup}, {long}]
tags = [{markup}, {long}]
dtype = {markup}
links = {{ {markup} = "https://models.example/%22%3E%3Cscript%3E" }}
[[model.version]]
name = "v1"
source = {folder}
memory_gb = 0.2
note = {both}

[[model]]
slug = "gone-away"
id = "acme/gone-away"
title = "A model whose weights are gone"
task = "rank"
[[model.version]]
name = "v1"
source = {gone}
memory_gb = 0.2
"""
START_S = 60.0


class _Elsewhere(Browser):
    """A browser at another address of this machine, where it has one: few sign-ins a minute are taken from one, and those of the visitors are to be among them."""

    def connect(self, timeout_s: float = WAIT_S) -> http.client.HTTPConnection:
        source = ("127.0.0.2", 0) if sys.platform == "linux" else None
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s, source_address=source)


@dataclass
class Installation:
    """One `emberank up`, and what a person at its terminal can do."""

    up: Up
    client: Authorized
    folder: Path
    _session: str = field(default="", repr=False)

    @property
    def home(self) -> str:
        """Where browsers find it."""
        return f"http://127.0.0.1:{self.client.port}"

    @property
    def session(self) -> str:
        """The cookie of one session of the admin, begun once."""
        self._session = self._session or self.begin_session(KEY)
        return self._session

    def begin_session(self, key: str) -> str:
        """The cookie of a new session of a key."""
        browser = _Elsewhere(self.client.port)
        browser.sign_in(key)
        return browser.cookies["emberank_session"]

    def first_link(self) -> str:
        """The link that the server itself printed at its start."""
        found = re.search(r"http://\S+/signin\?token=[\w-]{43}", self.up.stdout)
        assert found, self.up.stdout
        return found[0]

    def command(self, *words: str) -> str:
        """What one of our commands prints."""
        every = [sys.executable, "-m", "emberank.cli", *words, "--data-dir", str(self.up.data)]
        done = subprocess.run(every, env=environment(), capture_output=True, text=True, timeout=START_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def key(self, *scopes: str, name: str = "a browser test") -> Any:
        """A new key: its id and its text."""
        made = self.client.post("/v1/keys", {"name": name, "scopes": list(scopes)})
        assert made.status == 201, made.body
        return made.json

    def revoke(self, key_id: str) -> None:
        reply = self.client.ask("DELETE", f"/v1/keys/{key_id}")
        assert reply.status in (200, 204), reply.body

    def phase(self, slug: str) -> str:
        return phase(self.client, slug)

    def cool(self, slug: str) -> None:
        """Stop a model, and wait until it is cold."""
        if self.phase(slug) != "COLD":
            reply = self.client.post(f"/v1/model-families/{slug}/stop", {})
            assert reply.status in (200, 202), reply.body
        until(lambda: self.phase(slug) == "COLD", f"{slug} is cold", START_S)

    def warm(self, slug: str) -> None:
        """Start a model, and wait until it is warm."""
        reply = self.client.post(f"/v1/model-families/{slug}/start", {})
        assert reply.status == 200, reply.body
        until(lambda: self.phase(slug) == "WARM", f"{slug} is warm", START_S)

    def measure(self, slug: str) -> None:
        """Have its one target probed, unless it was."""
        if self._supported(slug):
            return
        asked = self.client.post("/v1/probes", {"slug": slug, "gpu_type": "CPU", "region": "local"})
        assert asked.status in (200, 201, 202), asked.body
        until(lambda: self._supported(slug), f"{slug} was probed", START_S)

    def _supported(self, slug: str) -> bool:
        rows: Any = self.client.get(f"/v1/models/{slug}/reliability").json["supported_rows"]
        return bool(rows)


def launch(folder: Path, *arguments: str, own: bool = True, **variables: str) -> Installation:
    """Start one on a folder of its own, and wait until it is ready; `own`: with the two models beside the shipped ones."""
    try:
        for preset in defaults():
            pull(preset, load(os.environ, {}))
    except StartError as cause:
        pytest.fail(f"the default models' weights are neither cached nor to be had ({cause}): run `emberank pull` where there is a network")
    data = folder / "data"
    data.mkdir(mode=0o700)
    if own:
        (data / "models.toml").write_text(_models(write_checkpoint(folder / "words", ranks=True)), "utf-8")
    (data / "pools.toml").write_text(_POOLS, "utf-8")
    return begin(folder, *arguments, **variables)


def _models(words: Path) -> str:
    texts = {
        "title": f"Hostile {MARKUP}",
        "markup": MARKUP,
        "long": _LONG,
        "both": f"{MARKUP} {_LONG}",
        "folder": f"file:{words}",
        "gone": f"file:{words}-gone",
    }
    return _MODELS.format(**{name: json.dumps(text) for name, text in texts.items()})  # a string of JSON is one of TOML


def begin(folder: Path, *arguments: str, **variables: str) -> Installation:
    """The same folder again, after it has ended."""
    ours = {"EMBERANK_API_KEY": KEY, "EMBERANK_USAGE_FLUSH_S": "0.2"}
    up = Up(folder, environment(**ours | variables), arguments)
    try:
        client = up.ready()
        until(lambda: "/signin?token=" in up.stdout, "it prints a link")
    except BaseException:
        up.end()
        raise
    return Installation(up, client, folder)
