"""What a start leaves in its file, step by step, for a launcher that reads it."""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

import pytest

from emberank.contract.errors import GoldenMismatch, SettingError, StartError, UnknownArchitecture, WeightsCorrupt, WeightsError
from emberank.contract.fleet import FailureReason
from emberank.runtime.status_file import StatusFile, count_peak_anew, peak_memory_bytes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_each_step_replaces_the_last_one_and_leaves_no_other_file(tmp_path: Path) -> None:
    file = StatusFile(str(tmp_path / "s.json"))
    file.say("loading")
    assert read(tmp_path / "s.json")["phase"] == "loading"
    file.say("ready", url="http://127.0.0.1:1")
    said = read(tmp_path / "s.json")
    assert (said["phase"], said["url"], said["pid"], said["reason"]) == ("ready", "http://127.0.0.1:1", os.getpid(), None)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_fetching_is_told_a_few_times_a_second_and_small_files_not_at_all(tmp_path: Path) -> None:
    clock, shown = Clock(), []
    file = StatusFile(str(tmp_path / "s.json"), clock)
    progress = file.progress(lambda name, done, total: shown.append((name, done, total)))
    clock.now = 10.0
    progress("model.safetensors", 5, 100)
    clock.now = 10.1
    progress("model.safetensors", 6, 100)
    assert (read(tmp_path / "s.json")["done"], read(tmp_path / "s.json")["total"]) == (5, 100)
    clock.now = 10.3
    progress("model.safetensors", 7, 100)
    assert read(tmp_path / "s.json")["done"] == 7
    clock.now = 11
    progress("config.json", 10, 10)
    assert read(tmp_path / "s.json")["done"] == 7
    assert len(shown) == 4


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (WeightsError("gone"), "weights_unavailable"),
        (WeightsCorrupt("cut short"), "weights_corrupt"),
        (UnknownArchitecture("what is a Foo"), "unsupported_architecture"),
        (GoldenMismatch("wrong order"), "golden_mismatch"),
        (SettingError("port"), "bad_setting"),
        (StartError("loading failed"), "crashed"),
    ],
)
def test_a_failure_says_why_in_a_word_of_the_closed_list_and_in_a_sentence(tmp_path: Path, failure: StartError, reason: str) -> None:
    file = StatusFile(str(tmp_path / "s.json"))
    file.ended(failure)
    said = read(tmp_path / "s.json")
    assert (said["phase"], said["reason"], said["message"]) == ("failed", reason, failure.message)
    assert reason in FailureReason.__args__


def test_a_drained_process_ends_without_a_reason(tmp_path: Path) -> None:
    file = StatusFile(str(tmp_path / "s.json"))
    file.say("ready", url="http://h:1")
    file.ended(None)
    assert (read(tmp_path / "s.json")["phase"], read(tmp_path / "s.json")["reason"]) == ("ended", None)


def test_a_folder_that_cannot_be_written_to_ends_nothing(tmp_path: Path) -> None:
    StatusFile(str(tmp_path / "missing" / "s.json")).say("loading")
    StatusFile("").say("loading")
    assert list(tmp_path.iterdir()) == []


def test_the_peak_of_this_process_is_more_than_nothing() -> None:
    peak = peak_memory_bytes()
    assert peak is None or peak > 1_000_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts and resets a peak")
def test_what_was_read_and_given_back_while_loading_is_no_part_of_the_peak() -> None:
    held = mmap.mmap(-1, 256 << 20)
    held.write(bytes(256 << 20))
    held.close()
    loading = peak_memory_bytes()
    count_peak_anew()
    serving = peak_memory_bytes()
    assert loading is not None
    assert serving is not None
    assert serving < loading - (200 << 20)


def test_where_a_peak_cannot_be_reset_nothing_happens(tmp_path: Path) -> None:
    count_peak_anew(tmp_path / "missing" / "clear_refs")
