"""A runtime's flags in, its status file out, and a server that says it is ready: a child process of a few milliseconds, as a launcher sees it.

Needs the standard library only, and starts in a fraction of the time of a real one. EMBERANK_BEHAVIOUR says what becomes of it. It ends by itself
after a minute, whatever happens to the test.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

LONGEST_S = 60.0


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v1/health/ready" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def main() -> int:
    flags = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    model, status = Path(flags["--model-file"]), Path(flags["--status-file"])
    behaviour = os.environ.get("EMBERANK_BEHAVIOUR", "ready")
    assert flags["--host"] == "127.0.0.1"
    assert flags["--port"] == "0"
    ended = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "stubborn" else lambda *_: ended.set())

    def say(phase: str, **fields: Any) -> None:
        beside = status.with_name(status.name + ".new")
        beside.write_text(json.dumps({"pid": os.getpid(), "phase": phase, "done": None, "total": None, "url": "", "reason": None, "message": ""} | fields))
        beside.replace(status)

    def told(word: str) -> None:
        """Wait until the test says a word: a file beside the model file."""
        end = time.monotonic() + LONGEST_S
        while not model.with_name(word).exists() and not ended.is_set() and time.monotonic() < end:
            time.sleep(0.005)

    print("started with", json.loads(model.read_text())["model"][0]["name"], flush=True)
    print(json.dumps(dict(os.environ)), file=sys.stderr, flush=True)
    if behaviour == "refuses":
        return 2
    if behaviour == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour in ("fails", "fails and hangs"):
        say("failed", reason="weights_unavailable", message=f"{model} is not to be had from https://hub.invalid/x")
        if behaviour == "fails and hangs":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(LONGEST_S)
        return 2
    if behaviour == "fetches":
        say("fetching", done=10, total=100)
        told("fetched")
    if behaviour == "talks":
        for _ in range(2000):
            print("x" * 100)
        sys.stdout.flush()
    say("loading")
    if behaviour == "hangs":
        ended.wait(LONGEST_S)
        return 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say("ready", url=f"http://127.0.0.1:{server.server_port}", peak_memory_bytes=123_456_789 if behaviour == "measures" else None)
    ended.wait(LONGEST_S)
    say("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
