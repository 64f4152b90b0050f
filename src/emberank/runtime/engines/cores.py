"""What this process may compute with: cores, and whether they multiply bf16 matrices in hardware. Reads the machine, changes nothing."""

from __future__ import annotations

import os
from pathlib import Path


def cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores this process may use: its affinity, and in a container the cgroup's quota rounded down, at least 1.

    More threads than the quota allows makes every run wait for the scheduler's next period.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text("ascii").split()
        limit = int(int(quota) / int(period)) if quota != "max" else allowed
    except (OSError, ValueError):
        limit = allowed
    return max(1, min(allowed, limit))


def has_amx_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the kernel reports AMX bf16 tiles. False where it cannot be known."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            return any(line.startswith("flags") and " amx_bf16" in line for line in lines)
    except OSError:
        return False
