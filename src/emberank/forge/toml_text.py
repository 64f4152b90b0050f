"""A table in, TOML text out that reads back as the same table: strings, numbers, dates, lists and tables. Knows no comments and keeps no layout."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def emit(table: Mapping[str, Any], *, entry: str) -> str:
    """`table` as one more `[[entry]]`. Lists of tables become `[[entry.key]]`, tables `[entry.key]`. Raises ValueError for what TOML cannot say."""
    return "\n".join(_lines(table, (entry,), f"[[{key(entry)}]]")) + "\n"


def value(item: object) -> str:
    """One value on one line."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, str):
        return text(item)
    if isinstance(item, int):
        return str(item)
    if isinstance(item, float):
        return repr(item) if math.isfinite(item) else str(item)
    if isinstance(item, date):
        return item.isoformat()
    if isinstance(item, Mapping):
        inside = ", ".join(f"{key(name)} = {value(below)}" for name, below in item.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(item, Sequence):
        return f"[{', '.join(value(below) for below in item)}]"
    raise ValueError(f"TOML has no {type(item).__name__}")


def text(words: str) -> str:
    """A string in double quotes."""
    return '"' + "".join(_character(character) for character in words) + '"'


def key(name: str) -> str:
    """A key, in quotes where TOML needs them."""
    return name if _BARE.fullmatch(name) else text(name)


def _lines(table: Mapping[str, Any], path: tuple[str, ...], header: str) -> list[str]:
    plain = {name: item for name, item in table.items() if not _is_tables(item) and not isinstance(item, Mapping)}
    lines = [header, *(f"{key(name)} = {value(item)}" for name, item in plain.items())]
    # Whatever stands below a header belongs to it, so plain values come first.
    for name, item in table.items():
        below = (*path, name)
        dotted = ".".join(key(part) for part in below)
        if isinstance(item, Mapping):
            lines += ["", *_lines(item, below, f"[{dotted}]")]
        elif _is_tables(item):
            for one in item:
                lines += ["", *_lines(one, below, f"[[{dotted}]]")]
    return lines


def _is_tables(item: object) -> bool:
    return isinstance(item, list | tuple) and bool(item) and all(isinstance(one, Mapping) for one in item)


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError("half a character (a lone surrogate) cannot be written as TOML")
    return f"\\u{code:04x}" if code < 0x20 or code == 0x7F else character
