"""The hub as a source, with the real huggingface_hub and a small hub of our own on the loopback."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from emberank.contract.errors import WeightsError
from emberank.runtime.sources.base import parse_source
from emberank.runtime.sources.hf import HubFetcher, wanted

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WANTED = {
    "config.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
    "vocab.txt": b"a\nb\n",
    "1_Pooling/config.json": b"{}",
    "spiece.model": b"\1",
    "README.md": b"# Tiny",
    "LICENSE": b"free",
    "model.safetensors": bytes(range(256)) * 400,
}
UNWANTED = {
    "pytorch_model.bin": b"pickle",
    "modeling_tiny.py": b"raise SystemExit",
    "tokenizer.py": b"x",
    "onnx/model.onnx": b"x",
    "onnx/config.json": b"{}",
    ".gitattributes": b"x",
}


class Hub:
    """What the hub of one test holds, was asked for, and does wrong."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = WANTED | UNWANTED
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.refusal: tuple[int, str] | None = None
        self.break_once: set[str] = set()
        self.failing: set[str] = set()
        self.config_asked = threading.Event()
        self.endpoint = ""


class Answer(BaseHTTPRequestHandler):
    """The routes that a download needs: a model's description, its tree, and its files with ranges."""

    hub: ClassVar[Hub]
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Say nothing on the test's stderr."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.hub.refusal:
            status, code = self.hub.refusal
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": "no"})
        elif match := re.fullmatch(r"/org/tiny/resolve/[^/]+/(.+)", path):
            self._file(match[1])
        elif re.fullmatch(r"/api/models/org/tiny/tree/[^/]+", path):
            self._send(
                200, json.dumps([{"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in self.hub.files.items()]).encode()
            )
        elif re.fullmatch(r"/api/models/org/tiny(/revision/[^/]+)?", path):
            siblings = [{"rfilename": name, "size": len(data), "blobId": _oid(data)} for name, data in self.hub.files.items()]
            self._send(200, json.dumps({"id": "org/tiny", "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings}).encode())
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _file(self, name: str) -> None:
        data = self.hub.files[name]
        head = {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.command == "HEAD":
            self._send(200, data, head)
            return
        self.hub.asked[name] += 1
        if name == "config.json":
            self.hub.config_asked.set()
        if name in self.hub.failing:
            # The other file is on its way by now, so it will be complete when this failure ends the download.
            assert self.hub.config_asked.wait(30)
            self._send(500, b"")
        elif name in self.hub.break_once:
            self.hub.break_once.remove(name)
            self._send(200, data, head, cut=len(data) // 2)
        elif asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            self.hub.ranges.append(asked[1])
            start = int(asked[1])
            self._send(206, data[start:], head | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})
        else:
            self._send(200, data, head)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body)), "Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Between two attempts the library sleeps a second; nothing here is worth waiting for.
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answer,), {"hub": hub}))
    server.daemon_threads = True  # a kept connection must not hold the test open
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    thread.join(30)
    server.server_close()
    _close_session()


def _close_session() -> None:
    from huggingface_hub import utils

    # Its name in versions 1 and later, and in those before.
    for name in ("close_session", "configure_http_backend"):
        if close := getattr(utils, name, None):
            close()
            return


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetch(hub: Hub, target: Path, text: str = "hf:org/tiny") -> list[tuple[str, int, int | None]]:
    heard: list[tuple[str, int, int | None]] = []
    HubFetcher(endpoint=hub.endpoint).fetch(parse_source(text), target, lambda *call: heard.append(call))
    return heard


def test_only_configuration_tokenizer_and_safetensors_are_fetched(hub: Hub, target: Path) -> None:
    heard = fetch(hub, target)
    assert files(target) == WANTED
    assert not set(hub.asked) & set(UNWANTED)
    assert ("model.safetensors", 102_400, 102_400) in heard
    assert len(heard) == len(WANTED)


def test_nothing_is_drawn_where_there_is_no_terminal(hub: Hub, target: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(hub, target)
    assert capfd.readouterr() == ("", "")


def test_a_subfolder_becomes_the_models_folder(hub: Hub, target: Path) -> None:
    hub.files = {f"small/{name}": data for name, data in (WANTED | UNWANTED).items()} | {"config.json": b"outer", "model.safetensors": b"outer"}
    fetch(hub, target, "hf:org/tiny@main#small")
    assert files(target) == WANTED


def test_a_broken_connection_is_resumed_where_it_broke(hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)  # only whole chunks are kept
    hub.break_once = {"model.safetensors"}
    try:
        fetch(hub, target)
    except WeightsError:
        fetch(hub, target)  # versions before 1 leave it to the next call, later ones try again by themselves
    assert hub.ranges == ["51200"]
    assert files(target)["model.safetensors"] == WANTED["model.safetensors"]


def test_files_that_were_complete_are_not_fetched_again(hub: Hub, target: Path) -> None:
    hub.failing = {"model.safetensors"}
    with pytest.raises(WeightsError, match="the hub answered 500: try again later; files that are complete are kept"):
        fetch(hub, target)
    assert "config.json" not in files(target)  # nothing is in place before all is
    hub.failing = set()
    fetch(hub, target)
    assert files(target) == WANTED
    assert hub.asked["config.json"] == 1


def test_a_download_that_ends_early_without_an_error_is_noticed(hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the library does when the hub can no longer be reached and something is in the folder.
    def returns_what_is_there(repository: str, *, local_dir: Path, **rest: Any) -> str:
        local_dir.mkdir()
        (local_dir / "config.json").write_bytes(WANTED["config.json"])
        return str(local_dir)

    monkeypatch.setattr("huggingface_hub.snapshot_download", returns_what_is_there)
    with pytest.raises(WeightsError, match=r"the download stopped before .* was complete: call again"):
        fetch(hub, target)
    assert set(files(target)) == {".partial/config.json"}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((403, "GatedRepo"), "is gated: accept its terms on the model's page, and set HF_TOKEN"),
        ((404, "RepoNotFound"), "no such repository, or it is private: .*HF_TOKEN"),
        ((404, "RevisionNotFound"), "has no revision 'v9'"),
        ((418, "Teapot"), "the hub answered 418"),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(hub: Hub, target: Path, refusal: tuple[int, str], reason: str) -> None:
    hub.refusal = refusal
    with pytest.raises(WeightsError, match=f"^hf:org/tiny@v9: .*{reason}"):
        fetch(hub, target, "hf:org/tiny@v9")


def test_an_offline_setting_is_named(hub: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _close_session()
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        fetch(hub, target)


def test_a_hub_that_is_not_there_is_one_line(target: Path, hub: Hub) -> None:
    with pytest.raises(WeightsError, match=r"^hf:org/tiny: .*check the network") as caught:
        HubFetcher(endpoint="http://127.0.0.1:1").fetch(parse_source("hf:org/tiny"), target, lambda *call: None)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["config.json", "pytorch_model.bin"], "it has no .*safetensors, and other formats are never read"),
        (["model.safetensors"], "there is no config.json; folders with one: none"),
        (["a/config.json", "b/config.json", "model.safetensors"], "folders with one: #a, #b"),
    ],
)
def test_a_repository_without_readable_weights_is_refused_before_it_is_downloaded(names: list[str], reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        wanted(dict.fromkeys(names, 1), parse_source("hf:org/tiny"))
