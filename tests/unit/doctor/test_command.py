"""`emberank doctor` at a terminal: flags, keys, exit status, and nothing that shows a key."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from emberank.cli import main
from fleets import Asked, Said, fake_endpoint
from patients import NIM, refusal, said
from wire import WAIT_S

SECRET = "sk-secret-0123456789"


@contextmanager
def served(answer: Callable[[Asked], Said]) -> Iterator[str]:
    """The URL of a server in a thread of its own: the command has an event loop for itself."""
    ready, end = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def serve() -> None:
        async with fake_endpoint(answer) as fake:
            found.extend((fake.url, asyncio.get_running_loop()))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(WAIT_S)
    try:
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(end.set)
        thread.join(WAIT_S)
        assert not thread.is_alive()


def nim(asked: Asked) -> Said:
    if asked.path in NIM or asked.path[1:] in NIM:
        return NIM[asked.path if asked.path in NIM else asked.path[1:]](asked.json if asked.body else {})
    return said({"detail": "Not Found"}, 404)


def locked(asked: Asked) -> Said:
    return nim(asked) if asked.headers.get("authorization") == f"Bearer {SECRET}" else refusal("who is there?", 401)


@pytest.fixture(autouse=True)
def _no_keys_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORGE_API_KEY", "EMBERANK_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_a_fine_server_is_status_0_with_a_report_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with served(nim) as url:
        assert main(["doctor", url, "--timeout", "15"]) == 0
    out = capsys.readouterr().out
    for held in ("/v1/ranking  ", "logit", "sigmoid", "Nothing is off.", "Settings: no key is needed", "litellm.rerank("):
        assert held in out


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with served(nim) as url:
        assert main(["doctor", f"{url}/v1/", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["url"], report["status"], report["server"]["kind"]) == (url, 0, "NVIDIA NIM")
    assert {"name": "NIM ranking", "path": "/v1/ranking", "task": "rank", "dialect": "nim", "state": "right", "why": None} in report["routes"]
    assert [one["most"] for one in report["passages"]] == [512, 1000]
    assert report["key"] == {"needed": False, "given": False, "accepted": True}


@pytest.mark.parametrize("flags", [["--key", SECRET], ["--key-env", "MY_KEY"], []])
def test_a_key_comes_from_a_flag_or_the_environment_and_is_nowhere_in_the_report(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    if not flags:
        monkeypatch.setenv("FORGE_API_KEY", SECRET)  # a server on this machine is probably ours
    with served(locked) as url:
        assert main(["doctor", url, *flags]) == 0
        assert main(["doctor", url, "--json", *flags]) == 0
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    assert "needed; this one is accepted" in out


def test_a_key_of_ours_is_not_sent_to_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    from argparse import Namespace

    from emberank.commands.doctor import _key

    monkeypatch.setenv("FORGE_API_KEY", SECRET)
    assert _key(Namespace(url="https://rerank.example", key=None, key_env=None)) == ("", "")
    assert _key(Namespace(url="http://127.0.0.1:8000", key=None, key_env=None)) == (SECRET, "FORGE_API_KEY")


def test_something_off_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with served(locked) as url:
        assert main(["doctor", url]) == 1
    assert "BROKEN: a key is needed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "held"),
    [
        (["http://h h"], "the URL cannot be used"),
        (["http://127.0.0.1:1", "--key-env", "NO_SUCH_VARIABLE"], "'NO_SUCH_VARIABLE', which shall hold the key, is not set"),
        (["http://127.0.0.1:1", "--key", "two words"], "holds characters that no key has"),
        (["http://127.0.0.1:1", "--timeout", "0"], "--timeout must be"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_status_2(words: list[str], held: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 2
    err = capsys.readouterr().err
    assert held in err
    assert len(err.splitlines()) == 1


def test_nobody_there_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "http://127.0.0.1:1"]) == 2
    assert "BROKEN: http://127.0.0.1:1 cannot be reached" in capsys.readouterr().out
