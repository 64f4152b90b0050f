"""A process number in, what the kernel says of that process out: whether it is still the same one, and what memory and disk it used.

Knows nothing of endpoints. What a system does not tell is None.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path

import psutil

_PROC = Path("/proc")
# A wall clock that was set in between moves psutil's times on systems without /proc by as much.
_SAME_S = 0.02
_TRIES, _PAUSE_S = 20, 0.005


def created_at(pid: int) -> float | None:
    """When the process was made, in seconds after boot; None when there is none, or only what is left of one that has ended.

    The kernel's own count, not psutil's Unix time: that one moves when somebody sets the clock, and the process would not be known again.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        pass
    if (_PROC / "self" / "stat").exists():
        return None
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def is_same(pid: int | None, made_at: float | None, mark: str) -> bool:
    """Whether the process that was made then still runs. `mark` is a word of its command line that no other process has.

    Numbers are used again, and after a reboot so are times; a random word is not.
    """
    if pid is None or made_at is None:
        return False
    now = created_at(pid)
    if now is None or abs(now - made_at) >= _SAME_S:
        return False
    for _ in range(_TRIES):
        if words := _command(pid):
            return mark in words
        # Made, and not yet running its program: for that moment it has no command line.
        time.sleep(_PAUSE_S)
    return False


def find(flag: str, value: str) -> int | None:
    """The process that was started with this flag and value."""
    for process in psutil.process_iter():
        words = _command(process.pid)
        if (flag, value) in itertools.pairwise(words):
            return process.pid
    return None


def _command(pid: int) -> list[str]:
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def end_group(pid: int) -> None:
    """SIGKILL to a process that leads its group, and to all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def reap(pid: int) -> None:
    """Take the exit status of an ended process that became our child because its parent died before us.

    Its first thread may have ended a moment before the others, and until they have there is nothing to take.
    """
    with contextlib.suppress(OSError):  # it is nobody's child of ours: nothing to do
        for _ in range(_TRIES):
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
            time.sleep(_PAUSE_S)


def peak_memory_bytes(pid: int) -> int | None:
    """The most physical memory it ever had; where the system does not keep that, what it has now."""
    try:
        for line in (_PROC / str(pid) / "status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def read_bytes(pid: int) -> tuple[int, int] | None:
    """(what the disk had to deliver for it, what it read in all); the page cache had the difference."""
    try:
        counters = dict(line.split(": ") for line in (_PROC / str(pid) / "io").read_text("ascii").splitlines())
        return int(counters["read_bytes"]), int(counters["rchar"])
    except (OSError, KeyError, ValueError):
        return None


def ended_for_memory() -> int:
    """How many processes this machine has ended for want of memory since it booted."""
    try:
        for line in (_PROC / "vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, IndexError, ValueError):
        pass
    return 0


def memory_limit_bytes() -> int:
    """The memory that processes here can have: the machine's, or the control group's if that is less."""
    limits = [int(psutil.virtual_memory().total)]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limits.append(int(Path(file).read_text("ascii")))
    return min(limits)
