"""A script in, a server on loopback out that plays it on every connection: for servers that misbehave. Knows no fixture."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from wire import WAIT_S


@dataclass
class Talk:
    """One connection as the server sees it. `number` counts connections from 0."""

    server: Playing
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """The next request, head and body; IncompleteReadError when the client has left."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        asked = head + await self.reader.readexactly(length)
        self.server.asked.append((self.number, asked))
        self.server.changed.set()
        return asked

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_slowly(self, data: bytes) -> None:
        """Byte by byte, each for itself as far as the sockets keep them apart."""
        for at in range(len(data)):
            await self.send(data[at : at + 1])
            await asyncio.sleep(0)

    async def left(self) -> None:
        """Until the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Talk], Awaitable[None]]


@dataclass
class Playing:
    """A server that plays."""

    port: int = 0
    asked: list[tuple[int, bytes]] = field(default_factory=list)  # (connection, request)
    opened: int = 0
    open: int = 0
    failures: list[Exception] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until(self, true: Callable[[], object]) -> None:
        """Until it is so; looked at whenever a request or a client comes or goes."""
        async with asyncio.timeout(WAIT_S):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def all_left(self) -> None:
        """Until no client is connected."""
        await self.until(lambda: not self.open)

    async def some_asked(self) -> None:
        """Until the first request is there."""
        await self.until(lambda: self.asked)


@contextlib.asynccontextmanager
async def playing(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Playing]:
    """Play `script` for every connection; one that ends closes its connection. Its failures fail the test."""
    server = Playing()
    tasks: set[asyncio.Task[None]] = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        talk = Talk(server, server.opened, reader, writer)
        server.opened += 1
        server.open += 1
        try:
            await script(talk)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has left, or the test is over
        except Exception as failure:  # noqa: BLE001  raised by `playing`
            server.failures.append(failure)
        finally:
            server.open -= 1
            server.changed.set()
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
                await writer.wait_closed()

    listener = await asyncio.start_server(play, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
    assert not server.failures, server.failures


def answer(body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A response with a Content-Length."""
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body))


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    """A response in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


async def echo_ok(talk: Talk) -> None:
    """Answers `ok` to everything, for as long as anybody asks."""
    while True:
        await talk.request()
        await talk.send(answer())


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(the server's context, a client's that trusts it) with a fresh self-signed certificate for localhost and 127.0.0.1."""
    assert shutil.which("openssl")
    public, private = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(private), "-out", str(public)]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return server, ssl.create_default_context(cafile=str(public))
