"""TOML text in, tables out whose keys are read one by one with the type they must have. Knows no entry: the modules that read one say its keys."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from emberank.contract.errors import SettingError

_NOTHING: Any = object()
_MOST = 1e15  # of a number, where nothing less is said


def read_toml(path: Path) -> str:
    """The file's text; empty when there is no such file. Raises SettingError."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as cause:
        raise SettingError(f"{path} cannot be read: {cause}") from cause


def parse_toml(text: str, where: str) -> Table:
    """The whole file as a table. Raises SettingError with the line that is wrong."""
    try:
        return Table(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as cause:
        raise SettingError(f"{where} is not TOML: {cause}") from cause


class Table:
    """A table that is being read. `finish` refuses what nobody asked for: a key that is misspelt must not be a key without effect."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._values = values
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def wrong(self, key: str, sentence: str) -> SettingError:
        """The error about one key: file, entry, key, and what would be right."""
        return SettingError(f"{self.where}: `{key}` {sentence}")

    def text(self, key: str, default: str = _NOTHING, *, pattern: re.Pattern[str] | None = None, form: str = "") -> str:
        """A string; `pattern` must match all of it, and `form` says what that means."""
        value = self._take(key, default)
        if value is default:
            return default
        if not isinstance(value, str) or (default is _NOTHING and not value.strip()):
            raise self.wrong(key, f"has to be {'a text' if isinstance(value, str) else 'a text in quotes'}, not {shown(value)}")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, f"is {shown(value)}; it has to be {form}")
        return value

    def texts(self, key: str, *, pattern: re.Pattern[str] | None = None, form: str = "") -> tuple[str, ...]:
        """A list of strings, none of them twice; empty when the key is not there."""
        value = self._take(key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
            raise self.wrong(key, f"has to be a list of texts, not {shown(value)}")
        for item in value:
            if pattern is not None and not pattern.fullmatch(item):
                raise self.wrong(key, f"holds {shown(item)}; each has to be {form}")
        twice = next((item for item in value if value.count(item) > 1), None)
        if twice is not None:
            raise self.wrong(key, f"holds {shown(twice)} twice")
        return tuple(value)

    def date(self, key: str, default: str = _NOTHING) -> str:
        """A day, as TOML writes one or in quotes: 2026-11-21."""
        value = self._take(key, default)
        if value is default:
            return default
        try:
            return (value if type(value) is date else date.fromisoformat(value)).isoformat()
        except (TypeError, ValueError) as cause:
            raise self.wrong(key, f"has to be a date such as 2026-11-21, not {shown(value)}") from cause

    def number(self, key: str, default: float | None = _NOTHING, *, over: float = 0.0, most: float = _MOST) -> Any:
        """A number greater than `over`."""
        value = self._take(key, default)
        if value is default:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not over < value <= most:
            limit = "" if most == _MOST else f" and at most {most:g}"
            raise self.wrong(key, f"has to be a number greater than {over:g}{limit}, not {shown(value)}")
        return float(value)

    def whole(self, key: str, default: int | None = _NOTHING, *, least: int = 1, most: int = 10**15) -> Any:
        """A whole number of at least `least`."""
        value = self._take(key, default)
        if value is default:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"has to be a whole number from {least} to {most}, not {shown(value)}")
        return value

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers greater than 0; empty when the key is not there."""
        value = self._take(key, ())
        if not isinstance(value, list | tuple) or any(isinstance(item, bool) or not isinstance(item, int) or item < 1 for item in value):
            raise self.wrong(key, f"has to be a list of whole numbers greater than 0, not {shown(value)}")
        return tuple(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers; empty when the key is not there."""
        value = self._take(key, ())
        if not isinstance(value, list | tuple) or any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
            raise self.wrong(key, f"has to be a list of numbers, not {shown(value)}")
        return tuple(float(item) for item in value)

    def truth(self, key: str) -> bool:
        """true or false; false when the key is not there."""
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, f"has to be true or false, not {shown(value)}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str = _NOTHING) -> Any:
        """One of `choices`."""
        value = self._take(key, default)
        if value not in choices:
            raise self.wrong(key, f"has to be one of {', '.join(repr(choice) for choice in choices)}, not {shown(value)}")
        return value

    def mapping(self, key: str) -> dict[str, str]:
        """A table of texts, such as links; a number or true/false in it becomes text as TOML writes it."""
        value = self._take(key, {})
        if not isinstance(value, Mapping) or not all(isinstance(item, str | bool | int | float) for item in value.values()):
            raise self.wrong(key, f"has to be a table of texts, not {shown(value)}")
        return {name: str(item).lower() if isinstance(item, bool) else str(item) for name, item in value.items()}

    def table(self, key: str) -> Table | None:
        """A table below this one; None when the key is not there."""
        value = self._take(key, None)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"has to be a table, not {shown(value)}")
        return Table(value, f"{self.where}: {key}")

    def tables(self, key: str, name: Callable[[Mapping[str, Any], int], str] | None = None) -> tuple[Table, ...]:
        """The tables of `[[key]]`; `name` says how one is called in errors, by its content and its number."""
        value = self._take(key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
            raise self.wrong(key, f"has to be a list of tables: [[{key}]]")
        return tuple(Table(item, f"{self.where}: [[{key}]] {name(item, i) if name else i}") for i, item in enumerate(value, 1))

    def values(self) -> dict[str, Any]:
        """Everything in it, as it was read."""
        return dict(self._values)

    def finish(self) -> None:
        """Refuse keys that were not asked for. Raises SettingError."""
        for key in self._values:
            if key not in self._asked:
                near = difflib.get_close_matches(key, self._asked, 1)
                meant = f"; is `{near[0]}` meant?" if near else ""
                raise self.wrong(key, f"is not a known key{meant} Known: {', '.join(sorted(self._asked))}")

    def _take(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key in self._values:
            return self._values[key]
        if default is _NOTHING:
            raise self.wrong(key, "is missing")
        return default


def shown(value: object) -> str:
    """A value for an error message: never more than a line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
