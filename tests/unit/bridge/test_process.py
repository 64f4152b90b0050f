"""`python -m emberank.bridge` as the forge starts it: real processes, with a stand-in for LiteLLM's SDK on their path."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acceptance_environment import environment
from emberank.bridge.process import entry
from emberank.contract.errors import SettingError
from wire import WAIT_S, Client, until

# What the bridge uses of LiteLLM: two calls, and exceptions with a status.
SDK = """
telemetry = True
class Refused(Exception):
    status_code = 401
    message = "wrong key"
async def arerank(**fields):
    assert not telemetry and not drop_params
    if fields["api_key"] != "their-key":
        raise Refused
    return {"results": [{"index": i, "relevance_score": 0.5 + 0.1 * i} for i in range(len(fields["documents"]))], "meta": None}
"""


class Bridge:
    """One bridge on a folder of its own."""

    def __init__(self, folder: Path, source: str, sdk: str, **variables: str) -> None:
        (folder / "sdk").mkdir()
        (folder / "sdk" / "litellm.py").write_text(sdk)
        model, self._status = folder / "model.json", folder / "status.json"
        model.write_text(json.dumps({"model": [{"name": "acme/through", "task": "rank", "source": source, "aliases": []}]}))
        words = [sys.executable, "-m", "emberank.bridge", "--host", "127.0.0.1", "--port", "0", "--model-file", str(model), "--status-file", str(self._status)]
        own = environment(PYTHONPATH=str(folder / "sdk"), **variables)
        self.process = subprocess.Popen(words, env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._status.read_text()) if self._status.exists() else {}
        return found

    def client(self) -> Client:
        until(lambda: self.status.get("phase") == "ready" or self.process.poll() is not None, "it says ready")
        return Client(int(self.status["url"].rpartition(":")[2]))

    def ended(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, err


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    started: list[Bridge] = []

    def start(source: str = "litellm:acme/reranker", sdk: str = SDK, **variables: str) -> Bridge:
        started.append(Bridge(tmp_path, source, sdk, **variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate(timeout=WAIT_S)


def test_it_serves_until_it_is_told_to_end(bridge: Callable[..., Bridge]) -> None:
    one = bridge(EMBERANK_API_KEY_ENV="THEIR_KEY", THEIR_KEY="their-key")
    client = one.client()
    reply = client.post("/v1/ranking", {"query": {"text": "q"}, "passages": [{"text": "a"}, {"text": "b"}]})
    assert [ranked["index"] for ranked in reply.json["rankings"]] == [1, 0]
    assert client.get("/v1/health/ready").status == 200
    one.process.send_signal(signal.SIGTERM)
    assert one.ended()[0] == 0
    assert one.status["phase"] == "ended"


def test_a_key_that_the_provider_refuses_is_no_mistake_of_the_callers(bridge: Callable[..., Bridge]) -> None:
    one = bridge(EMBERANK_API_KEY_ENV="THEIR_KEY", THEIR_KEY="another")
    reply = one.client().post("/v1/ranking", {"query": {"text": "q"}, "passages": [{"text": "a"}]})
    assert (reply.status, reply.json["message"]) == (502, "acme refuses the key that this server has for it")
    one.process.send_signal(signal.SIGTERM)
    assert "another" not in one.ended()[1]


@pytest.mark.parametrize(
    ("start", "held"),
    [
        ({"EMBERANK_API_KEY_ENV": "NOT_SET"}, "'NOT_SET', which shall hold the key of acme, is not set"),
        ({"sdk": "raise ImportError('litellm is not installed')"}, "pip install 'emberank[litellm]'"),
        ({"source": "litellm:acme"}, "it has to be litellm:provider/model"),
        ({"EMBERANK_SCORE": "percent"}, "must be one of"),
    ],
)
def test_what_cannot_start_says_why_in_one_line_and_in_its_status_file(bridge: Callable[..., Bridge], start: dict[str, str], held: str) -> None:
    one = bridge(**start)
    code, err = one.ended()
    lines = [line for line in err.splitlines() if line.startswith("emberank: ")]
    assert code == 2
    assert len(lines) == 1
    assert held in lines[0]
    assert "Traceback" not in err
    if one.status:  # settings are read before anybody knows where the file is
        assert (one.status["phase"], one.status["reason"]) == ("failed", "bad_setting")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"model": []}', '{"model": [{"name": "a", "task": "rank"}]}', '{"model": [{"name": "a", "task": "chat", "source": "litellm:a/b"}]}']
)
def test_a_model_file_that_holds_no_model_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text(text)
    with pytest.raises(SettingError):
        entry(str(file))


def test_a_model_file_says_name_task_and_the_providers_model(tmp_path: Path) -> None:
    file = tmp_path / "model.json"
    file.write_text('{"model": [{"name": "a", "task": "embed", "source": "litellm:jina_ai/jina-embeddings-v3"}]}')
    assert entry(str(file)) == ("a", "embed", "jina_ai/jina-embeddings-v3")
