"""A provider's process and a browser in, a sign-in out: there, back, and what the page says. Knows no fixture."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from browser import Browser
from wire import WAIT_S, Reply, read

CLIENT_ID, CLIENT_SECRET = "emberank-tests", "client-secret-of-these-tests-0123456789"


class ProviderProcess:
    """`tests/openid_provider.py`. It is ended by its pid."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        words = [sys.executable, str(Path(__file__).with_name("openid_provider.py")), CLIENT_ID, CLIENT_SECRET, str(port)]
        self._log = (folder / f"provider-{len(list(folder.glob('provider-*')))}").open("wb")
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=self._log, stdin=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.issuer: str = json.loads(self.process.stdout.readline())["issuer"]

    def set(self, **values: Any) -> dict[str, int]:
        """Tell it what to do from here on; how often each path was asked so far."""
        reply = visit("PUT", f"{self.issuer}/test", json.dumps(values).encode(), {"Content-Type": "application/json"})
        assert reply.status == 200, reply.body
        counts: dict[str, int] = reply.json
        return counts

    def fresh(self, **claims: Any) -> None:
        """As at its start, with that person in front."""
        self.set(claims=claims, in_token=None, changes={}, alg="RS256", error="")

    def end(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()


def visit(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
    """One request of any server on loopback."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WAIT_S)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers or {})
        return read(connection.getresponse())


def leave(browser: Browser, after: str = "/") -> str:
    """Press the button: the address at the provider."""
    reply = browser.get(f"/signin/oidc/start?next={after}")
    assert reply.status == 303, reply.body
    return reply.headers["location"]


def consent(address: str) -> str:
    """What the provider sends the browser back to, as a path of ours."""
    reply = visit("GET", address)
    assert reply.status in (302, 303), reply.body
    back = urlsplit(reply.headers["location"])
    return f"{back.path}?{back.query}"


def sign_in(browser: Browser, after: str = "/") -> Reply:
    """All the way; the answer to the browser's return."""
    return browser.get(consent(leave(browser, after)))
