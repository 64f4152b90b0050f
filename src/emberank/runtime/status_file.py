"""The steps of a start in, one small JSON file out, replaced atomically: how a launcher that did not stay to listen learns of it.

Fields: pid, phase (fetching, loading, verifying, ready, failed, ended), done and total (bytes, while fetching), url, reason and message (of a failure),
peak_memory_bytes. Knows nothing of who reads it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import orjson

from emberank.contract.errors import EmberankError
from emberank.runtime.sources.base import Progress

Step: TypeAlias = Literal["fetching", "loading", "verifying", "ready", "failed", "ended"]
REWRITE_S = 0.2


class StatusFile:
    """Says where a start is. With an empty path it says nothing. A full disk must not end a process that serves: failing to write is ignored."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path) if path else None
        self._clock = clock
        self._written_s = float("-inf")
        self._url = ""

    def say(self, phase: Step, *, done: int | None = None, total: int | None = None, url: str = "", reason: str | None = None, message: str = "") -> None:
        """Replace the file."""
        if self._path is None:
            return
        self._url = url or self._url
        fields = {"pid": os.getpid(), "phase": phase, "done": done, "total": total, "url": self._url, "reason": reason, "message": message}
        fields["peak_memory_bytes"] = peak_memory_bytes()
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            beside.write_bytes(orjson.dumps(fields))
            beside.replace(self._path)
        self._written_s = self._clock()

    def progress(self, shown: Progress) -> Progress:
        """`shown`, and the file besides, a few times a second: small files are not worth a word."""

        def both(file: str, done: int, total: int | None, /) -> None:
            shown(file, done, total)
            if self._clock() - self._written_s >= REWRITE_S and not (total is not None and done >= total):
                self.say("fetching", done=done, total=total)

        return both

    def ended(self, failure: EmberankError | None) -> None:
        """The last word."""
        if failure is None:
            self.say("ended")
        else:
            self.say("failed", reason=getattr(failure, "reason", "crashed"), message=failure.message)


def count_peak_anew(clear: Path = Path("/proc/self/clear_refs")) -> None:
    """Let the peak start from what is resident now: while weights are read, pages of files that the kernel may take back at any time count too."""
    with contextlib.suppress(OSError):  # where it cannot be reset it stays too high, which is the safe side
        clear.write_text("5")  # proc(5): reset the peak resident set size


def peak_memory_bytes() -> int | None:
    """The most resident memory this process has had (VmHWM of proc(5)); None where that is not known."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
