"""What is remembered about files: trusted only for the very files it was found out about. Times are given, never waited for."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from emberank.contract.errors import WeightsCorrupt
from emberank.runtime import stamps, weights
from emberank.runtime.scan import Scanned, scan
from emberank.runtime.sources.base import parse_source
from emberank.runtime.stamps import RACY_NS, WORTH_WAITING_BYTES, Identity, Stamp, stamp_file, wait_s
from emberank.runtime.weights import manifest, settle

SECOND_NS = 1_000_000_000
SOME = Identity(device=1, inode=2, size=3, mtime_ns=10 * SECOND_NS, ctime_ns=11 * SECOND_NS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"w" * 1000)
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read from beginning to end."""
    names: list[str] = []

    def scanning(path: Path) -> Scanned:
        names.append(path.name)
        return scan(path)

    monkeypatch.setattr(weights, "scan", scanning)
    return names


def later(folder: Path, seconds: float = 3) -> int:
    """A time so long after the folder's files were last changed, in Unix nanoseconds."""
    return max(path.stat().st_ctime_ns for path in folder.iterdir()) + int(seconds * SECOND_NS)


def known(folder: Path, seconds: float = 3) -> weights.Manifest:
    now_ns = later(folder, seconds)
    return manifest(folder, folder.parent / "cache", now_ns=lambda: now_ns)


def kept(folder: Path) -> Path:
    return stamp_file(folder.parent / "cache", folder)


def test_files_are_read_once_and_known_from_then_on(folder: Path, read: list[str]) -> None:
    first = known(folder)
    assert sorted(read) == ["config.json", "model.safetensors"]
    assert known(folder) == first == manifest(folder)
    assert len(read) == 4  # the last call has no cache, and reads


