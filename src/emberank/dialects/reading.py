"""A JSON body in, checked fields out: what every dialect's parser stands on. Says where a value is wrong and what would be right."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any, TypeVar

import orjson

from emberank.contract.errors import BadRequest

C = TypeVar("C", bound=str)
MOST_COUNT = 2**53 - 1  # more than there is of anything, and a number that every reader of JSON reads exactly
_MOST_FIELDS = 1000  # of a body's object; no dialect has a tenth of them
_LARGE_BYTES = 256 << 10


def body_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. BadRequest for anything else: NaN, bad UTF-8 and lone surrogates are not JSON."""
    try:
        loaded = _loads(body)
    except orjson.JSONDecodeError as cause:
        if not body:
            raise BadRequest("the body is empty; send a JSON object") from cause
        raise BadRequest(f"the body is not valid JSON: {cause.msg} (line {cause.lineno}, column {cause.colno})") from cause
    except RecursionError as cause:
        raise BadRequest("the body is nested too deeply") from cause
    if not isinstance(loaded, dict):
        raise BadRequest(f"the body must be a JSON object, not {kind(loaded)}")
    if len(loaded) > _MOST_FIELDS:
        raise BadRequest(f"the body holds {len(loaded)} fields; no request has over {_MOST_FIELDS}")
    return loaded


def _loads(body: bytes) -> Any:
    """As orjson. A large body makes many objects, none of which is garbage: looking for it among them takes several times as long as reading them."""
    if len(body) < _LARGE_BYTES or not gc.isenabled():
        return orjson.loads(body)
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        gc.enable()


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "something else")


def shown(value: object) -> str:
    """A caller's value for an error message: quoted, and cut, so that an error cannot carry megabytes back."""
    if isinstance(value, (list, dict)):
        return kind(value)  # not its content: orjson reads deeper nesting than it writes
    text = value if isinstance(value, str) else orjson.dumps(value).decode("utf-8")
    return f"'{text[:80]}…'" if len(text) > 80 else f"'{text}'"


def unknown_fields(fields: dict[str, Any], known: Sequence[str], at: str = "") -> list[str]:
    """Names in `fields` that are not in `known`, with `at` in front."""
    return [f"{at}{name}" for name in fields if name not in known]


def refuse_unknown(unknown: Sequence[str], known: Sequence[str]) -> None:
    """NIM 2.x's words for an unknown field (seen in BerriAI/litellm issue 34165)."""
    if unknown:
        name = unknown[0] if len(unknown[0]) <= 80 else unknown[0][:80] + "…"
        raise BadRequest(f"{name}: unknown field, expected one of {', '.join(known)}")


def text_field(fields: dict[str, Any], name: str, at: str = "") -> str:
    """A required string that is not blank."""
    value = fields.get(name)
    if value is None:
        raise BadRequest(f"{at}{name}: missing field; it must be a string")
    if not isinstance(value, str):
        raise BadRequest(f"{at}{name} must be a string, not {kind(value)}")
    if not value.strip():
        raise BadRequest(f"{at}{name} must not be blank or empty")
    return value


def optional_text(fields: dict[str, Any], name: str) -> str | None:
    """A string, or None when absent or null."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name} must be a string, not {kind(value)}")
    return value


def choice(fields: dict[str, Any], name: str, allowed: Sequence[C], default: C) -> C:
    """One of a closed set; null is absent."""
    value = fields.get(name)
    if value is None:
        return default
    for option in allowed:
        if value == option:
            return option
    listed = ", ".join(f"'{option}'" for option in allowed)
    raise BadRequest(f"{name} must be {'one of ' if len(allowed) > 1 else ''}{listed}; got {shown(value)}")


def optional_count(fields: dict[str, Any], name: str) -> int | None:
    """A whole number from 1 on, at most MOST_COUNT. Null and 0 are absent: several clients send them for "not set" (infinity_client, Dify)."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} must be a whole number from 1 on; got {shown(value)}")
    if value < 0:
        raise BadRequest(f"{name} must be a whole number from 1 on; got {value}")
    return min(value, MOST_COUNT) or None


def flag(fields: dict[str, Any], name: str, *, default: bool) -> bool:
    """true or false; null is absent. Some clients write it as a string (Xinference's in RAGFlow)."""
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false; got {shown(value)}")
    return value


def text_list(value: object, at: str, most: int) -> list[str]:
    """The texts of a required array, at least one and at most so many, none of them blank. `at` is the field's name."""
    if value is None:
        raise BadRequest(f"{at}: missing field; it must be an array of strings")
    if not isinstance(value, list):
        raise BadRequest(f"{at} must be an array of strings, not {kind(value)}")
    if not value:
        raise BadRequest(f"{at} must not be empty")
    if len(value) > most:
        raise BadRequest(f"{at} holds {len(value)} entries; at most {most} are allowed in one request")
    for i, text in enumerate(value):
        if isinstance(text, (int, list)) and not isinstance(text, bool):
            raise BadRequest(f"{at}[{i}] is {kind(text)}: token ids are not accepted, send text")
        if not isinstance(text, str):
            raise BadRequest(f"{at}[{i}] must be a string, not {kind(text)}")
        if not text.strip():
            raise BadRequest(f"{at}[{i}] must not be blank or empty")
    return value
