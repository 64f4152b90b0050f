"""The kernel's files in, the memory that this process may have out: the machine's, or the container's where that is less. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What this process and its children may use, and what of it is free now. In a container that is the container's limit."""

    total_bytes: int
    free_bytes: int


def machine_memory(root: Path = Path("/")) -> Memory:
    """This machine's memory, or the container's where that is less."""
    system = psutil.virtual_memory()
    found = Memory(total_bytes=system.total, free_bytes=system.available)
    for group in cgroup_memory(root):
        found = Memory(total_bytes=min(found.total_bytes, group.total_bytes), free_bytes=min(found.free_bytes, group.free_bytes))
    return found


def cgroup_memory(root: Path = Path("/")) -> tuple[Memory, ...]:
    """The limits of the control groups (v2 or v1) around this process, from its own up to the outermost; those without a limit are left out."""
    found = []
    for folder, limit_file, used_file, prefix in _groups(root):
        limit = _number(folder / limit_file)
        if limit is not None:
            # Cached pages of files count as used, and are given back when memory is wanted. Weights that were just hashed are among them.
            cached = sum(_stat(folder / "memory.stat", f"{prefix}{kind}_file") for kind in ("inactive", "active"))
            used = (_number(folder / used_file) or 0) - cached
            found.append(Memory(total_bytes=limit, free_bytes=max(0, limit - max(0, used))))
    return tuple(found)


def _groups(root: Path) -> Iterable[tuple[Path, str, str, str]]:
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "")
        elif "memory" in controllers.split(","):
            base, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        relative = PurePosixPath(path.lstrip("/"))
        # Seen from inside a container, the path may be the host's and the group be mounted at the top.
        for below in (relative, *relative.parents) if ".." not in relative.parts else (PurePosixPath(),):
            yield (base / below, *names)


def _number(path: Path) -> int | None:
    """The file's number; None for `max` and for a file that is not there."""
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _stat(path: Path, name: str) -> int:
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, ValueError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
