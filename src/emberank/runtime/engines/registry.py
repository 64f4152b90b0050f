"""Engine names to builders. A member is named by an import string, so a heavy one is imported only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from emberank.contract.errors import SettingError
from emberank.runtime.engines.base import EngineBuilder

ENGINES: dict[str, str] = {
    "openvino": "emberank.runtime.engines.openvino:build",
    "reference": "emberank.runtime.engines.reference:build",
    "fake": "emberank.runtime.engines.fake:build",
}


def builder(name: str) -> EngineBuilder:
    """The builder of the engine `name`; raises SettingError listing the known ones."""
    if name not in ENGINES:
        raise SettingError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    return cast(EngineBuilder, getattr(import_module(module), attribute))
