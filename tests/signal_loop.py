"""An event loop for a server in a thread of its own: its signals are kept, and sent to it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class SignalLoop(asyncio.SelectorEventLoop):
    """Keeps the signal handlers instead of installing them: a test sends its signals to one server, not to the process."""

    def __init__(self) -> None:
        super().__init__()
        self.signals: dict[int, Callable[[], None]] = {}

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        self.signals[sig] = lambda: self.call_soon_threadsafe(callback, *args) and None
