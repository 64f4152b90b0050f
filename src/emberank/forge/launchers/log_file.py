"""A path in, a log file of bounded size out, for a process that only knows its standard output. Knows nothing of what is written.

A start begins after what earlier starts wrote. A file that grows too large while it is written is moved to `.1` and emptied: the process appends,
so that it goes on at the beginning. What it writes in that moment may be lost.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MOST_BYTES = 8 << 20


def open_log(file: Path, most_bytes: int = MOST_BYTES) -> int:
    """A descriptor that appends to the file; the caller closes it. Only the owner may read it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    bound_log(file, most_bytes)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound_log(file: Path, most_bytes: int = MOST_BYTES) -> None:
    """Move what is in a file that is too large out of the way."""
    try:
        if file.stat().st_size < most_bytes:
            return
        shutil.copyfile(file, older := file.with_name(file.name + ".1"))
        os.chmod(older, 0o600)
        os.truncate(file, 0)
    except OSError:
        return  # a full disk, or no file yet: logging is not worth a failed start
