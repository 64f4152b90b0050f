"""Asking endpoints whether they answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from emberank.forge.endpoint_probe import EndpointProbe, is_ready, on_a_thread
from emberank.forge.launchers.base import Running
from wire import until

ONE = Running(id="e", launcher="x", url="http://e.invalid", secret="k")


class Answers:
    def __init__(self, *answers: bool) -> None:
        self.left = list(answers)
        self.asked = 0

    def __call__(self, running: Running, timeout_s: float) -> bool:
        self.asked += 1
        return self.left.pop(0) if len(self.left) > 1 else self.left[0]


def at_once(run: Callable[[], None]) -> None:
    run()


def test_it_asks_every_five_seconds_soon_again_after_a_bad_answer_and_says_unreachable_after_three_in_a_row() -> None:
    ask = Answers(True, False, False, True, False, False, False)
    probe = EndpointProbe(ask=ask, spawn=at_once)
    found = [probe.look(ONE, float(now)) for now in range(15)]
    assert ask.asked == 7
    assert [found[now] for now in (0, 4, 5, 6, 7, 11, 12, 13, 14)] == [
        *("ready", "ready", "failing", "failing", "ready", "ready", "failing", "failing", "unreachable")
    ]


def test_who_is_in_doubt_is_asked_without_a_pause_until_it_answers() -> None:
    ask = Answers(True, False, True)
    probe = EndpointProbe(ask=ask, spawn=at_once)
    assert probe.look(ONE, 0.0) == "ready"
    assert not probe.hurrying()
    probe.hurry("e")
    assert probe.hurrying()
    assert [probe.look(ONE, 0.1), probe.look(ONE, 0.1), probe.look(ONE, 0.1)] == ["failing", "ready", "ready"]
    assert (ask.asked, probe.hurrying()) == (3, False)


def test_a_question_under_way_is_not_asked_twice_and_its_answer_counts_when_it_comes() -> None:
    waiting: list[Callable[[], None]] = []
    ask = Answers(True)
    probe = EndpointProbe(ask=ask, spawn=waiting.append)
    assert [probe.look(ONE, now) for now in (0.0, 1.0, 2.0)] == ["unknown"] * 3
    assert len(waiting) == 1
    waiting.pop()()
    assert probe.look(ONE, 3.0) == "ready"


def test_an_answer_that_does_not_come_is_a_bad_one() -> None:
    asked: list[Callable[[], None]] = []
    probe = EndpointProbe(ask=Answers(True), spawn=asked.append, timeout_s=2.0, every_s=5.0)
    found = [probe.look(ONE, float(now)) for now in range(30)]
    assert found[3] == "unknown"
    assert found[4] == "failing"
    assert found[-1] == "unreachable"


def test_a_fault_in_asking_is_a_bad_answer(caplog: pytest.LogCaptureFixture) -> None:
    def ask(running: Running, timeout_s: float) -> bool:
        raise ZeroDivisionError

    assert EndpointProbe(ask=ask, spawn=at_once).look(ONE, 0.0) == "failing"
    assert "asking an endpoint for its health failed" in caplog.text


def test_what_is_not_looked_at_any_more_is_forgotten() -> None:
    probe = EndpointProbe(ask=Answers(False), spawn=at_once, failures=1)
    assert probe.look(ONE, 0.0) == "unreachable"
    probe.forget_others({"f"})
    assert probe.look(ONE, 0.0) == "unreachable"
    probe.hurry("f")
    probe.forget("f")
    assert not probe.hurrying()


def serve(answer: bytes) -> tuple[int, list[bytes], Callable[[], None]]:
    """One connection on loopback that gets these bytes; what it sent is kept."""
    listener = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            got.append(connection.recv(65536))
            connection.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def close() -> None:
        thread.join(20)
        listener.close()

    return listener.getsockname()[1], got, close


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
    ],
)
def test_ready_is_200_and_nothing_else(answer: bytes, expected: bool) -> None:
    port, got, close = serve(answer)
    assert is_ready(Running(id="e", launcher="x", url=f"http://127.0.0.1:{port}/base", secret="k"), 5.0) is expected
    close()
    assert got[0].startswith(b"GET /base/v1/health/ready HTTP/1.1\r\n")
    assert b"authorization: bearer k" in got[0].lower()


@pytest.mark.parametrize("url", ["", "http://", "http://127.0.0.1:1", "http://127.0.0.1:99999", "nonsense", "http://[::1", "http://a\nb/"])
def test_what_cannot_be_asked_is_not_ready(url: str) -> None:
    assert is_ready(Running(id="e", launcher="x", url=url), 1.0) is False


def test_a_hung_server_holds_up_only_its_own_thread() -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # it accepts, and says nothing
    hung = Running(id="h", launcher="x", url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    probe = EndpointProbe(timeout_s=0.05, failures=1, spawn=on_a_thread)
    assert probe.look(hung, 0.0) == "unknown"
    until(lambda: probe.look(hung, 0.0) == "unreachable", "its time is over")
    listener.close()
