"""A module's name in, the module out, or one line that says what to install. Does not know what the modules are used for."""

from __future__ import annotations

import importlib
from typing import Any

from emberank.contract.errors import StartError

_MODULES = ("bm25s", "ir_measures")
_SENTENCE = "`emberank eval` needs the eval extra: pip install 'emberank[eval]'"


def require_extra() -> None:
    """Refuse early: a server that takes a minute to load should not be started for an evaluation that cannot run."""
    for name in _MODULES:
        load_extra(name)


def load_extra(name: str) -> Any:
    """Import a module of the `eval` extra. The base installation has none of them."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StartError(_SENTENCE) from error
