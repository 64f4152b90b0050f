"""Settings in, the address of a runtime of our own out, for as long as a `with` block lasts. Does not know what it is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from emberank.contract.errors import StartError


@contextmanager
def own_runtime(settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """A runtime with the settings of the environment, and `settings` over them, on a free loopback port; ended by its pid. Raises StartError."""
    # A process of its own, as in service: the figures include HTTP, and nothing of it stays behind.
    own = {f"EMBERANK_{name.upper()}": value for name, value in (settings or {}).items()}
    environment = {**os.environ, **own, "EMBERANK_HOST": "127.0.0.1", "EMBERANK_PORT": "0", "EMBERANK_LOG_LEVEL": "warning"}
    previous = signal.signal(signal.SIGTERM, _leave)  # or the child would outlive us
    child = subprocess.Popen([sys.executable, "-m", "emberank.cli", "runtime"], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        # The ready line, or nothing when it could not start: fetching has a deadline of its own, and nothing else takes long.
        line = child.stdout.readline()
        if "ready on " not in line:
            raise StartError("the runtime did not start; its own line above says why")
        url = line.split("ready on ", 1)[1].split()[0]
        yield url
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        signal.signal(signal.SIGTERM, previous)


def _leave(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)
