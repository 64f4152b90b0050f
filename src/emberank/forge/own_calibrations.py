"""A calibration in, an entry in the user's models.toml out that puts it to one version of a model. Does not know how it was fitted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from emberank.forge.calibration_table import calibration_table
from emberank.forge.catalog import Calibration
from emberank.forge.catalog_file import FILE, overlaid, shipped
from emberank.forge.entries_text import appended, replace_file, without
from emberank.forge.tables import read_toml
from emberank.forge.toml_text import text as quoted
from emberank.forge.toml_text import value


def calibration_line(calibration: Calibration) -> str:
    """`calibration = { … }`, as it stands under a version."""
    table = calibration_table(calibration)
    if calibration.date:
        table["date"] = date.fromisoformat(calibration.date)
    return f"calibration = {value(table)}\n"


def calibration_entry(slug: str, version: str, calibration: Calibration) -> str:
    """The lines that put it to that version, whoever's entry the model is."""
    return f"[[model]]\nextends = {quoted(slug)}\n\n[[model.version]]\nname = {quoted(version)}\n{calibration_line(calibration)}"


def write_calibration(data_dir: Path, slug: str, version: str, calibration: Calibration) -> Path:
    """Append the entry to the user's models.toml, in the place of one that was written like this before; returns the file.

    Raises SettingError when the file cannot be read or written, or would not read back.
    """
    path = Path(os.path.realpath(data_dir / FILE))
    text = without(read_toml(path), _written_before(slug, version), str(path), called=slug)
    text = appended(text, calibration_entry(slug, version, calibration))
    overlaid(shipped(), text, str(path))
    replace_file(path, text)
    return path


def _written_before(slug: str, version: str) -> Callable[[Mapping[str, Any]], bool]:
    """Entries that hold nothing but a calibration of this version: what a person added to one stays."""

    def goes(values: Mapping[str, Any]) -> bool:
        if set(values) != {"extends", "version"} or values["extends"] != slug or not isinstance(values["version"], list):
            return False
        return [set(one) for one in values["version"]] == [{"name", "calibration"}] and values["version"][0]["name"] == version

    return goes
