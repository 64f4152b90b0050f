"""Weights that are used where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from emberank.contract.errors import WeightsError
from emberank.runtime import weights
from emberank.runtime.sources.base import parse_source


def silent(file: str, done: int, total: int | None) -> None:
    raise AssertionError("nothing is fetched")


def test_a_model_folder_is_used_in_place_and_no_cache_is_made(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    assert weights.locate(parse_source(f"file:{model}"), tmp_path / "cache", progress=silent) == model
    assert not (tmp_path / "cache").exists()
    assert [path.name for path in model.iterdir()] == ["config.json"]


def test_a_folder_that_is_missing_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing", "file"):
        with pytest.raises(WeightsError, match="is not a folder"):
            weights.locate(parse_source(f"file:{tmp_path / name}"), tmp_path, progress=silent)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no config\.json"):
        weights.locate(parse_source(str(tmp_path)), tmp_path, progress=silent)
