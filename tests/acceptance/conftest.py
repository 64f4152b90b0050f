"""Real processes: `python -m emberank.cli`, real signals, real weights. Whatever a test starts is ended by its pid."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from acceptance_environment import environment
from tinybert import write_checkpoint
from wire import Client, until

END_S = 30.0


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(
        [sys.executable, "-m", "emberank.cli", *arguments], env=environment(**variables), capture_output=True, text=True, timeout=300, check=False
    )


class Runtime:
    """One `emberank runtime`."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], variables: Mapping[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            words = [sys.executable, "-m", "emberank.cli", "runtime", *arguments]
            self.process = subprocess.Popen(words, env=environment(**variables), stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    @property
    def stdout(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8")

    @property
    def line(self) -> str:
        """The one line for the person at the terminal; there must be one, and no traceback."""
        assert "Traceback" not in self.stderr
        lines = [line for line in self.stderr.splitlines() if line.startswith("emberank: ")]
        assert len(lines) == 1, self.stderr
        return lines[0]

    def ready(self, tls: ssl.SSLContext | None = None) -> Client:
        """Wait until it says that it is ready, and on which port."""
        until(lambda: "ready on" in self.stdout or self.process.poll() is not None, "it says ready", END_S)
        found = re.search(r"emberank: ready on https?://\S+:(\d+) ", self.stdout)
        assert found, self.stderr
        return Client(int(found[1]), tls)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def status(self, wait_s: float = END_S) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(wait_s)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_S)


Start = Callable[..., Runtime]


def _started(folder: Path) -> Iterator[Start]:
    started: list[Runtime] = []

    def start(*arguments: str, **variables: str) -> Runtime:
        own = folder / f"runtime-{len(started)}"
        own.mkdir()
        started.append(Runtime(own, arguments, {"EMBERANK_PORT": "0"} | variables))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Start]:
    """Start a runtime with these arguments and variables, on a port that is free; it is ended with the test."""
    yield from _started(tmp_path)


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The same for one that a module's tests share."""
    yield from _started(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def emberank() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run one command to its end: `emberank("pull")`."""
    return command


@pytest.fixture(scope="session")
def weights() -> Path:
    """The default models' folder, fetched and verified by `emberank pull`."""
    done = command("pull")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[0].rpartition(": ")[2])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkpoint of a few kilobytes, one's own to break."""
    return write_checkpoint(tmp_path / "tiny", ranks=True)
