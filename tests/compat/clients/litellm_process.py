"""LiteLLM's proxy as a process of its own: a configuration in, a server that answers out. Knows no request."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from installation import Process, Server, until


@contextmanager
def litellm_proxy(folder: Path, configuration: str, master_key: str, environment: Mapping[str, str]) -> Iterator[Server]:
    """`litellm --config …`, ready; it may reach loopback only, and whoever leaves is told of anything else that it wanted to reach."""
    (folder / "config.yaml").write_text(configuration, "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused = folder / "refused"
    own = {"PYTHONPATH": str(Path(__file__).parent / "site"), "COMPAT_REFUSED_LOG": str(refused), "NO_DOCS": "True"}
    words = [str(Path(sys.executable).parent / "litellm"), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    server = Server(port, master_key)
    process = Process(folder, words, dict(os.environ) | own | dict(environment))
    try:
        until(lambda: process.ended or _alive(server), "the proxy answers", 120)
        assert not process.ended, process.output
        yield server
    finally:
        process.end()
    assert not refused.exists(), f"the proxy wanted to reach {refused.read_text('utf-8')}"


def _alive(server: Server) -> bool:
    try:
        return server.get("/health/liveliness").status == 200
    except OSError:
        return False
