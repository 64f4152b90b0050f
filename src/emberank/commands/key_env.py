"""The name of an environment variable in, the API key that it holds out. Knows no command."""

from __future__ import annotations

import os

from emberank.contract.errors import SettingError


def key_in(variable: str | None) -> str:
    """The key; empty when no variable is named. Raises SettingError for one that holds nothing."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise SettingError(f"--key-env: the environment has no {variable}, or it is empty")
    return key
