"""The environment that our commands get from tests: nothing of a developer's own settings reaches them."""

from __future__ import annotations

import os
import re


def environment(**variables: str) -> dict[str, str]:
    """The caller's environment without any setting of ours or NVIDIA's, but for the cache, and with these."""
    ours = re.compile(r"EMBERANK_(?!CACHE_DIR)|NIM_|FORGE_|OTEL_|LOG_FORMAT$|RUST_LOG$|SHOW_CONFIG$")
    return {name: value for name, value in os.environ.items() if not ours.match(name)} | variables
