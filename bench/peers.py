"""Names in, running processes out: Emberank and what it is compared with, each in a process of its own that is ended by its pid.

Standard library only at the top, for the peers' environments run this file too (`ST_PYTHON bench/peers.py st-worker`, texts as JSON on stdin).
Does not know how load is made or how figures are compared.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
REPOSITORY = Path(__file__).resolve().parents[1]
SHORT_CALLS = 100


class PeerFailed(Exception):
    """A process that did not start or did not do its work; says so in one line, with the end of its log below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One HTTP server to be started: its command, and what its requests look like."""

    name: str
    command: Sequence[str]
    port: int
    ready_path: str
    embed_path: str
    env: Mapping[str, str]
    fields: Mapping[str, object]  # what a request holds beside `input`
    cwd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A started process and where its output goes."""

    server: Server
    process: subprocess.Popen[bytes]
    log: Path

    def rss_mb(self) -> float:
        """Resident memory of the process and all below it."""
        return sum(resident_mb(pid) for pid in family(self.process.pid))

    def check(self) -> None:
        """PeerFailed when it ended."""
        if self.process.poll() is not None:
            raise PeerFailed(f"{self.server.name} ended with {self.process.returncode}\n{tail(self.log)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """What a library came to in its own process, without HTTP."""

    texts_per_s: float
    short_p50_ms: float
    passes_s: Sequence[float]
    vectors: Sequence[Sequence[float]] = field(repr=False)  # of the first texts only: enough to compare

    @classmethod
    def parse(cls, answer: bytes) -> Direct:
        """From the last line a worker printed: libraries may print above it."""
        return cls(**json.loads(answer.splitlines()[-1]))


def emberank(command: str | None, model: str = MODEL) -> Server:
    """Our own server; `command` may hold flags."""
    port = free_port()
    return Server(
        name="emberank",
        command=shlex.split(command) if command else (sys.executable, "-m", "emberank.cli", "runtime"),
        port=port,
        ready_path="/v1/health/ready",
        embed_path="/v1/embeddings",
        env={"EMBERANK_HOST": HOST, "EMBERANK_PORT": str(port)},
        fields={"model": model, "input_type": "passage", "truncate": "END"},
        cwd=str(REPOSITORY),
    )


def infinity(python: str, folder: str, flags: str = "", model: str = MODEL) -> Server:
    """Infinity with its defaults (32 texts a batch, float32, a warm-up before it is ready, access log); what differs is said here."""
    port = free_port()
    here = tempfile.gettempdir()
    command = [str(Path(python).absolute().with_name("infinity_emb")), "v2"]
    command += ["--model-id", str(Path(folder).absolute())]  # a folder, so that it needs no hub
    command += ["--served-model-name", model]  # or it is called after the folder
    command += ["--host", HOST, "--port", str(port)]  # its default is every address
    command += ["--engine", "torch"]  # its default, said aloud: the others need a converted model
    command += ["--device", "cpu"]  # `auto` would take a GPU, which the others here do not
    # On by default, but it needs optimum < 2, which neither its `server` nor its `torch` extra brings: without it the flag does nothing.
    command += ["--no-bettertransformer"]
    command += ["--no-vector-disk-cache"]  # its default, said aloud: the benchmark repeats its texts, and a cache of answers is not an engine
    env = {
        "HF_HUB_OFFLINE": "1",  # or sentence-transformers asks the hub about the folder, and waits for it
        "DO_NOT_TRACK": "1",  # no usage statistics from a benchmark
        "INFINITY_HOME": here,  # or it makes a folder where it is started
    }
    return Server(
        name="infinity",
        command=[*command, *shlex.split(flags)],
        port=port,
        ready_path="/health",
        embed_path="/embeddings",
        env=env,
        fields={"model": model},
        cwd=here,
    )


@contextmanager
def started(server: Server) -> Iterator[Child]:
    """Start the process and end it when the block is left; it may not listen yet."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / f"{server.name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(server.command, env={**os.environ, **server.env}, cwd=server.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield Child(server=server, process=process, log=log)
        finally:
            stop(process)


@contextmanager
def running(server: Server, deadline_s: float = 180.0) -> Iterator[Child]:
    """As `started`, and ready for requests."""
    with started(server) as child:
        wait_ready(child, deadline_s)
        yield child


def wait_ready(child: Child, deadline_s: float, pause_s: float = 0.05) -> None:
    """Return when the ready path answers 200; PeerFailed when the process ends or the deadline passes first."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        child.check()
        try:
            if call(child.server.port, "GET", child.server.ready_path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(pause_s)
    raise PeerFailed(f"{child.server.name} was not ready after {deadline_s:.0f} s\n{tail(child.log)}")


def call(port: int, method: str, path: str, body: bytes | None = None, timeout_s: float = 60.0) -> tuple[int, bytes]:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as problem:
        raise ConnectionError(str(problem)) from problem
    finally:
        connection.close()


def stop(process: subprocess.Popen[bytes], grace_s: float = 20.0) -> None:
    """SIGTERM, and SIGKILL for one that does not listen to it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_children_on_sigterm() -> None:
    """`timeout` and CI end a benchmark with SIGTERM, which by default skips every `finally` and would leave its servers running."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def family(pid: int) -> list[int]:
    """A process and all below it: a command may be a wrapper, and a server may fork."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(member for child in children for member in family(child))]


def resident_mb(pid: int) -> float:
    """VmRSS, in MB of 10^6 bytes; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:")), 0.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def sentence_transformers(python: str, folder: str, texts: Sequence[str], short: str, passes: int, dtype: str = "float32") -> Direct:
    """`SentenceTransformer(folder).encode(texts)` in a process of its own; `float32` is its default."""
    return _worker(python, "st-worker", {"folder": str(Path(folder).absolute()), "texts": list(texts), "short": short, "passes": passes, "dtype": dtype})


def bare(python: str, texts: Sequence[str], short: str, passes: int) -> Direct:
    """Emberank's engine without HTTP, in a process of its own."""
    return _worker(python, "bare-worker", {"texts": list(texts), "short": short, "passes": passes})


def bare_emberank(texts: list[str]) -> list[list[float]]:
    """Our engine on `texts` in this process, without HTTP, threads or queue: tokenise, the batches the server would make, run, pool.

    Called once per pass with all texts, and with a list of one for the latency of one short text. The settings are the environment's.
    """
    import bare

    return bare.embed(texts)


def add_emberank_options(parser: argparse.ArgumentParser) -> None:
    """What every benchmark takes."""
    parser.add_argument("--emberank", metavar="COMMAND", help="how to start our server (default: this Python's `-m emberank.cli runtime`)")
    parser.add_argument("--model", default=MODEL, help="the name under which it is served (default: %(default)s)")


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """What the benchmarks take that can compare with Infinity."""
    add_emberank_options(parser)
    parser.add_argument("--model-folder", help="the checkpoint, for the peers")
    parser.add_argument("--infinity-python", help="Python of an environment with Infinity; left out, it is not compared")
    parser.add_argument("--infinity-flags", default="", help="further flags for `infinity_emb v2`")


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, or the parser's error where a peer has no model."""
    options = parser.parse_args()
    if (options.infinity_python or getattr(options, "st_python", None)) and not options.model_folder:
        parser.error("--model-folder is needed for the peers")
    return options


def servers(options: argparse.Namespace) -> list[Server]:
    """Ours first, and Infinity where it was asked for; ports are taken anew by every call."""
    many = [emberank(options.emberank, options.model)]
    if options.infinity_python:
        many.append(infinity(options.infinity_python, options.model_folder, options.infinity_flags, options.model))
    return many


def _worker(python: str, name: str, task: Mapping[str, Any]) -> Direct:
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen([python, str(Path(__file__).resolve()), name], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        output, errors = process.communicate(json.dumps(task).encode(), timeout=900)
    finally:
        stop(process)
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise PeerFailed(f"{name} ended with {process.returncode}: {''.join(last)}")
    return Direct.parse(output)


def _st_worker(task: Mapping[str, Any]) -> dict[str, Any]:
    import torch  # type: ignore[import-not-found,unused-ignore]
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found,unused-ignore]

    options = {} if task["dtype"] == "float32" else {"model_kwargs": {"dtype": getattr(torch, task["dtype"])}}
    model = SentenceTransformer(task["folder"], device="cpu", **options)
    # The progress bar is off as it would be outside an interactive shell; all else is the library's default (32 texts a batch, sorted by length).
    return _measure(lambda texts: model.encode(texts, show_progress_bar=False).tolist(), task)


def _measure(encode: Callable[[list[str]], list[list[float]]], task: Mapping[str, Any]) -> dict[str, Any]:
    """Median over passes of all texts, and over calls of the one short text; a first pass of each warms up and is not counted."""
    vectors = encode(task["texts"])
    passes = [_seconds(encode, task["texts"]) for _ in range(task["passes"])]
    short = [_seconds(encode, [task["short"]]) for _ in range(SHORT_CALLS + 10)][10:]
    return {
        "texts_per_s": len(task["texts"]) / statistics.median(passes),
        "short_p50_ms": 1000 * statistics.median(short),
        "passes_s": passes,
        "vectors": vectors[:32],
    }


def _seconds(encode: Callable[[list[str]], object], texts: list[str]) -> float:
    started_at = time.perf_counter()
    encode(texts)
    return time.perf_counter() - started_at


def main() -> None:
    parser = argparse.ArgumentParser(description="The workers that other benchmarks start: a task as JSON on stdin, figures as JSON on stdout.")
    parser.add_argument("worker", choices=("st-worker", "bare-worker"))
    options = parser.parse_args()
    task = json.load(sys.stdin)
    try:
        answer = _st_worker(task) if options.worker == "st-worker" else _measure(bare_emberank, task)
    except PeerFailed as problem:
        sys.exit(str(problem))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
