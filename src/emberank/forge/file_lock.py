"""A file's path in, a lock that lasts as long as its process out. Does not know what it guards, nor who asks.

The kernel drops the lock when the process ends, however it ends; the file stays, and what is in it is only a hint.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from emberank.contract.errors import StartError


class FileLock:
    """One file that one process at a time holds. The file has the holder's process id in it, for people."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def take(self) -> bool:
        """Take the lock and say whether that went well; True when this object holds it already. Never waits."""
        if self._fd is not None:
            return True
        # Not inherited by child processes (PEP 446): a runtime that outlives the forge must not keep the next forge out.
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _flock(fd):
                os.close(fd)
                return False
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def holder(self) -> int | None:
        """The process id of whoever took it last, as far as the file says."""
        with contextlib.suppress(OSError, ValueError):
            return int(self.path.read_text("ascii"))
        return None

    def release(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def _flock(fd: int) -> bool:
    if sys.platform == "win32":
        raise StartError("the forge needs a POSIX system's file locks: run it in WSL or in a container")
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
