"""The settings of everything that listens: address, deadlines, bounds, log, TLS. Each plane's settings extend them with their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from emberank.settings.row import row


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """How an HTTP door stands open. Sizes are bytes, durations carry their unit in the name."""

    host: str = row("127.0.0.1", "address", "Where to listen. 0.0.0.0 opens the server to the network.")
    port: int = row(8000, "port", "TCP port; 0 takes a free one and prints it.", 0, 65535)
    queue_full_status: Literal[429, 503] = row(429, "HTTP status", "What a refused request gets, always with Retry-After: 429, or 503 as the 2.x NIM answers.")
    request_timeout_s: float = row(
        120.0, "seconds", "A request's deadline, and the time its body may take; a caller's X-Request-Timeout header can only shorten it.", 0.001, 86_400
    )
    read_timeout_s: float = row(30.0, "seconds", "How long a client may take to send its headers, and then between two pieces of its body.", 0.01, 3600)
    keep_alive_s: float = row(75.0, "seconds", "How long an idle connection is kept.", 1, 3600)
    shutdown_grace_s: float = row(30.0, "seconds", "After SIGTERM: how long running requests may take to finish before they are dropped.", 0, 3600)
    max_connections: int = row(4096, "connections", "Open connections before new requests get a bare 503.", 1, 1 << 20)
    max_body_bytes: int = row(64 << 20, "bytes", "Size of a request's body; an image of 25 MiB takes 33.4 MiB of it.", 1024, 1 << 31)
    max_buffered_bytes: int = row(256 << 20, "bytes", "Bodies being received at one time, all requests together, before new ones are refused.", 1024, 1 << 40)
    log_level: Literal["debug", "info", "warning", "error", "critical"] = row("info", "level", "Least severity that is logged.")
    log_format: Literal["pretty", "compact", "json"] = row("pretty", "name", "`json` is one object a line.")
    tls_cert_path: str = row("", "file", "PEM certificate chain; with `tls_key_path` the server speaks HTTPS.")
    tls_key_path: str = row("", "file", "PEM private key.")

    prefix: ClassVar[str] = "EMBERANK_"
    table: ClassVar[str] = ""  # its table in the TOML file
    takes_nim: ClassVar[bool] = False  # whether NVIDIA's variables set the rows they speak of
