"""Emberank: the open, self-hosted home for retrieval models (rerankers and embedders).

`from emberank import Client, AsyncClient` is the Python client. It is imported when it is named, so that a server's start does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emberank.client import AsyncClient as AsyncClient
    from emberank.client import Client as Client
    from emberank.client import Progress as Progress
    from emberank.client import Ranking as Ranking
    from emberank.contract.errors import EmberankError as EmberankError

__version__ = "0.1.0"

_LAZY = {
    "AsyncClient": "emberank.client",
    "Client": "emberank.client",
    "EmberankError": "emberank.contract.errors",
    "Progress": "emberank.client",
    "Ranking": "emberank.client",
}

__all__ = ["AsyncClient", "Client", "EmberankError", "Progress", "Ranking", "__version__"]


def __getattr__(name: str) -> Any:
    """A public name's first use imports it (PEP 562)."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(module), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
