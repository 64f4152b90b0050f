"""A server's address in, requests and what came back out: the HTTP client of these tests, from the standard library. Knows no fixture.

`Client.ask` is a well-behaved client; `Client.raw` is a socket, for those that are not. Every wait ends after `WAIT_S`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

WAIT_S = 20.0


@dataclass(frozen=True)
class Reply:
    """One response, read to its end."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The sentence of an error body, after checking that the body has the shape that every client can read."""
        return nim_error(self)


def nim_error(reply: Reply) -> str:
    """Check that the body is an error as every reader needs it, and return its sentence."""
    body = reply.json
    assert body["object"] == "error"
    assert isinstance(body["message"], str)
    assert body["message"]
    assert isinstance(body["type"], str)
    assert body["code"] == reply.status
    assert body["detail"] == body["message"]  # a string, never a list or null
    error = body["error"]
    assert (error if isinstance(error, str) else error["message"]) == body["message"]
    assert isinstance(body["request_id"], str)
    assert reply.headers["content-type"] == "application/json"
    assert "Traceback" not in reply.body.decode()
    message: str = body["message"]
    return message


class Client:
    """Talks to one server on loopback."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls

    def connect(self, timeout_s: float = WAIT_S) -> http.client.HTTPConnection:
        if self._tls is not None:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request on a connection of its own. Bytes are sent as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            return read(connection.getresponse())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("POST", path, body, headers)

    @contextlib.contextmanager
    def raw(self) -> Iterator[socket.socket]:
        """A connected socket."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S) as sock:
            yield sock

    def exchange(self, data: bytes) -> Reply:
        """Send bytes, and read the one response that answers them."""
        with self.raw() as sock:
            sock.sendall(data)
            return receive(sock)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels."""
        total = 0.0
        for line in self.get("/v1/metrics").body.decode().splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")).items():
                total += float(match[3])
        return total


def read(response: http.client.HTTPResponse) -> Reply:
    """Read a response of http.client to its end."""
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def receive(sock: socket.socket, method: str = "POST") -> Reply:
    """Read one response off a socket, and not a byte of the next one."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the connection ended inside a response: {head!r}"
        head += byte
    status, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    left = 0 if method == "HEAD" else int(headers["content-length"])
    body = b""
    while left > len(body):
        piece = sock.recv(left - len(body))
        assert piece, f"the connection ended inside a body: {body!r}"
        body += piece
    return Reply(int(status.split()[1]), headers, body)


def closed(sock: socket.socket) -> bool:
    """Whether the server closes the connection within the wait, whatever it says before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def request(path: str, body: bytes, *more: str, length: int | None = None) -> bytes:
    """A POST as bytes; `length` is the Content-Length where it shall not be the truth."""
    head = [f"POST {path} HTTP/1.1", "Host: t", "Content-Type: application/json", f"Content-Length: {len(body) if length is None else length}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def until(true: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Ask again and again until it is so, a hundred times a second; fail after `wait_s`."""
    end = time.monotonic() + wait_s
    while not true():
        assert time.monotonic() < end, f"not within {wait_s} s: {what}"
        time.sleep(0.01)
