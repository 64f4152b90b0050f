"""A calibration written into the user's own models.toml: on top of whatever stands there, and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from emberank.contract.errors import SettingError
from emberank.forge.catalog import Calibration
from emberank.forge.catalog_file import load_catalog
from emberank.forge.own_calibrations import calibration_entry, calibration_line, write_calibration

SLUG = "all-minilm-l6-v2-rerank"
FIRST = Calibration(slope=0.8, intercept=-1.25, data='the "ours" set', date="2026-11-21", prevalence=0.08, brier=0.05, ece=0.01)
SECOND = Calibration(slope=0.9, intercept=-1.5, data="more of it")
OWN = """# ours
[[model]]
slug = "acme"
id = "acme/ranks"
title = "Acme"
task = "rank"

[[model.version]]
name = "v1"
source = "hf:acme/ranks"   # main
"""


def in_force(data: Path, slug: str = SLUG, version: str = "v1") -> Calibration | None:
    catalog = load_catalog(data)
    return catalog.version(catalog.resolve(slug), version).calibration


def test_it_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    shipped = in_force(tmp_path)
    assert write_calibration(tmp_path, SLUG, "v1", FIRST) == tmp_path / "models.toml"
    assert in_force(tmp_path) == FIRST != shipped
    assert load_catalog(tmp_path).resolve(SLUG).golden is not None, "the rest of the entry stays"


def test_a_second_one_replaces_the_first_and_a_persons_own_lines_stay(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(OWN)
    write_calibration(tmp_path, "acme", "v1", FIRST)
    write_calibration(tmp_path, SLUG, "v1", FIRST)
    write_calibration(tmp_path, "acme", "v1", SECOND)
    assert (in_force(tmp_path, "acme"), in_force(tmp_path)) == (SECOND, FIRST)
    text = file.read_text()
    assert text.startswith(OWN)
    assert text.count("extends") == 2
    assert text.endswith(calibration_entry("acme", "v1", SECOND))


def test_an_entry_that_a_person_added_to_is_left_alone(tmp_path: Path) -> None:
    write_calibration(tmp_path, SLUG, "v1", FIRST)
    file = tmp_path / "models.toml"
    theirs = file.read_text().replace('name = "v1"\n', 'name = "v1"\nidle_after_s = 77\n')
    file.write_text(theirs)
    write_calibration(tmp_path, SLUG, "v1", SECOND)
    assert file.read_text().startswith(theirs)
    assert in_force(tmp_path) == SECOND
    assert load_catalog(tmp_path).resolve(SLUG).versions[0].idle_after_s == 77


def test_what_would_not_read_back_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("# nothing yet\n")
    with pytest.raises(SettingError, match="which is of a reranker's scores"):
        write_calibration(tmp_path, "all-minilm-l6-v2", "v1", FIRST)
    assert (tmp_path / "models.toml").read_text() == "# nothing yet\n"


def test_the_line_is_toml_as_a_person_would_write_it() -> None:
    assert calibration_line(SECOND) == 'calibration = { slope = 0.9, intercept = -1.5, data = "more of it" }\n'
    assert 'data = "the \\"ours\\" set", date = 2026-11-21, prevalence = 0.08' in calibration_line(FIRST)
