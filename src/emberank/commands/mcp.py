"""`emberank mcp`: the catalogue's tools for agents, over standard input and output or over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from emberank.contract.errors import SettingError
from emberank.settings import DoorSettings
from emberank.telemetry import set_up_logging

if TYPE_CHECKING:
    from emberank.mcp.callers import Callers

HELP = "tools for agents (Model Context Protocol): list models, rank, embed, estimate, start"
DESCRIPTION = (
    "Serve the tools of a gateway to an agent, over standard input and output, or with --http over streamable HTTP. The gateway is FORGE_API_BASE and the key "
    "FORGE_API_KEY. Needs the extra: pip install 'emberank[mcp]'."
)
_GRACE_S = 5.0


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The gateway, and the door."""
    parser.add_argument("--api-base", metavar="URL", default=None, help="the gateway; default: FORGE_API_BASE or EMBERANK_API_BASE, else http://127.0.0.1:8000")
    parser.add_argument("--api-key-file", metavar="FILE", default=None, help="a file that holds the key; default: the key in FORGE_API_KEY or EMBERANK_API_KEY")
    parser.add_argument("--timeout", metavar="S", type=float, default=300.0, help="seconds that one call of a tool may take; default: 300")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="warning", help="on standard error; default: warning")
    parser.add_argument("--http", action="store_true", help="streamable HTTP instead of standard input and output")
    parser.add_argument("--host", default="127.0.0.1", help="with --http: where to listen. Beyond loopback callers send keys of their own")
    parser.add_argument("--port", type=int, default=8765, help="with --http: 0 takes a free one and prints it; default: 8765")
    parser.add_argument("--allowed-host", metavar="NAME", action="append", default=[], help="with --http: another name that callers may use for this machine")


def run(arguments: argparse.Namespace) -> int:
    """Serve until the input ends, or until a signal."""
    if not 0 <= arguments.port < 1 << 16:  # the system would take what is left of it after 65536
        raise SettingError(f"--port has to be between 0 and 65535, not {arguments.port}")
    set_up_logging(arguments.log_level, "pretty")
    logging.getLogger("mcp").setLevel(max(logging.INFO, logging.getLogger().level))  # at debug the SDK logs what it cannot read
    try:
        from emberank.mcp.callers import Callers
        from emberank.mcp.doors import is_loopback
    except ImportError as cause:
        if (cause.name or "").partition(".")[0] in ("mcp", "mcp_types", "jsonschema"):
            raise SettingError("`emberank mcp` needs the MCP SDK, version 2: pip install 'emberank[mcp]'") from cause
        raise
    lends_key = not arguments.http or is_loopback(arguments.host)
    callers = Callers(arguments.api_base, _key(arguments.api_key_file), timeout_s=arguments.timeout, lends_key=lends_key)
    if arguments.http:
        asyncio.run(_serve_http(arguments, callers))
    else:
        asyncio.run(_serve_stdio(callers))
    return 0


def _key(file: str | None) -> str | None:
    if file is None:
        return None
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as cause:
        raise SettingError(f"--api-key-file {file!r} cannot be read: {getattr(cause, 'strerror', None) or cause}") from cause


async def _serve_stdio(callers: Callers) -> None:
    from emberank.mcp.doors import serve_stdio
    from emberank.mcp.server import mcp_server

    try:
        await serve_stdio(mcp_server(callers))
    finally:
        await callers.close()


async def _serve_http(arguments: argparse.Namespace, callers: Callers) -> None:
    from emberank.mcp.doors import PATH, http_app
    from emberank.mcp.server import mcp_server
    from emberank.serving.listener import bind, drain_on_signals, server, url_of

    tools = mcp_server(callers)
    app = http_app(tools, arguments.host, arguments.allowed_host)
    settings = DoorSettings(host=arguments.host, port=arguments.port, shutdown_grace_s=_GRACE_S)
    listener = bind(settings)
    serving = server(settings, app)
    drain_on_signals(serving, lambda: None)
    url = url_of(settings, listener)
    print(f"emberank: MCP on {url}{PATH}, for {callers.gateway}", flush=True)
    logging.getLogger(__name__).info("listening", extra={"action": "listening", "url": url})
    try:
        async with tools.session_manager.run():
            await serving.serve(sockets=[listener])
    finally:
        await callers.close()
