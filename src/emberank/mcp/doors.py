"""A server of the protocol in, its two doors out: standard input and output, and HTTP with protection against DNS rebinding. Binds no socket.

Source: https://modelcontextprotocol.io/specification, "Transports". A page in a browser can have its host's name point to this machine: so over HTTP only known
`Host` and `Origin` headers are answered.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp

from emberank.contract.errors import SettingError

PATH = "/mcp"
_MOST_BODY_BYTES = 8 << 20
_MOST_SESSIONS = 1000
_IDLE_S = 1800.0
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


async def serve_stdio(server: Server[Any]) -> None:
    """Until standard input ends."""
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def http_app(server: Server[Any], host: str, allowed_hosts: Sequence[str] = ()) -> ASGIApp:
    """The app for a door that listens on `host`. Its sessions live while `server.session_manager.run()` does."""
    return server.streamable_http_app(
        streamable_http_path=PATH,
        transport_security=protection(host, allowed_hosts),
        max_request_body_size=_MOST_BODY_BYTES,
        session_idle_timeout=_IDLE_S,
        max_sessions=_MOST_SESSIONS,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def protection(host: str, allowed_hosts: Sequence[str]) -> TransportSecuritySettings:
    """Loopback's names, the address itself and `allowed_hosts`, on any port. Raises SettingError for an address that no caller can name."""
    names = [*_LOOPBACK, *allowed_hosts]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104
        if not allowed_hosts:
            raise SettingError(f"--host {host} listens on every address: say with --allowed-host under which names callers reach it")
    else:
        names.append(f"[{host}]" if ":" in host else host)
    hosts = [form for name in dict.fromkeys(names) for form in (name, f"{name}:*")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=[f"{scheme}://{form}" for scheme in ("http", "https") for form in hosts],
    )
