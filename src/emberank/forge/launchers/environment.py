"""A launch in, the environment of its process out: what is inherited without settings and secrets of ours, and the launch's own settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from emberank.forge.launchers.base import Launch

# Settings, ours and NVIDIA's, are the launch's to say, and the forge's secrets are not the runtime's to know.
_OURS = re.compile(r"(EMBERANK_(?!CACHE_DIR$)|NIM_|FORGE_)|(LOG_FORMAT|RUST_LOG|SHOW_CONFIG|DATABASE_URL|PGPASSWORD)$")


def environment(launch: Launch, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the process gets. Everything else is kept: PATH, proxies, caches, what the Hub and CUDA need."""
    kept = {name: value for name, value in inherited.items() if not _OURS.match(name)}
    own = {f"EMBERANK_{name.upper()}": value for name, value in launch.settings.items()}
    devices = {"CUDA_VISIBLE_DEVICES": ",".join(launch.devices)} if launch.devices else {}
    return kept | own | devices
