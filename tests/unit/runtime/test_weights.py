"""Locating weights: found, fetched once, checked, and nothing half done is ever seen."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from emberank.contract.errors import WeightsError
from emberank.runtime import weights
from emberank.runtime.sources.base import Progress, Source, parse_source
from emberank.runtime.weights import TerminalProgress, bar_line, cached, default_cache_dir, locate, manifest, verify

SOURCE = parse_source("hf:org/tiny")
WAIT_S = 30.0  # for what happens at once; a bound, never a pause


def silent(file: str, done: int, total: int | None, /) -> None:
    pass


class Writes:
    """A fetcher that writes two files, and does what it is told in between."""

    def __init__(self, between: Callable[[], None] = lambda: None, content: bytes = b"weights") -> None:
        self.calls = 0
        self.found: list[str] = []
        self._between, self._content = between, content

    def fetch(self, source: Source, target: Path, progress: Progress) -> None:
        self.calls += 1
        self.found = sorted(path.name for path in target.iterdir())
        (target / "config.json").write_text("{}")
        self._between()
        (target / "model.safetensors").write_bytes(self._content)


class Never:
    def fetch(self, source: Source, target: Path, progress: Progress) -> None:
        raise AssertionError("it was to be found in the cache")


@contextmanager
def listening(action: str) -> Iterator[threading.Event]:
    """An event that is set when a log line with this action is written."""
    heard = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "action", "") == action:
                heard.set()

    listener, level = Listener(), weights.log.level
    weights.log.addHandler(listener)
    weights.log.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        weights.log.removeHandler(listener)
        weights.log.setLevel(level)


def test_a_source_is_fetched_once_and_then_found(tmp_path: Path) -> None:
    fetcher = Writes()
    folder = locate(SOURCE, tmp_path, progress=silent, fetcher=fetcher)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert folder == cached(SOURCE, tmp_path)
    assert locate(SOURCE, tmp_path, progress=silent, fetcher=Never()) == folder
    assert fetcher.calls == 1


def test_a_cache_that_cannot_be_written_to_serves_what_it_has(tmp_path: Path) -> None:
    folder = locate(SOURCE, tmp_path, progress=silent, fetcher=Writes())
    for path in folder.parent.glob("*.lock"):
        path.unlink()
    locate(SOURCE, tmp_path, progress=silent, fetcher=Never())
    assert not list(folder.parent.glob("*.lock"))  # not even a lock was asked for


def test_nothing_is_seen_of_a_fetch_that_failed_and_the_next_goes_on_from_it(tmp_path: Path) -> None:
    def fails() -> None:
        raise WeightsError("the line went dead")

    with pytest.raises(WeightsError, match="went dead"):
        locate(SOURCE, tmp_path, progress=silent, fetcher=Writes(fails))
    assert not cached(SOURCE, tmp_path).exists()
    again = Writes()
    locate(SOURCE, tmp_path, progress=silent, fetcher=again)
    assert again.found == ["config.json"]
    assert [path.name for path in (tmp_path / "hf").iterdir() if path.is_dir()] == [cached(SOURCE, tmp_path).name]


def test_files_with_another_hash_never_become_the_cached_ones(tmp_path: Path) -> None:
    right = hashlib.sha256(b"weights").hexdigest()
    source = parse_source("hf:org/tiny", {"model.safetensors": right})
    with pytest.raises(WeightsError, match=f"model.safetensors: sha256 is .*, expected {right}: what was fetched is not what was asked for, and was deleted"):
        locate(source, tmp_path, progress=silent, fetcher=Writes(content=b"others"))
    fetcher = Writes()
    assert locate(source, tmp_path, progress=silent, fetcher=fetcher).is_dir()
    assert fetcher.found == []


def test_a_link_out_of_a_cached_folder_is_refused_when_it_is_fetched_and_when_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not for models")

    class Links:
        def fetch(self, source: Source, target: Path, progress: Progress) -> None:
            (target / "config.json").write_text("{}")
            (target / "notes.txt").symlink_to(tmp_path / "secret")

    with pytest.raises(WeightsError, match=r"notes\.txt' is a link to .*secret', outside the folder"):
        locate(SOURCE, tmp_path, progress=silent, fetcher=Links())
    assert not cached(SOURCE, tmp_path).exists()
    folder = locate(SOURCE, tmp_path, progress=silent, fetcher=Writes())
    (folder / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(WeightsError, match="outside the folder"):
        locate(SOURCE, tmp_path, progress=silent, fetcher=Never())


def test_a_cache_that_is_reached_by_a_link_is_used(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    folder = locate(SOURCE, tmp_path / "cache", progress=silent, fetcher=Writes())
    assert locate(SOURCE, tmp_path / "cache", progress=silent, fetcher=Never()) == folder


def test_a_fetch_without_a_config_is_refused(tmp_path: Path) -> None:
    class Nothing:
        def fetch(self, source: Source, target: Path, progress: Progress) -> None:
            pass

    with pytest.raises(WeightsError, match=r"there is no config\.json"):
        locate(SOURCE, tmp_path, progress=silent, fetcher=Nothing())
    assert not cached(SOURCE, tmp_path).exists()


def test_two_threads_locating_at_once_fetch_once(tmp_path: Path) -> None:
    fetching, other_waits = threading.Event(), threading.Event()

    def between() -> None:
        fetching.set()
        assert other_waits.wait(WAIT_S)

    first, second = Writes(between), Writes()
    with listening("weights.wait") as waits, ThreadPoolExecutor(2) as pool:
        one = pool.submit(locate, SOURCE, tmp_path, progress=silent, fetcher=first)
        assert fetching.wait(WAIT_S)
        two = pool.submit(locate, SOURCE, tmp_path, progress=silent, fetcher=second)
        assert waits.wait(WAIT_S)
        assert not cached(SOURCE, tmp_path).exists()
        other_waits.set()
        assert one.result(WAIT_S) == two.result(WAIT_S) == cached(SOURCE, tmp_path)
    assert (first.calls, second.calls) == (1, 0)


PROCESS = """
import logging, pathlib, sys
from emberank.runtime import weights
from emberank.runtime.sources.base import parse_source

