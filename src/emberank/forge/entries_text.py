"""The text of a models.toml in, the same text with an entry more or fewer out: what a person wrote stays as it is. Knows no field of an entry."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from emberank.contract.errors import SettingError
from emberank.forge.tables import parse_toml

_ENTRY = re.compile(r"\[\[\s*model\s*\]\]")
_HEADER = re.compile(r"\[\[?\s*(?P<name>[^\]]+?)\s*\]\]?")


def appended(text: str, entry: str) -> str:
    """The text with one more entry at its end, an empty line between."""
    body = text.rstrip("\n")
    return f"{body}\n\n{entry}" if body else entry


def without(text: str, goes: Callable[[Mapping[str, Any]], bool], where: str, *, called: str) -> str:
    """The text without the entries whose values `goes` picks: from [[model]] to the next header that is not one of its own.

    Raises SettingError, which names the entry as `called`, when the layout is too unusual to be sure of what belongs to it.
    """
    before = [entry.values() for entry in parse_toml(text, where).tables("model")]
    kept: list[str] = []
    remarks: list[str] = []  # comments above a header belong to what follows it
    number, inside = -1, False
    for line in text.splitlines(keepends=True):
        bare = line.partition("#")[0].strip()
        was_inside = inside
        if _ENTRY.fullmatch(bare):
            number += 1
            inside = number < len(before) and goes(before[number])
        elif (match := _HEADER.fullmatch(bare)) and not match["name"].replace(" ", "").startswith("model."):
            inside = False
        kept += remarks if was_inside and not inside else []
        kept += [] if inside else [line]
        remarks = [*remarks, line] if inside and not bare else []
    after = "".join((*kept, *remarks))
    # A header inside a text of several lines would lead astray: what is left must be exactly the other entries.
    try:
        left: list[dict[str, Any]] | None = [entry.values() for entry in parse_toml(after, where).tables("model")]
    except SettingError:
        left = None
    if left != [values for values in before if not goes(values)]:
        raise SettingError(f"{where}: the old entry of {called!r} cannot be taken out safely: take it out by hand, and try again")
    return after


def replace_file(path: Path, text: str) -> None:
    """The whole new file or the old one, whatever happens in between."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(partial, mode)
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as cause:
        raise SettingError(f"{path} cannot be written: {cause.strerror or cause}") from cause
