"""A module's name in, the module out, or one line that says what to install. Does not know what the modules are used for."""

from __future__ import annotations

import importlib
from typing import Any

from emberank.contract.errors import StartError

_MODULES = ("bm25s", "ir_measures")
_SENTENCE = "`emberank {}` needs the eval extra: pip install 'emberank[eval]'"


def require_extra(command: str = "eval") -> None:
    """Refuse early: a server that takes a minute to load should not be started for a `command` that cannot run."""
    for name in _MODULES:
        load_extra(name, command)


def load_extra(name: str, command: str = "eval") -> Any:
    """Import a module of the `eval` extra. The base installation has none of them."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StartError(_SENTENCE.format(command)) from error
