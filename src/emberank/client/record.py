"""A JSON object in, a typed record of it out; what a newer server says besides stays in `raw`. Knows no route.

A record's fields are read by their annotations. A field without a default must be there; null and absent are the same where there is one.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from emberank.contract.errors import ServerFault

R = TypeVar("R", bound="Record")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record(Mapping[str, Any]):
    """An answer with its known fields as attributes. As a mapping it is `raw`, the answer as it came: `status["phase"]`, `dict(status)`."""

    raw: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.raw[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def read(cls: type[R], loaded: object, where: str = "") -> R:
    """`loaded` as a record. Raises ServerFault that names the field that is missing or of another kind than it should be."""
    if not isinstance(loaded, Mapping):
        raise ServerFault(f"the server's answer{where and f' holds at {where!r} what'} is no object: is this an Emberank server?")
    values = {}
    for name, hint, required in _plan(cls):
        value = loaded.get(name)
        if value is None and not required:
            continue
        if name not in loaded:
            raise ServerFault(f"the server's answer has no {where + name!r}: is this an Emberank server, and one that this client's version goes with?")
        values[name] = _converted(hint, value, f"{where}{name}")
    return cls(raw=loaded, **values)


@cache
def _plan(cls: type[Record]) -> list[tuple[str, Any, bool]]:
    """(name, annotation, whether it must be there) of every field but `raw`."""
    hints = get_type_hints(cls)
    return [(one.name, hints[one.name], one.default is MISSING and one.default_factory is MISSING) for one in fields(cls) if one.name != "raw"]


def _converted(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _converted(next(one for one in get_args(hint) if one is not types.NoneType), value, where)
    if origin is tuple:
        return _row(get_args(hint), value, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _wrong(where, "an object")
        return {name: _converted(get_args(hint)[1], one, f"{where}.{name}") for name, one in value.items()}
    if isinstance(hint, type) and issubclass(hint, Record):
        return read(hint, value, f"{where}.")
    return _plain(hint, value, where)


def _row(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list")
    if hints[-1] is Ellipsis:
        return tuple(_converted(hints[0], one, f"{where}[{i}]") for i, one in enumerate(value))
    if len(value) != len(hints):
        raise _wrong(where, f"{len(hints)} values")
    return tuple(_converted(hint, one, f"{where}[{i}]") for i, (hint, one) in enumerate(zip(hints, value)))


_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", datetime: "a moment (ISO 8601)"}


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Any or type(value) is hint:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint is datetime and isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    raise _wrong(where, _NAMES[hint])


def _wrong(where: str, expected: str) -> ServerFault:
    return ServerFault(f"the server's answer holds at {where!r} something else than {expected}")
