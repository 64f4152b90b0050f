"""The catalogue page and a model's page of an installation with 500 models: first byte, whole page, and what the page loads. Through `emberank up`, as a browser asks.

    python bench/web.py [--models 500] [--requests 100] [--rounds 5] [--browser /usr/bin/chromium]

The figures on the pages are made up, in a data folder of the benchmark's own. Every page has its turn in every round; what is printed is the median of the
rounds [least..most]. Goals: first byte at most 50 ms, assets of a page at most 100 kB before they are packed, and, with --browser, a page that can be used
(its scripts have run) within 500 ms by a browser that has kept nothing. The browser needs the package playwright.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import load
import report
from emberank.forge.samples import Sample
from emberank.forge.store import open_store

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FIRST_BYTE_MS, USABLE_MS, ASSET_BYTES = 50.0, 500.0, 100_000
TARGET = ("CPU", "local")
RUNS = 12  # of each model
WARM_UP = 5  # requests that fill what is kept
OPENED = 5  # times in a round
START_S, END_S = 60.0, 30.0
_ASSET = re.compile(r'(?:src|href)="(/assets/[^"]+)"')
_IMPORT = re.compile(r'^(?:import|export)\b[^;"(]*"\./([^"]+)"', re.MULTILINE)  # what is imported later, when it is needed, is not loaded with the page


PAGES = {
    "catalogue": "/",
    "catalogue, by speed": "/?sort=speed",
    "catalogue, searched": "/?q=passages&task=rank&sort=price",
    "catalogue, table": "/?view=table",
    "model page": "/models/bench-000",
    "model page, pinned": f"/models/bench-001?model_version=v1&gpu_type={TARGET[0]}&region={TARGET[1]}",
}


@dataclass
class Rounds:
    """What one page came to, one figure a round."""

    first_p50: list[float] = field(default_factory=list)
    first_p95: list[float] = field(default_factory=list)
    whole_p50: list[float] = field(default_factory=list)
    usable_p50: list[float] = field(default_factory=list)
    usable_most: list[float] = field(default_factory=list)
    page_bytes: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--requests", type=int, default=100, help="of each page in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--browser", default="", help="a Chromium that opens each page five times a round")
    options = parser.parse_args()
    loads = [os.getloadavg()[0]]
    took = {name: Rounds() for name in PAGES}
    with tempfile.TemporaryDirectory() as folder, installation(Path(folder), options.models) as port, contextlib.ExitStack() as open_:
        browser = open_.enter_context(opened(options.browser)) if options.browser else None
        for _ in range(options.rounds):
            for name, path in PAGES.items():
                ask(port, path, options.requests, took[name])
                if browser is not None:
                    browse(browser, port, path, took[name])
            loads.append(os.getloadavg()[0])
        sizes = {name: assets(port, path) for name, path in PAGES.items()}
    print(report.machine())
    print(
        f"{options.models} models and those that ship; {options.rounds} rounds of {options.requests} requests of each page on one connection; load {report.spread(loads)}"
    )
    print(f"\n{report.aligned(table(took, sizes))}")
    if options.browser:
        print(f"\n{report.aligned(usable(took))}")


def table(took: Mapping[str, Rounds], sizes: Mapping[str, Mapping[str, tuple[int, int]]]) -> Sequence[Sequence[str]]:
    """What the server did, and what a page makes a browser load."""
    cells = [("page", "first byte p50 ms", "p95 ms", "whole p50 ms", "page kB", "its assets kB", "as sent kB", "files", "kept")]
    for name, page in took.items():
        raw, sent = (sum(pair[i] for pair in sizes[name].values()) for i in (0, 1))
        kept = statistics.median(page.first_p95) <= FIRST_BYTE_MS and raw <= ASSET_BYTES
        times = (report.spread(page.first_p50), report.spread(page.first_p95), report.spread(page.whole_p50))
        bytes_ = (f"{page.page_bytes / 1e3:.0f}", f"{raw / 1e3:.1f}", f"{sent / 1e3:.1f}", str(len(sizes[name])))
        cells.append((name, *times, *bytes_, "yes" if kept else "NO"))
    return cells


def usable(took: Mapping[str, Rounds]) -> Sequence[Sequence[str]]:
    cells = [("page in Chromium, nothing kept", "usable p50 ms", "slowest of five ms", "kept")]
    for name, page in took.items():
        kept = statistics.median(page.usable_p50) <= USABLE_MS
        cells.append((name, report.spread(page.usable_p50), report.spread(page.usable_most), "yes" if kept else "NO"))
    return cells


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


def ask(port: int, path: str, requests: int, took: Rounds) -> None:
    """Milliseconds to the first byte and to the last, and the page's bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    first, whole = [], []
    for turn in range(requests + WARM_UP):
        began = time.perf_counter()
        connection.request("GET", path, headers={"Accept": "text/html"})
        answer = connection.getresponse()
        came = time.perf_counter()
        took.page_bytes = len(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        if turn >= WARM_UP:
            first.append(1e3 * (came - began))
            whole.append(1e3 * (time.perf_counter() - began))
    connection.close()
    took.first_p50.append(statistics.median(first))
    took.first_p95.append(load.percentile(sorted(first), 0.95))
    took.whole_p50.append(statistics.median(whole))


def assets(port: int, path: str) -> dict[str, tuple[int, int]]:
    """The bytes of every file that the page loads, as it is and as it is sent to a browser: what the page names, and what those import."""
    page, _ = fetch(port, path)
    waiting = _ASSET.findall(page.decode("utf-8"))
    found: dict[str, tuple[int, int]] = {}
    while waiting:
        address = waiting.pop()
        name = address.partition("?")[0]
        if name in found:
            continue
        content, sent = fetch(port, address)
        found[name] = (len(content), sent)
        if name.endswith(".js"):
            waiting += [f"/assets/{one}" for one in _IMPORT.findall(content.decode("utf-8"))]
    return found


def fetch(port: int, path: str) -> tuple[bytes, int]:
    """What is there, and how many bytes of it were sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept": "*/*", "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        return gzip.decompress(body) if answer.getheader("content-encoding") == "gzip" else body, len(body)
    finally:
        connection.close()


@contextlib.contextmanager
def opened(chromium: str) -> Iterator[Browser]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def browse(browser: Browser, port: int, path: str, took: Rounds) -> None:
    """How long a browser with an empty cache takes until a page has run its scripts."""
    each = []
    for _ in range(OPENED):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}{path}", wait_until="domcontentloaded")  # modules have run by then
        each.append(float(page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")))
        context.close()
    took.usable_p50.append(statistics.median(each))
    took.usable_most.append(max(each))


if __name__ == "__main__":
    main()