class Says(logging.Handler):
    def emit(self, record):
        print(record.action, flush=True)

class Slow:
    def fetch(self, source, target, progress):
        sys.stdin.readline()
        (target / "config.json").write_text("{}")

weights.log.addHandler(Says())
weights.log.setLevel(logging.INFO)
weights.locate(parse_source("hf:org/tiny"), pathlib.Path(sys.argv[1]), progress=print, fetcher=Slow())
print("located", flush=True)
"""


def test_two_processes_locating_at_once_fetch_once(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        source_root = str(Path(weights.__file__).parents[2])
        environment = os.environ | {"PYTHONPATH": source_root}
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path)], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    with start() as one, start() as two:

        def stop() -> None:
            one.kill()
            two.kill()

        timer = threading.Timer(2 * WAIT_S, stop)
        timer.start()
        try:
            assert one.stdout
            assert two.stdout
            # Which of them is first is theirs to settle: one fetches, and the other waits for it.
            said_first = {one.stdout.readline(): one, two.stdout.readline(): two}
            assert said_first.keys() == {"weights.fetch\n", "weights.wait\n"}
            fetching = said_first["weights.fetch\n"]
            assert fetching.stdin
            fetching.stdin.write("go on\n")
            fetching.stdin.flush()
            said = sorted(process.communicate(timeout=WAIT_S)[0] for process in (one, two))
        finally:
            timer.cancel()
            timer.join()
            stop()
    assert said == ["located\n", "weights.fetched\nlocated\n"]
    assert (one.returncode, two.returncode) == (0, 0)


def test_waiting_for_another_process_ends(tmp_path: Path) -> None:
    fetching, done = threading.Event(), threading.Event()

    def between() -> None:
        fetching.set()
        assert done.wait(WAIT_S)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(locate, SOURCE, tmp_path, progress=silent, fetcher=Writes(between))
        assert fetching.wait(WAIT_S)
        with pytest.raises(WeightsError, match=r"another process has held '.*\.lock' for more than 0 s"):
            locate(SOURCE, tmp_path, progress=silent, fetcher=Never(), wait_s=0)
        done.set()
        assert first.result(WAIT_S).is_dir()


def test_a_cache_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"cannot be used .* set EMBERANK_CACHE_DIR to another"):
        locate(SOURCE, tmp_path / "file", progress=silent, fetcher=Never())


def test_sources_that_look_alike_have_folders_of_their_own(tmp_path: Path) -> None:
    texts = ["hf:a/b", "hf:a/b@c", "hf:a/b#c", "hf:a/b@c#d", "hf:a/b--c", "pypi:b==1", "pypi:b==1#c", "pypi:b==1.0"]
    folders = {cached(parse_source(text), tmp_path) for text in texts}
    assert len(folders) == len(texts)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", folder.name) for folder in folders)
    assert cached(parse_source("pypi:A_b==1"), tmp_path) == cached(parse_source("pypi:a-b==1"), tmp_path)


def test_hashes_do_not_change_where_a_source_is_kept(tmp_path: Path) -> None:
    assert cached(parse_source("hf:a/b", {"x": "00"}), tmp_path) == cached(parse_source("hf:a/b"), tmp_path)


def test_the_cache_is_where_xdg_says_and_a_relative_place_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir({"XDG_CACHE_HOME": str(tmp_path / "xdg")}) == tmp_path / "xdg" / "emberank"
    assert default_cache_dir({"XDG_CACHE_HOME": "relative"}) == default_cache_dir({}) == tmp_path / ".cache" / "emberank"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {"model.safetensors": b"m" * 3_000_000, "config.json": b"{}", "1_Pooling/config.json": b"p", ".git/x": b"x", ".hidden": b"x"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_manifest_holds_every_visible_file_in_the_order_of_names(folder: Path) -> None:
    made = manifest(folder)
    assert [(file.name, file.size) for file in made.files] == [("1_Pooling/config.json", 1), ("config.json", 2), ("model.safetensors", 3_000_000)]
    assert made.files[2].sha256 == hashlib.sha256(b"m" * 3_000_000).hexdigest()


def test_the_content_hash_is_that_of_what_sha256sum_prints_and_knows_every_byte_and_name(folder: Path) -> None:
    made = manifest(folder)
    printed = "".join(f"{hashlib.sha256((folder / file.name).read_bytes()).hexdigest()}  {file.name}\n" for file in made.files)
    assert made.content_hash == hashlib.sha256(printed.encode()).hexdigest()
    (folder / ".hidden").write_bytes(b"y")
    assert manifest(folder) == made
    (folder / "config.json").rename(folder / "config2.json")
    assert manifest(folder).content_hash != made.content_hash


def test_a_manifest_names_the_tensors_that_are_not_finite_by_file(folder: Path) -> None:
    header = json.dumps({name: {"dtype": "F32", "shape": [2], "data_offsets": [8 * i, 8 * i + 8]} for i, name in enumerate(("good", "bad"))}).encode()
    numbers = struct.pack("<4f", 1.0, 2.0, 3.0, float("nan"))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + numbers)
    assert {file.name: file.not_finite for file in manifest(folder).files} == {"1_Pooling/config.json": (), "config.json": (), "model.safetensors": ("bad",)}


def test_a_manifest_of_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        manifest(tmp_path / "missing")


def test_verify_passes_what_is_expected_in_either_case_and_names_what_is_not(folder: Path) -> None:
    made = manifest(folder)
    right = made.files[2].sha256
    verify(made, {})
    verify(made, {"model.safetensors": right.upper()})
    wrong = "0" * 64
    message = f"model.safetensors: sha256 is {right}, expected {wrong}: delete the folder and run `emberank pull` again"
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
        verify(made, {"config.json": made.files[1].sha256, "model.safetensors": wrong})
    with pytest.raises(WeightsError, match=r"^other: the file is missing"):
        verify(made, {"other": wrong})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_percent_megabytes_and_speed() -> None:
    stream, times = Terminal(), iter([0.0, 0.05, 2.0, 4.0])
    progress = TerminalProgress(stream, clock=lambda: next(times))
    for done in (0, 1_000_000, 40_000_000, 80_000_000):
        progress("model.safetensors", done, 80_000_000)
    lines = [line.rstrip() for line in stream.getvalue().replace("\x1b[K", "").split("\r") if line]
    assert len(lines) == 3  # the one after 50 ms was not drawn
    assert re.search(r"model\.safetensors +\[ {24}\] +0%  0\.0/80\.0 MB$", lines[0])
    assert re.search(r"\[#{12} {12}\] +50%  40\.0/80\.0 MB  20\.0 MB/s$", lines[1])
    assert re.search(r"\[#{24}\] 100%  80\.0/80\.0 MB  20\.0 MB/s$", lines[2])
    assert stream.getvalue().endswith("\n")


def test_a_resumed_file_does_not_look_fast() -> None:
    stream, times = Terminal(), iter([0.0, 1.0])
    progress = TerminalProgress(stream, clock=lambda: next(times))
    progress("a", 50_000_000, 60_000_000)
    progress("a", 60_000_000, 60_000_000)
    assert stream.getvalue().replace("\x1b[K", "").endswith("  10.0 MB/s\n")


def test_without_a_terminal_there_is_one_line_for_each_file_worth_one() -> None:
    stream = io.StringIO()
    progress = TerminalProgress(stream, clock=lambda: 0.0)
    for file, done, total in [
        ("a", 0, None),
        ("a", 500, 1_500_000),
        ("a", 1_500_000, 1_500_000),
        ("tiny", 700, 700),
        ("b\x1b[2J" + "c" * 40, 2_000_000, 2_000_000),
    ]:
        progress(file, done, total)
    assert stream.getvalue() == f"a  1.5 MB\nb?[2J{'c' * 22}…  2.0 MB\n"


def test_a_size_that_is_not_known_has_no_bar() -> None:
    assert bar_line("a", 2_000_000, None, 1e6).split() == ["a", "2.0", "MB", "1.0", "MB/s"]
    assert "100%" in bar_line("a", 0, 0, None)
