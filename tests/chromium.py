"""The environment in, a real Chromium out, or the sentence that says why there is none. Downloads nothing, and lets no page ask beyond loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "install one (Debian: apt-get install chromium), or name one in EMBERANK_CHROMIUM"
# Whatever a browser does of its own accord is traffic and time that no test has asked for.
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    # A name has no address here, whoever asks for it: what is not on loopback fails, and the test that asked for it with it.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def find(variables: Mapping[str, str]) -> str:
    """The browser's path, or nothing."""
    named = variables.get("EMBERANK_CHROMIUM", "")
    path = variables.get("PATH", os.defpath)
    if named:
        return shutil.which(named, path=path) or ""
    return next((found for name in NAMES if (found := shutil.which(name, path=path))), "")


def absence(variables: Mapping[str, str]) -> str:
    """Why no browser can be had, and how to get one; empty where one can."""
    if find(variables):
        return ""
    named = variables.get("EMBERANK_CHROMIUM", "")
    return f"EMBERANK_CHROMIUM={named!r} is no program" if named else f"there is no Chromium here: {HOW}"


@contextmanager
def chromium(variables: Mapping[str, str]) -> Iterator[Browser]:
    """One browser, closed at the end. While it is open, this thread runs Playwright's event loop and can run no other."""
    # Chromium's own sandbox refuses root, and containers seldom have the shared memory that it likes.
    root = ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(variables), args=[*_QUIET, *root])
        try:
            yield browser
        finally:
            browser.close()
