from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from emberank.runtime.engines import prepared
from emberank.runtime.engines.prepared import PreparedArrays

BIG = prepared.LEAST_BYTES


def arrays() -> list[NDArray[Any]]:
    random = np.random.default_rng(3)
    return [random.integers(-127, 128, (BIG // 64, 64, 1)).astype(np.int8), random.normal(size=(5, 7)).astype(np.float32), np.arange(9, dtype=np.uint16)]


def refused() -> list[NDArray[Any]]:
    raise AssertionError("what is there already must not be made again")


def same(found: list[NDArray[Any]], wanted: list[NDArray[Any]]) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_arrays_are_made_once_and_read_by_later_starts(tmp_path: Path) -> None:
    assert same(PreparedArrays(tmp_path).get("int8 q", arrays), arrays())
    assert same(PreparedArrays(tmp_path).get("int8 q", refused), arrays())
    assert [path.suffix for path in tmp_path.iterdir()] == [".arrays"]  # no part is left over


def test_each_key_has_arrays_of_its_own(tmp_path: Path) -> None:
    kept = PreparedArrays(tmp_path)
    kept.get("q", arrays)
    other = kept.get("k", lambda: [np.zeros(BIG, np.int8)])
    assert not other[0].any()
    assert same(kept.get("q", refused), arrays())


def test_small_arrays_are_not_worth_a_file(tmp_path: Path) -> None:
    found = PreparedArrays(tmp_path).get("small", lambda: [np.ones(4, np.float32)])
    assert found[0].tolist() == [1, 1, 1, 1]
    assert not list(tmp_path.iterdir())


def test_without_a_folder_arrays_are_ordinary_memory() -> None:
    assert same(PreparedArrays(None).get("q", arrays), arrays())


@pytest.mark.parametrize(
    "spoil", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" + data[1:], lambda data: data[:-1] + b"x", lambda data: data + b"more"]
)
def test_a_file_that_is_not_whole_is_made_anew(tmp_path: Path, spoil: Any) -> None:
    PreparedArrays(tmp_path).get("q", arrays)
    path = the_file(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    assert same(PreparedArrays(tmp_path).get("q", arrays), arrays())
    assert same(PreparedArrays(tmp_path).get("q", refused), arrays())


def test_a_file_under_another_keys_name_is_not_believed(tmp_path: Path) -> None:
    kept = PreparedArrays(tmp_path)
    kept.get("q", arrays)
    q = the_file(tmp_path)
    kept.get("k", lambda: [np.zeros(BIG, np.int8)])
    (k,) = set(tmp_path.iterdir()) - {q}
    q.replace(k)
    assert not PreparedArrays(tmp_path).get("k", lambda: [np.zeros(BIG, np.int8)])[0].any()


def test_pages_that_were_dropped_are_read_again(tmp_path: Path) -> None:
    kept = PreparedArrays(tmp_path)
    found = kept.get("q", arrays)
    kept.drop_pages()
    assert same(found, arrays())


def test_where_nothing_can_be_written_the_arrays_are_there_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    kept = PreparedArrays(tmp_path / "taken")
    assert same(kept.get("q", arrays), arrays())
    assert same(kept.get("k", arrays), arrays())
    assert [getattr(record, "action", "") for record in caplog.records] == ["prepared_not_kept"]  # said once


def test_folders_that_no_start_has_opened_for_a_month_are_deleted(tmp_path: Path) -> None:
    for name in ("old", "used", "new"):
        folder = prepared.folder_for(tmp_path, name)
        PreparedArrays(folder).get("q", arrays)
        os.utime(folder, (1_000, 1_000) if name != "new" else (10_000_000, 10_000_000))
    PreparedArrays(prepared.folder_for(tmp_path, "used"))
    prepared.forget_unused(tmp_path, now=10_000_000)
    assert sorted(path.name for path in (tmp_path / "prepared").iterdir()) == ["new", "used"]


def test_there_may_be_nothing_to_delete(tmp_path: Path) -> None:
    prepared.forget_unused(tmp_path / "missing", now=0)
    assert not (tmp_path / "missing").exists()
