"""A transport that sends an answer's head with its body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from emberank.serving.connection import _Lingering

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class FakeTransport:
    """Writes down what is sent at once."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def writelines(self, pieces: Sequence[bytes]) -> None:
        self.sent.append(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


def sent(act: Callable[[_Lingering], None]) -> tuple[list[bytes], list[bytes]]:
    """What is sent when the acting is over, and what is when the loop has turned."""

    async def play() -> tuple[list[bytes], list[bytes]]:
        transport = FakeTransport()
        act(_Lingering(transport, asyncio.get_running_loop(), 1.0))
        at_once = list(transport.sent)
        await asyncio.sleep(0)
        return at_once, transport.sent

    return asyncio.run(play())


def test_a_head_leaves_with_the_body_that_follows_it() -> None:
    def act(line: _Lingering) -> None:
        line.write(HEAD)
        line.write(b"{}")
        line.write(b"more")

    assert sent(act)[1] == [HEAD + b"{}", b"more"]


def test_a_head_whose_body_takes_its_time_does_not_wait_for_it() -> None:
    assert sent(lambda line: line.write(HEAD)) == ([], [HEAD])


def test_a_head_leaves_before_its_connection_closes() -> None:
    def act(line: _Lingering) -> None:
        line.write(HEAD)
        line.close()

    assert sent(act) == ([HEAD], [HEAD])
