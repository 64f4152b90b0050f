"""Launcher names to builders. A member is named by an import string, so that it is imported only when a pool uses it."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from emberank.contract.errors import SettingError
from emberank.forge.launchers.base import LauncherBuilder

LAUNCHERS: dict[str, str] = {
    "process": "emberank.forge.launchers.process:build",
    "remote": "emberank.forge.launchers.remote:build",
    "fake": "emberank.forge.launchers.fake:build",
}


def builder(name: str) -> LauncherBuilder:
    """The builder of the launcher `name`; raises SettingError listing the known ones."""
    if name not in LAUNCHERS:
        raise SettingError(f"unknown launcher {name!r}; known: {', '.join(LAUNCHERS)}")
    module, _, attribute = LAUNCHERS[name].partition(":")
    return cast(LauncherBuilder, getattr(import_module(module), attribute))
