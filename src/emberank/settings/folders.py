"""A setting that may be empty in, the folder it means out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from emberank.contract.errors import SettingError


def data_dir(setting: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that gateway and forge of one machine share: as set, or $XDG_DATA_HOME/emberank, or ~/.local/share/emberank."""
    try:
        if setting:
            return Path(setting).expanduser().absolute()
        base = environ.get("XDG_DATA_HOME", "")
        if os.path.isabs(base):  # the XDG specification says to ignore a relative one
            return Path(base) / "emberank"
        return Path.home() / ".local" / "share" / "emberank"
    except RuntimeError as error:
        raise SettingError("there is no home folder to keep data in: set EMBERANK_DATA_DIR or --data-dir") from error
