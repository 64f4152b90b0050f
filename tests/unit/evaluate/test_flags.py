from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from emberank.contract.errors import SettingError
from emberank.evaluate.flags import EvalOptions, add_flags, options


def parsed(*words: str) -> EvalOptions:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return options(parser.parse_args(words))


def test_a_folder_is_enough(tmp_path: Path) -> None:
    assert parsed("--data", str(tmp_path)) == EvalOptions(data=tmp_path, depth=100)


def test_every_flag_reaches_its_option(tmp_path: Path) -> None:
    flags = ["--url", "http://h", "--model", "m", "--embed-model", "e", "--depth", "7", "--queries", "3", "--run-file", str(tmp_path / "r"), "--json"]
    expected = EvalOptions(data=tmp_path, url="http://h", model="m", embed_model="e", depth=7, queries=3, run_file=tmp_path / "r", json=True)
    assert parsed("--data", str(tmp_path), *flags) == expected


def test_the_folder_has_to_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed()
    assert "--data" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--depth", "0"], ["--queries", "-1"], ["--run-file", "."], ["--run-file", "no-such-folder/run.trec"]])
def test_what_could_only_fail_later_is_refused_now(tmp_path: Path, flags: list[str]) -> None:
    with pytest.raises(SettingError, match=flags[0]):
        parsed("--data", str(tmp_path), *flags)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"--data .* is not a folder"):
        parsed("--data", str(tmp_path / "none"))
