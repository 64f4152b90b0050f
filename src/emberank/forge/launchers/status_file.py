"""A runtime's status file in, what it says out. The runtime replaces it atomically; a file that is missing or makes no sense says nothing.

A runtime's message is for the person at its terminal, and may name files; here it is on its way to callers, who are shown their last part only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from emberank.contract.fleet import FailureReason

_MOST_MESSAGE_CHARS = 2000
# Two parts at least, not inside a URL, a word or a source such as hf:org/name.
_PATH = re.compile(r"(?:(?<=file:)|(?<![\w:/.]))(?:~|\.{1,2})?(?:/[^\s/'\",;:)]+)+(/[^\s/'\",;:)]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the runtime said last. `done` and `total` are bytes."""

    phase: str = ""
    done: int | None = None
    total: int | None = None
    url: str = ""
    reason: FailureReason | None = None
    message: str = ""
    peak_memory_bytes: int | None = None
    pid: int | None = None


NOTHING = Status()


def read_status(file: Path) -> Status:
    """The file's content, field by field: one that is of the wrong type is as absent."""
    try:
        values: Any = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return NOTHING
    if not isinstance(values, dict):
        return NOTHING

    def text(name: str) -> str:
        value = values.get(name)
        return value[:_MOST_MESSAGE_CHARS] if isinstance(value, str) else ""

    def number(name: str) -> int | None:
        value = values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    reason = text("reason")
    return Status(
        phase=text("phase"),
        done=number("done"),
        total=number("total"),
        url=text("url"),
        reason=cast(FailureReason, reason) if reason in get_args(FailureReason) else None,
        message=without_paths(text("message")),
        peak_memory_bytes=number("peak_memory_bytes"),
        pid=number("pid"),
    )


def without_paths(message: str) -> str:
    """The sentence with `…/model.safetensors` in the place of a whole path."""
    return _PATH.sub(r"…\1", message)
