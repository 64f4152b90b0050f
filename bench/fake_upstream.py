"""A fake endpoint: every POST gets the same NIM ranking of three passages. Raw asyncio, so that it costs as little as a server can.

    python bench/fake_upstream.py [--delay-ms 0] [--count]

Prints its port. Does not look at what it is asked, but with --count for how many passages it should rank.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import httptools
import uvloop

BODY = b'{"rankings":[{"index":0,"logit":20.625},{"index":2,"logit":-0.26171875},{"index":1,"logit":-23.125}],"usage":{"prompt_tokens":53,"total_tokens":53}}'
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nserver-timing: tokenize;dur=0.21, queue;dur=0.05, engine;dur=2.40\r\n"
    b"emberank-prompt-tokens: 53\r\ncontent-length: %d\r\n\r\n"
)
ANSWER = HEAD % len(BODY) + BODY


def ranking_of(passages: int) -> bytes:
    """An answer that ranks so many, in an order of its own."""
    entries = b",".join(b'{"index":%d,"logit":%.6f}' % (i * 7919 % passages if passages % 7919 else i, 20 - i * 0.04) for i in range(passages))
    body = b'{"rankings":[' + entries + b'],"usage":{"prompt_tokens":53,"total_tokens":53}}'
    return HEAD % len(body) + body


class Fake(asyncio.Protocol):
    """One connection."""

    delay_s = 0.0
    count = False

    def connection_made(self, transport: Any) -> None:
        """It begins."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.texts, self.tail = 0, b""

    def data_received(self, data: bytes) -> None:
        """Some of a request, mostly all of it."""
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Some of it; a key may be cut in two."""
        if self.count:
            seen = self.tail + body
            self.texts += seen.count(b'"text"')
            self.tail = seen[-5:]

    def on_message_complete(self) -> None:
        """All of a request."""
        answer = ranking_of(self.texts - 1) if self.count else ANSWER  # one text is the query
        self.texts, self.tail = 0, b""
        if self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, self.transport.write, answer)
        else:
            self.transport.write(answer)


async def serve(delay_ms: float, count: bool) -> None:
    Fake.delay_s, Fake.count = delay_ms / 1e3, count
    server = await asyncio.get_running_loop().create_server(Fake, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="how long its model takes")
    parser.add_argument("--count", action="store_true", help="rank as many passages as the request has, not three")
    options = parser.parse_args()
    uvloop.run(serve(options.delay_ms, options.count))
