"""Whether a version's weights are random numbers is read from the folder itself, and nothing that is in it can hurt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from emberank.forge.catalog import Version
from emberank.forge.random_weights import KEY, has_random_weights
from emberank.runtime import random_checkpoint


def of(source: str) -> bool:
    return has_random_weights(Version(name="v1", source=source))


def written(folder: Path, text: str) -> Path:
    (folder / "config.json").write_text(text)
    return folder


def test_the_forge_looks_for_the_mark_that_the_maker_leaves() -> None:
    assert KEY == random_checkpoint.RANDOM_KEY


def test_a_folder_that_says_so_is_random_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    written(tmp_path, json.dumps({KEY: True}))
    assert of(f"file:{tmp_path}")
    assert of(f"file:///{str(tmp_path).lstrip('/')}")
    assert not of(f"file:{tmp_path / 'none'}")
    assert not of("hf:acme/random")
    assert not of("nim:http://h")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"emberank_random_weights": "true"}', '{"emberank_random_weights": 1}', "\xff", "{}" + " " * 1_000_001]
)
def test_what_says_nothing_of_the_kind_is_not_random(tmp_path: Path, text: str) -> None:
    assert not of(f"file:{written(tmp_path, text)}")


@pytest.mark.parametrize("source", ["file:~no-such-user-here/x", "file:/\0", "file:" + "/x" * 5000])
def test_a_path_that_cannot_be_is_not_random(source: str) -> None:
    assert not of(source)


def test_other_weights_in_the_same_folder_are_seen(tmp_path: Path) -> None:
    assert of(f"file:{written(tmp_path, json.dumps({KEY: True}))}")
    written(tmp_path, json.dumps({"model_type": "bert"}))
    os.utime(tmp_path / "config.json", ns=(1, 1))
    assert not of(f"file:{tmp_path}")
