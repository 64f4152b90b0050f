"""Any address in, an error out unless it is this machine: nothing that these tests run may reach beyond loopback. Knows no client.

Imported by conftest.py, and, through `site/sitecustomize.py`, by every other process of these packages.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

REFUSED: list[str] = []  # what was tried, in order
_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


class BeyondLoopbackError(OSError):
    """A client wanted to talk to somebody else."""


def is_loopback(host: object) -> bool:
    """Whether an address or a name is this machine, without asking a name server. `None` and `""` are "any of mine"."""
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in ("", "localhost"):
        return True
    try:
        return isinstance(name, str) and (ipaddress.ip_address(name).is_loopback or ipaddress.ip_address(name).is_unspecified)
    except ValueError:
        return False


def enforce() -> None:
    """From here on, in this process."""
    socket.socket.connect = _checked_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = _checked_connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = _checked_getaddrinfo


def _checked_connect(self: socket.socket, address: Any) -> None:
    _check(self, address)
    _connect(self, address)


def _checked_connect_ex(self: socket.socket, address: Any) -> int:
    _check(self, address)
    return _connect_ex(self, address)


def _checked_getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
    if not is_loopback(host):
        _refuse(str(host))
    return _getaddrinfo(host, *arguments, **named)


def _check(one: socket.socket, address: Any) -> None:
    if one.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
        _refuse(str(address[0]))


def _refuse(host: str) -> None:
    REFUSED.append(host)
    log = os.environ.get("COMPAT_REFUSED_LOG")  # of a process whose list nobody can read
    if log:
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{host}\n")
    raise BeyondLoopbackError(f"these tests talk to this machine only, and something wanted to reach {host}")
