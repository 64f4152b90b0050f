"""A whole installation on a data folder of its own: `emberank up`, its children, and a client with a key. Ended by its pid, and nothing may be left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from wire import Client, Reply, until

KEY = "test-key-0123456789abcdef"
END_S = 60.0


class Authorized(Client):
    """A client that sends a key with everything."""

    def __init__(self, port: int, key: str = KEY) -> None:
        super().__init__(port)
        self.key = key

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        return super().ask(method, path, body, {"Authorization": f"Bearer {self.key}"} | dict(headers or {}))


class Up:
    """One `emberank up`. The same folder may be started again after it has ended."""

    def __init__(self, folder: Path, environment: Mapping[str, str], arguments: tuple[str, ...] = (), command: str = "up") -> None:
        self.data = folder / "data"
        self.data.mkdir(mode=0o700, exist_ok=True)
        number = len(list(folder.glob("stdout-*")))
        self._out, self._err = folder / f"stdout-{number}", folder / f"stderr-{number}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            words = [sys.executable, "-m", "emberank.cli", command, "--port", "0", "--data-dir", str(self.data), *arguments]
            self.process = subprocess.Popen(words, env=dict(environment), stdout=out, stderr=err, stdin=subprocess.DEVNULL)
        self._known: set[psutil.Process] = set()

    @property
    def stdout(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8")

    def ready(self, key: str = KEY) -> Authorized:
        until(lambda: "ready on" in self.stdout or self.process.poll() is not None, "it says ready", END_S)
        found = re.search(r"emberank: ready on http://\S+:(\d+)", self.stdout)
        assert found, self.stderr
        return Authorized(int(found[1]), key)

    def forge(self) -> psutil.Process:
        """The forge's process, as fleet.json names it."""
        return psutil.Process(json.loads((self.data / "fleet.json").read_text())["pid"])

    def runtimes(self) -> list[psutil.Process]:
        """Runtimes of this data folder that are running, whoever their parent is now."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if "runtime" in words and any(str(self.data) in word for word in words) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        self._known |= set(found)
        return found

    def status(self, wait_s: float = END_S) -> int:
        return self.process.wait(wait_s)

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.status()

    def end(self) -> None:
        """After a test: whatever is left of this installation is killed."""
        self.runtimes()
        family = [self.process.pid, *(child.pid for child in self._children())]
        for pid in {*family, *(process.pid for process in self._known)}:
            _kill(pid, str(self.data))
        self.process.wait(END_S)

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


def _kill(pid: int, mark: str) -> None:
    try:
        process = psutil.Process(pid)
        if any(mark in word for word in process.cmdline()):
            process.kill()
            process.wait(END_S)
    except psutil.NoSuchProcess:
        pass


def phase(client: Client, slug: str, version: str = "v1") -> str:
    """The phase that the status route tells."""
    reply: Any = client.get(f"/v1/model-families/{slug}/status?version={version}").json
    return str(reply["phase"])
