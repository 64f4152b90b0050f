"""A version in, whether its weights are random numbers out: those of `emberank make-checkpoint`, whose config.json says so.

Only a folder of this machine is looked at: nobody publishes random weights. Called on the event loop, so it reads one small file, and that only when it changed.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from emberank.forge.catalog import Version

KEY = "emberank_random_weights"
SENTENCE = "its weights are random numbers, to measure speed and memory with: scores and vectors mean nothing"
_MOST_BYTES = 1_000_000


def has_random_weights(version: Version) -> bool:
    """False for what cannot be read: a start says what is wrong with it."""
    scheme, _, folder = version.source.partition(":")
    if scheme != "file":
        return False
    try:
        path = Path(folder.replace("///", "/", 1)).expanduser() / "config.json"
        seen = path.stat()
    except (OSError, ValueError, RuntimeError):  # a ~user who does not exist
        return False
    return _says_so(str(path), seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=256)
def _says_so(path: str, changed_ns: int, size: int) -> bool:
    if size > _MOST_BYTES:
        return False
    try:
        config: Any = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get(KEY) is True