def test_without_a_cache_nothing_is_kept(folder: Path) -> None:
    manifest(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_file_with_other_content_is_read_again_even_when_its_size_and_times_look_the_same(folder: Path, read: list[str]) -> None:
    first, path = known(folder), folder / "model.safetensors"
    before = path.stat()
    path.write_bytes(b"x" * 1000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the time of content can be set; the inode's own cannot
    read.clear()
    assert known(folder).content_hash != first.content_hash
    assert read == ["model.safetensors"]


def test_a_file_put_in_the_place_of_another_is_read_again(folder: Path, read: list[str]) -> None:
    known(folder)
    other = folder.parent / "other"
    other.write_bytes(b"y" * 1000)
    os.replace(other, folder / "model.safetensors")
    read.clear()
    assert known(folder) == manifest(folder)
    assert read[0] == "model.safetensors"


@pytest.mark.parametrize("field", ["device", "inode", "size", "mtime_ns", "ctime_ns"])
def test_a_stamp_of_any_other_identity_is_not_trusted(field: str, folder: Path, read: list[str]) -> None:
    right = known(folder)
    entries = stamps.read(kept(folder))
    one = entries["model.safetensors"]
    odd = replace(one.identity, **{field: getattr(one.identity, field) + 1})
    stamps.write(kept(folder), {**entries, "model.safetensors": Stamp(identity=odd, scanned=Scanned(sha256="0" * 64))})
    read.clear()
    assert known(folder) == right
    assert read == ["model.safetensors"]


def test_a_stamp_of_the_same_identity_is_believed(folder: Path, read: list[str]) -> None:
    known(folder)
    entries = stamps.read(kept(folder))
    said = replace(entries["model.safetensors"], scanned=Scanned(sha256="0" * 64, not_finite=("w",)))
    stamps.write(kept(folder), {**entries, "model.safetensors": said})
    file = known(folder).files[1]
    assert (file.sha256, file.not_finite) == ("0" * 64, ("w",))


@pytest.mark.parametrize(("seconds", "times"), [(3, 1), (2, 1), (1.999, 2), (0, 2), (-3600, 2)])
def test_a_file_changed_within_two_seconds_of_reading_gets_no_stamp(seconds: float, times: int, folder: Path, read: list[str]) -> None:
    now_ns = (folder / "model.safetensors").stat().st_ctime_ns + int(seconds * SECOND_NS)
    for _ in range(2):
        manifest(folder, folder.parent / "cache", now_ns=lambda: now_ns)
    assert read.count("model.safetensors") == times


def test_a_file_that_changes_while_it_is_read_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grows(path: Path) -> Scanned:
        with path.open("ab") as file:
            file.write(b"more")
        return scan(path)

    monkeypatch.setattr(weights, "scan", grows)
    with pytest.raises(WeightsCorrupt, match=r"config\.json: the file was changed while it was being read"):
        known(folder)
    assert not kept(folder).exists()


def test_a_change_of_mode_while_reading_only_costs_the_stamp(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chmods(path: Path) -> Scanned:
        before = path.stat().st_ctime_ns
        for _ in range(1_000_000):  # until the file system's clock has moved on, a few milliseconds
            path.chmod(0o600)
            if path.stat().st_ctime_ns != before:
                break
        return scan(path)

    monkeypatch.setattr(weights, "scan", chmods)
    known(folder, seconds=10)
    assert stamps.read(kept(folder)) == {}


DAMAGE = {
    "empty": lambda text: b"",
    "cut short": lambda text: text[: len(text) // 2],
    "no JSON": lambda text: b"\xff\x00",
    "a list": lambda text: b"[]",
    "another version": lambda text: text.replace(b'"version": 1', b'"version": 2'),
    "a digit of a hash": lambda text: text.replace(b'"sha256": "', b'"sha256": "0', 1),
    "no files": lambda text: json.dumps({**json.loads(text), "files": None}).encode(),
    "files that fit their digest and are none": lambda text: json.dumps({"version": 1, "files": [1], "digest": stamps._digest([1])}).encode(),
    "an entry that fits its digest and is none": lambda text: json.dumps({"version": 1, "files": {"a": {}}, "digest": stamps._digest({"a": {}})}).encode(),
    "JSON too deep": lambda text: b'{"version": 1, "digest": "", "files": ' + b"[" * 200_000,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damaged_stamps_mean_reading_again_and_are_replaced(what: str, folder: Path, read: list[str], caplog: pytest.LogCaptureFixture) -> None:
    right = known(folder)
    good = kept(folder).read_bytes()
    kept(folder).write_bytes(DAMAGE[what](good))
    read.clear()
    with caplog.at_level(logging.INFO, stamps.log.name):
        assert known(folder) == right
    assert len(read) == 2
    assert [record.action for record in caplog.records] == ["stamps.unreadable"]  # type: ignore[attr-defined]
    assert kept(folder).read_bytes() == good


def test_a_cache_that_cannot_be_written_to_serves_all_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder.parent / "cache").touch()  # a file where the folder would have to be
    with caplog.at_level(logging.INFO, stamps.log.name):
        assert known(folder) == manifest(folder)
    assert {record.action for record in caplog.records} == {"stamps.unreadable", "stamps.unwritable"}  # type: ignore[attr-defined]


def test_stamps_are_replaced_whole_and_nothing_is_left_beside_them(folder: Path) -> None:
    known(folder)
    (folder / "config.json").unlink()
    known(folder)
    assert list(stamps.read(kept(folder))) == ["model.safetensors"]
    assert [path.name for path in kept(folder).parent.iterdir()] == [kept(folder).name]


def test_folders_have_stamps_of_their_own_and_one_reached_by_a_link_has_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    a, b, link = (stamp_file(tmp_path, tmp_path / name) for name in ("a", "b", "link"))
    assert a == link != b


def test_stamps_made_while_fetching_hold_for_the_folder_when_it_has_its_name(tmp_path: Path, read: list[str]) -> None:
    class Old:
        """What it brings was changed long ago, by the clock that `manifest` is given."""

        def fetch(self, source: object, target: Path, progress: object) -> None:
            (target / "config.json").write_text("{}")

    target, final = tmp_path / "x.part", tmp_path / "x"
    target.mkdir()
    Old().fetch(None, target, None)
    now_ns = later(target)
    weights._manifest(target, stamp_file(tmp_path / "cache", final), lambda: now_ns)
    target.rename(final)
    read.clear()
    manifest(final, tmp_path / "cache", now_ns=lambda: now_ns)
    assert read == []


def test_pulling_leaves_stamps_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Brings:
        def fetch(self, source: object, target: Path, progress: object) -> None:
            (target / "config.json").write_text("{}")

    monkeypatch.setattr(Identity, "settled", lambda self, now_ns: True)
    source = parse_source("hf:org/tiny")
    found = weights.locate(source, tmp_path, progress=lambda file, done, total: None, fetcher=Brings())
    assert list(stamps.read(stamp_file(tmp_path, found))) == ["config.json"]


def test_waiting_is_for_large_young_files_only_and_never_longer_than_two_seconds() -> None:
    large = replace(SOME, size=WORTH_WAITING_BYTES)
    changed_ns = 11 * SECOND_NS
    assert wait_s([large], changed_ns) == 2.0
    assert wait_s([large], changed_ns + SECOND_NS // 2) == 1.5
    assert wait_s([large], changed_ns + RACY_NS) == 0.0
    assert wait_s([SOME], changed_ns) == 0.0  # read again in no time
    assert wait_s([large, replace(large, ctime_ns=changed_ns + SECOND_NS)], changed_ns + SECOND_NS) == 2.0
    assert wait_s([replace(large, ctime_ns=changed_ns + 3600 * SECOND_NS)], changed_ns) == 0.0  # another machine's clock
    assert wait_s([], changed_ns) == 0.0


def test_after_a_download_the_wait_is_what_its_files_need(tmp_path: Path) -> None:
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(WORTH_WAITING_BYTES)  # a hole: nothing is written
    slept: list[float] = []
    changed_ns = (tmp_path / "model.safetensors").stat().st_ctime_ns
    settle(tmp_path, now_ns=lambda: changed_ns + SECOND_NS, sleep=slept.append)
    settle(tmp_path, now_ns=lambda: changed_ns + RACY_NS, sleep=slept.append)
    assert slept == [1.0]
