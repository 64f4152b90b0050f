"""A folder of this machine in, the same folder out, checked. Copies nothing and does not know the cache."""

from __future__ import annotations

from pathlib import Path

from emberank.runtime.sources.base import Progress, Source, require_config


class FolderFetcher:
    """Weights that are used where they lie: there is nothing to fetch, only to check."""

    def fetch(self, source: Source, target: Path, progress: Progress) -> None:
        """Refuse `target` unless it is a folder with a config.json."""
        require_config(target, str(source))
