"""The catalogue page and a model's page of an installation with 500 models: first byte, whole page, and what the page loads. Through `emberank up`, as a browser asks.

    python bench/web.py [--models 500] [--requests 200] [--browser /usr/bin/chromium]

The figures on the pages are made up, in a data folder of the benchmark's own. Goals: first byte at most 50 ms, assets of a page at most 100 kB, and, with
--browser, a page that can be used (its scripts have run) within 500 ms. The browser needs the package playwright.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import load
import report
from emberank.forge.samples import Sample
from emberank.forge.store import open_store

FIRST_BYTE_MS, USABLE_MS, ASSET_BYTES = 50.0, 500.0, 100_000
TARGET = ("CPU", "local")
RUNS = 12  # of each model
START_S, END_S = 60.0, 30.0
_ASSET = re.compile(r'(?:src|href)="(/assets/[^"]+)"')
_IMPORT = re.compile(r'^(?:import|export)\b[^;"(]*"\./([^"]+)"', re.MULTILINE)  # what is imported later, when it is needed, is not loaded with the page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--requests", type=int, default=200, help="of each page")
    parser.add_argument("--browser", default="", help="a Chromium that opens each page ten times")
    options = parser.parse_args()
    pages = {
        "catalogue": "/",
        "catalogue, by speed": "/?sort=speed",
        "catalogue, searched": "/?q=passages&task=rank&sort=price",
        "catalogue, table": "/?view=table",
        "model page": "/models/bench-000",
        "model page, pinned": f"/models/bench-001?model_version=v1&gpu_type={TARGET[0]}&region={TARGET[1]}",
    }
    with tempfile.TemporaryDirectory() as folder, installation(Path(folder), options.models) as port:
        cells = [("page", "first byte p50", "p95", "whole p50", "page", "its assets", "files", "kept")]
        for name, path in pages.items():
            first, whole, size = ask(port, path, options.requests)
            weights = assets(port, path)
            p95 = load.percentile(sorted(first), 0.95)
            kept = p95 <= FIRST_BYTE_MS and sum(weights.values()) <= ASSET_BYTES
            times = (f"{statistics.median(first):.1f} ms", f"{p95:.1f} ms", f"{statistics.median(whole):.1f} ms")
            cells.append((name, *times, f"{size / 1e3:.0f} kB", f"{sum(weights.values()) / 1e3:.1f} kB", str(len(weights)), "yes" if kept else "NO"))
        print(
            f"{report.machine()}\n{options.models} models and those that ship, {options.requests} requests of each page on one connection\n\n{report.aligned(cells)}"
        )
        if options.browser:
            print(f"\n{report.aligned(browsed(port, pages, options.browser))}")


@contextlib.contextmanager
def installation(folder: Path, models: int) -> Iterator[int]:
    """The port of an `emberank up` whose catalogue has that many models with figures; it is ended."""
    folder.chmod(0o700)
    (folder / "models.toml").write_text("\n".join(entry(i) for i in range(models)), "utf-8")
    store = open_store(folder / "emberank.db")
    store.samples.add(sample(i, run) for i in range(models) for run in range(RUNS))
    store.close()
    with (folder / "log").open("w+", encoding="utf-8") as log:
        command = [sys.executable, "-m", "emberank.cli", "up", "--port", "0", "--data-dir", str(folder), "--log-level", "warning"]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield listening(server, folder / "log")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(END_S)


def listening(server: subprocess.Popen[bytes], log: Path) -> int:
    """The port, once it is ready. Raises RuntimeError with the log."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"ready on http://127\.0\.0\.1:(\d+)", log.read_text("utf-8"))
        if found:
            return int(found[1])
        time.sleep(0.1)
    raise RuntimeError(f"emberank up did not become ready:\n{log.read_text('utf-8')}")


def entry(i: int) -> str:
    """One model of the catalogue; `huggingface`, so that everybody sees it."""
    return f"""[[model]]
slug = "bench-{i:03}"
id = "acme/bench-{i:03}"
title = "Bench model {i}"
description = "It reads a query beside its passages and says which of them answers it best. Number {i} of many."
task = "{"rank" if i % 3 else "embed"}"
source = "huggingface"
licenses = ["{("Apache-2.0", "MIT")[i % 2]}"]
added = 2026-{1 + i % 12:02}-{1 + i % 28:02}
tags = ["tag-{i % 40}", "english", "retrieval"]
context_tokens = {512 * (1 + i % 16)}
parameters = {10_000_000 * (1 + i % 90)}
dtype = "FP32"

[[model.version]]
name = "v1"
source = "hf:acme/bench-{i:03}"
memory_gb = 0.1
"""


def sample(i: int, run: int) -> Sample:
    """One warm probe that nobody measured."""
    ms = 10.0 + i % 90 + run / 10
    return Sample(
        at_s=time.time() - 1000 + run,
        kind="probe",
        slug=f"bench-{i:03}",
        version="v1",
        gpu_type=TARGET[0],
        region=TARGET[1],
        ok=True,
        model_ms=ms,
        request_ms=ms + 1,
        tokens=53,
        passages=3,
        shape="3 passages, 53 tokens",
    )


def ask(port: int, path: str, requests: int) -> tuple[list[float], list[float], int]:
    """Milliseconds to the first byte and to the last, and the page's bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    first, whole, size = [], [], 0
    for turn in range(requests + 5):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        came = time.perf_counter()
        size = len(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        if turn >= 5:  # the first ones warm up what is kept
            first.append(1e3 * (came - began))
            whole.append(1e3 * (time.perf_counter() - began))
    connection.close()
    return first, whole, size


def assets(port: int, path: str) -> dict[str, int]:
    """The bytes of every file that the page loads: what it names, and what those import."""
    waiting = _ASSET.findall(fetch(port, path))
    found: dict[str, int] = {}
    while waiting:
        address = waiting.pop()
        name = address.partition("?")[0]
        if name in found:
            continue
        text = fetch(port, address)
        found[name] = len(text.encode("utf-8"))
        if name.endswith(".js"):
            waiting += [f"/assets/{one}" for one in _IMPORT.findall(text)]
    return found


def fetch(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept": "*/*"})
        return connection.getresponse().read().decode("utf-8")
    finally:
        connection.close()


def browsed(port: int, pages: dict[str, str], chromium: str) -> Sequence[Sequence[str]]:
    """How long a browser with an empty cache takes until a page has run its scripts."""
    from playwright.sync_api import sync_playwright

    cells = [("page in Chromium, nothing kept", "usable p50", "most", "kept")]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, path in pages.items():
            took = []
            for _ in range(10):
                context = browser.new_context()
                page = context.new_page()
                page.goto(f"http://127.0.0.1:{port}{path}", wait_until="domcontentloaded")  # modules have run by then
                took.append(float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")))
                context.close()
            middle = statistics.median(took)
            cells.append((name, f"{middle:.0f} ms", f"{max(took):.0f} ms", "yes" if middle <= USABLE_MS else "NO"))
        browser.close()
    return cells


if __name__ == "__main__":
    main()
