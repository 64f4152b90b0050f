"""A refused answer in, the error it was before it was written out: errors survive the wire. Knows no transport.

Reads the bodies of our own servers, and those of others (NIM, OpenAI, FastAPI, TEI) as far as they hold a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from emberank.client.answer import find_header
from emberank.contract.errors import BadRequest, DeadlineExceeded, EmberankError, InputTooLong, ModelNotFound, NotFound, NotReady, ServerFault, StartError

_MOST_CHARACTERS = 4000
# Two errors that share status and type with another are told apart by their sentence.
_BY_SENTENCE: tuple[tuple[str, type[EmberankError], type[EmberankError]], ...] = (
    ("Input length ", BadRequest, InputTooLong),
    ("model '", NotFound, ModelNotFound),
)


def error_from(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> EmberankError:
    """The error with its sentence, status, type and Retry-After. `headers` have names in lower case.

    One that is not ours is judged by its status: 502 and 503 are NotReady, 504 DeadlineExceeded, other 5xx ServerFault, the rest a RequestError.
    """
    said = _object(body)
    kind = said.get("type")
    kind = kind[:100] if isinstance(kind, str) else ""
    message = _sentence(said) or f"the server answered with status {status} and no reason"
    cls = _class(status, kind, message)
    error = cls.__new__(cls)  # the classes' own constructors put sentences together; this one is ready
    EmberankError.__init__(error, message, status=status, retry_after_s=_retry_after_s(headers))
    if kind and kind != cls.type:
        vars(error)["type"] = kind
    return error


def _class(status: int, kind: str, message: str) -> type[EmberankError]:
    cls = _KNOWN.get((status, kind)) or _KNOWN_TYPES.get(kind) or _by_status(status)
    for beginning, general, special in _BY_SENTENCE:
        if cls is general and message.startswith(beginning):
            return special
    return cls


def _by_status(status: int) -> type[EmberankError]:
    known = next((cls for (each, _), cls in _KNOWN.items() if each == status), None)
    if known is not None:
        return known
    if status in (502, 503):
        return NotReady
    if status >= 500 or status < 400:
        return DeadlineExceeded if status == 504 else ServerFault
    return BadRequest


def _leaves(cls: type[EmberankError]) -> Iterable[type[EmberankError]]:
    """The contract's own ends of the hierarchy, in the order they are written down, without those that never leave their process."""
    # What a plane adds for itself (whichever planes happen to be imported) goes over the wire as what it is a kind of.
    below = [each for each in cls.__subclasses__() if each.__module__ == EmberankError.__module__ and not issubclass(each, StartError)]
    for each in below:
        yield from _leaves(each)
    if not below:
        yield cls


_LEAVES = list(_leaves(EmberankError))
_KNOWN: dict[tuple[int, str], type[EmberankError]] = {}
_KNOWN_TYPES: dict[str, type[EmberankError]] = {}  # some have another status as a setting
for _leaf in _LEAVES:
    _KNOWN.setdefault((_leaf.status, _leaf.type), _leaf)
    _KNOWN_TYPES.setdefault(_leaf.type, _leaf)


def _object(body: bytes) -> dict[str, Any]:
    try:
        loaded = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        return {}
    if not isinstance(loaded, dict):
        return {}
    inner = loaded.get("error")
    return {**loaded, **inner} if isinstance(inner, dict) else loaded  # OpenAI's shape


def _sentence(said: dict[str, Any]) -> str:
    """The first of the places where servers put their sentence that holds one."""
    for name in ("message", "detail", "error", "error_message"):
        text = said.get(name)
        if isinstance(text, str) and text.strip():
            return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
    first = said.get("detail")
    if isinstance(first, list) and first and isinstance(first[0], dict):  # FastAPI's list
        return str(first[0].get("msg", ""))[:_MOST_CHARACTERS]
    return ""


def _retry_after_s(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds, or a date, which is counted from the answer's own Date: the two clocks need not agree."""
    text = find_header(headers, "retry-after")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text, find_header(headers, "date"))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(then: str, now: str | None) -> float:
    try:
        return (parsedate_to_datetime(then) - parsedate_to_datetime(now or "")).total_seconds()
    except (ValueError, TypeError):  # one without a time zone cannot be taken from one with
        return math.nan
