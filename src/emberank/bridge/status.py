"""The steps of a start in, one small JSON file out, replaced atomically: the fields of a runtime's status file, which the forge reads."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Literal


def say(path: str, phase: Literal["loading", "ready", "failed", "ended"], *, url: str = "", reason: str | None = None, message: str = "") -> None:
    """Replace the file; with an empty path say nothing. Failing to write is ignored: a full disk must not end a process that serves."""
    if not path:
        return
    file = Path(path)
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    fields = {"pid": os.getpid(), "phase": phase, "done": None, "total": None, "url": url, "reason": reason, "message": message, "peak_memory_bytes": None}
    with contextlib.suppress(OSError):
        beside.write_text(json.dumps(fields), "utf-8")
        beside.replace(file)
