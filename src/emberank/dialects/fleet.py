"""The fleet's values in, JSON out, and back: what gateway and forge write to each other. Pure.

Readers are made once from the dataclasses themselves, so that a field exists in one place. A field nobody knows is ignored and one with a default may be
missing, so that two releases can talk; anything else that does not fit is a BadRequest that names the place.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from emberank.contract.errors import BadRequest
from emberank.contract.fleet import LoadReport, Principal, Revisions, Snapshot, Wish
from emberank.dialects.reading import body_object, kind, shown

V = TypeVar("V")
Reader = Callable[[Any], Any]
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotCall:
    """What a gateway asks a snapshot with."""

    gateway_id: str
    forge_id: str
    known: Revisions
    wait_s: float


def encode(value: Snapshot | Wish | LoadReport | Principal) -> bytes:
    """Any of the fleet's values as JSON. Text that is not Unicode (a file name in a message) is written with replacement marks."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_unicode(asdict(value)))


def decode_snapshot(body: bytes) -> Snapshot:
    """Raises BadRequest."""
    return _decode(Snapshot, body)


def decode_wish(body: bytes) -> Wish:
    """Raises BadRequest."""
    return _decode(Wish, body)


def decode_report(body: bytes) -> LoadReport:
    """Raises BadRequest."""
    return _decode(LoadReport, body)


def decode_principal(body: bytes) -> Principal:
    """Raises BadRequest."""
    return _decode(Principal, body)


def snapshot_fields(call: SnapshotCall) -> dict[str, str]:
    """The query of GET /internal/snapshot."""
    known = {name: str(number) for name, number in asdict(call.known).items()}
    return {"gateway": call.gateway_id, "forge": call.forge_id, **known, "wait": repr(call.wait_s)}


def read_snapshot_fields(query: Mapping[str, str]) -> SnapshotCall:
    """The other way. Raises BadRequest; a revision that is missing is 0, a missing wait none."""
    gateway_id = query.get("gateway", "")
    if not gateway_id:
        raise BadRequest("gateway: missing; it must be the gateway's own id")
    known = Revisions(**{field.name: _revision(query, field.name) for field in fields(Revisions)})
    return SnapshotCall(gateway_id=gateway_id, forge_id=query.get("forge", ""), known=known, wait_s=_wait_s(query.get("wait", "0")))


def _revision(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise BadRequest(f"{name} must be a whole number from 0 on; got {shown(text)}")
    return int(text)


def _wait_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadRequest(f"wait must be a number of seconds from 0 on; got {shown(text)}")
    return seconds


def _decode(cls: type[V], body: bytes) -> V:
    loaded = body_object(body)
    try:
        return _READERS[cls](loaded)
    except _Misfit as misfit:
        raise BadRequest(misfit.sentence()) from None


def _unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {name: _unicode(item) for name, item in value.items()}
    return [_unicode(item) for item in value] if isinstance(value, list | tuple) else value


# Readers: a JSON value in, ours out, or _Misfit. The place is put together only when something is wrong.


class _Misfit(Exception):
    def __init__(self, complaint: str) -> None:
        super().__init__()
        self.complaint = complaint
        self.place = ""

    def inside(self, name: str | int) -> _Misfit:
        outer = f"[{name}]" if isinstance(name, int) else name
        self.place = f"{outer}{'' if not self.place or self.place.startswith('[') else '.'}{self.place}"
        return self

    def sentence(self) -> str:
        return f"{self.place} {self.complaint}" if self.place else self.complaint


def _reader(hint: Any) -> Reader:
    """The reader of a type: str, int, float, bool, Literal, X | None, tuple and dataclasses of these."""
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _record(hint)
    if origin is Literal:
        return _choice(inner)
    if origin in (Union, types.UnionType):
        (some,) = (each for each in inner if each is not type(None))
        return _optional(_reader(some))
    if origin is tuple:
        return _row(_reader(inner[0])) if inner[1:] == (...,) else _pair([_reader(each) for each in inner])
    return _PLAIN[hint]


def _record(cls: Any) -> Reader:
    hints = get_type_hints(cls)
    plan = [(each.name, _reader(hints[each.name]), each.default is MISSING and each.default_factory is MISSING) for each in fields(cls)]

    def read(value: Any) -> Any:
        if type(value) is not dict:
            raise _Misfit(f"must be an object, not {kind(value)}")
        made = {}
        for name, reader, required in plan:
            given = value.get(name, _ABSENT)
            if given is not _ABSENT:
                try:
                    made[name] = reader(given)
                except _Misfit as misfit:
                    raise misfit.inside(name) from None
            elif required:
                raise _Misfit("is missing").inside(name)
        return cls(**made)

    return read


def _row(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise _Misfit(f"must be an array, not {kind(value)}")
        made: list[Any] = []
        try:
            for each in value:
                made.append(item(each))  # noqa: PERF401  its length is the place of what does not fit
        except _Misfit as misfit:
            raise misfit.inside(len(made)) from None
        return tuple(made)

    return read


def _pair(items: list[Reader]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(items):
            raise _Misfit(f"must be an array of {len(items)} values")
        return tuple(item(each) for item, each in zip(items, value))

    return read


def _choice(allowed: tuple[str, ...]) -> Reader:
    known = {each: each for each in allowed}  # gives back our own string: one object however many rows hold it

    def read(value: Any) -> Any:
        found = known.get(value) if type(value) is str else None
        if found is None:
            raise _Misfit(f"must be one of {', '.join(map(repr, allowed))}; got {shown(value)}")
        return found

    return read


def _optional(some: Reader) -> Reader:
    return lambda value: None if value is None else some(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _Misfit(f"must be a string, not {kind(value)}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise _Misfit("must be a whole number")
    return value


def _number(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _Misfit(f"must be a number, not {kind(value)}")
    return float(value)


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise _Misfit(f"must be true or false, not {kind(value)}")
    return value


_PLAIN: dict[Any, Reader] = {str: _text, int: _whole, float: _number, bool: _truth}
_READERS: dict[Any, Reader] = {cls: _reader(cls) for cls in (Snapshot, Wish, LoadReport, Principal)}
